"""A mixture whose routed experts lie in main memory while the rest is on the GPU: bytes moved for each token.

Arithmetic on a job. How many of the experts that a token needs are on the GPU already is assumed, or was
measured on a text by whoever asks; nothing is loaded so here.
"""

import math
from dataclasses import dataclass
from typing import Final

from llama_nb.core.errors import LoadError, UnsupportedError
from llama_nb.planner.job import Job, Target
from llama_nb.planner.memory import group_bytes
from llama_nb.planner.split import Split
from llama_nb.render.units import figure, size

# PCI Express Base Specification 4.0: 16 GT/s a lane, of 130 bits 128 are data; 16 lanes, one direction.
PCIE_4: Final = 16e9 * 128 / 130 / 8 * 16


@dataclass(frozen=True, slots=True)
class Offload:
    """What it takes to keep routed experts in main memory.

    Attributes
    ----------
    cached, experts
        How many of each layer's routed experts are on the GPU at any time, and how many there are.
    hit_rate
        The share of needed experts that are among those, 0 to 1.
    assumed
        Whether `hit_rate` is only `cached / experts`: that of a router that asks without any pattern.
    gpu_bytes
        Weights on the GPU, those experts included; on several GPUs, of all together.
    host_bytes
        All routed experts, in main memory.
    moved_bytes
        Bytes that come from main memory to decode one token.
    bandwidth, way
        Bytes per second between main memory and all GPUs together, and what was assumed for it; "" if it was
        given.
    """

    cached: int
    experts: int
    hit_rate: float
    assumed: bool
    gpu_bytes: float
    host_bytes: float
    moved_bytes: float
    bandwidth: float
    way: str

    @property
    def tokens_per_s(self) -> float | None:
        """The most tokens a second that the way to the GPU allows; None where nothing is moved."""
        return self.bandwidth / self.moved_bytes if self.moved_bytes else None

    @property
    def sentence(self) -> str:
        """The estimate in words, with what it assumes."""
        among, why = "", "since no expert stays there"
        if self.cached:
            among = f", {self.cached} of {self.experts} experts of each layer among it"
            known = "as without any pattern" if self.assumed else "as you say"
            why = f"if {100 * self.hit_rate:.3g} % of the experts that it needs are there, {known}"
        bound = self.tokens_per_s
        over = f" ({self.way})" if self.way else ""
        most = f": at most {figure(bound)} tokens/s at {self.bandwidth / 1e9:.3g} GB/s{over}" if bound else ""
        return (
            f"With the routed experts in main memory ({size(self.host_bytes)}) and the rest on the GPU "
            f"({size(self.gpu_bytes)}{among}), a token moves {size(self.moved_bytes)} there, {why}{most}. "
            "An estimate for engines that do this; llama-nb loads a model whole."
        )


def offload(
    job: Job, target: Target, cached: int = 0, hit_rate: float | None = None, bandwidth: float | None = None
) -> Offload:
    """Return what it takes to keep the routed experts of a job's model in main memory.

    Parameters
    ----------
    cached
        How many experts of each layer have room on the GPU.
    hit_rate
        The share of needed experts that are among those, 0 to 1, as `RoutingTrace.cost` measures it; None
        assumes a router without any pattern, `cached / experts`.
    bandwidth
        Bytes per second from main memory to one GPU; None for PCIe 4.0 with 16 lanes.

    Raises
    ------
    UnsupportedError
        If the model has no experts.
    LoadError
        If a value is out of its range.
    """
    shape = job.shape
    if not shape.experts:
        raise UnsupportedError(
            "A model without experts has none to offload: every token reads all of its weights.",
            "Mixtures of experts have them: %llama plan llama-4-scout --offload 4",
        )
    _check(shape.experts, cached, hit_rate, bandwidth)
    split = Split(shape, target.count)
    each = [
        (group, group_bytes(group, job.format, job.dtype) * split.factor(group)) for group in shape.groups()
    ]
    routed = sum(taken for group, taken in each if group.active < 1)
    needed = sum(taken * group.active for group, taken in each if group.active < 1)
    share = cached / shape.experts
    rate = share if hit_rate is None or not cached else float(hit_rate)
    return Offload(
        cached=cached,
        experts=shape.experts,
        hit_rate=rate,
        assumed=hit_rate is None,
        gpu_bytes=sum(taken for _, taken in each) - routed + share * routed,
        host_bytes=routed,
        moved_bytes=(1 - rate) * needed,
        bandwidth=(PCIE_4 if bandwidth is None else float(bandwidth)) * target.count,
        way="PCIe 4.0 x16" if bandwidth is None else "",
    )


def hint(job: Job, target: Target, total: int) -> list[str]:
    """Return a note for a mixture that does not fit, when it would without its routed experts."""
    if not job.shape.experts or job.train or target.kind != "gpu" or target.unified or target.memory is None:
        return []
    rest = total - offload(job, target).host_bytes
    if not rest <= target.memory * target.count < total:
        return []
    return [
        f"All but the routed experts takes {size(rest)}: with `--offload 0` the plan says what it costs to "
        "keep those in main memory."
    ]


def _check(experts: int, cached: int, hit_rate: float | None, bandwidth: float | None) -> None:
    if type(cached) is not int or not 0 <= cached <= experts:
        raise LoadError(
            f"offload is {repr(cached)[:40]}; it says how many experts of each layer stay on the GPU: "
            f"0 to {experts}."
        )
    if hit_rate is not None and (not _is_number(hit_rate) or not 0 <= hit_rate <= 1):
        raise LoadError(
            f"hit_rate is {repr(hit_rate)[:40]}; it must be from 0 to 1.",
            "A text's is measured by: m.routing(text).cost()",
        )
    if hit_rate and not cached:
        raise LoadError(
            f"hit_rate is {hit_rate:g}, but no expert stays on the GPU.", "Say how many do: --offload 4"
        )
    if bandwidth is not None and (not _is_number(bandwidth) or not 0 < bandwidth < math.inf):
        raise LoadError(f"bandwidth is {repr(bandwidth)[:40]}; it must be bytes per second above 0.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
