"""A plan: what a model takes part by part, whether that fits, and how fast it can be at most.

Arithmetic only. Where the shape came from and what this machine has is the session's to find out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from llama_nb.core.errors import LoadError, did_you_mean
from llama_nb.planner import memory, training, working
from llama_nb.planner.fit import Option
from llama_nb.planner.formats import LOADABLE, QUANTS, find_format
from llama_nb.planner.job import TARGETS, TRAINS, Job, Target, Train
from llama_nb.planner.shape import Shape
from llama_nb.planner.speed import Speed, speed
from llama_nb.planner.split import Split
from llama_nb.render.units import size

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.planner.offload import Offload

Verdict = Literal["fits", "tight", "does not fit", "unknown"]
MIME: Final = "application/vnd.llama-nb.plan+json"
DEFAULT_CONTEXT: Final = 8192
_TRAINED_TOKENS: Final = 2048
# Above this share of the memory other programs, or a longer context, are in danger.
_TIGHT: Final = 0.9
_FIRST_STOP: Final = 512
_LABELS: Final[Mapping[str, str]] = {
    "weights": "weights",
    "kv_cache": "KV cache",
    "activations": "activations",
    "overhead": "overhead",
    "adapter": "adapter",
    "gradients": "gradients",
    "optimizer": "optimizer",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the memory: its key and label, its bytes on all devices together, and what it holds."""

    key: str
    label: str
    bytes: int
    detail: str


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What a model takes.

    Attributes
    ----------
    name, spec
        What to call the model, and how to name it in a command.
    job, target
        What it shall do, and where.
    parts
        The memory on all devices together. "overhead" is the process beside the model: torch and transformers
        imported (or the driver's context on each GPU) and the tokenizer; everything else is the model's.
    notes
        What else must be known: where the shape came from, what the method cannot take.
    options
        What would make it fit, cheapest first; empty when it fits.
    speed
        Bounds of the target, where its figures are known.
    """

    name: str
    spec: str
    job: Job
    target: Target
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    options: tuple[Option, ...]
    speed: Speed

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights."""
        return self._bytes("weights")

    @property
    def kv_cache_bytes(self) -> int:
        """Bytes of the KV cache at the whole context."""
        return self._bytes("kv_cache")

    @property
    def activation_bytes(self) -> int:
        """Bytes of working memory at the peak: of a prompt, or of a training step."""
        return self._bytes("activations")

    @property
    def overhead_bytes(self) -> int:
        """Bytes of the process beside the model."""
        return self._bytes("overhead")

    @property
    def training_bytes(self) -> int:
        """Bytes of adapter, gradients and optimiser."""
        return sum(self._bytes(key) for key in ("adapter", "gradients", "optimizer"))

    @property
    def total_bytes(self) -> int:
        """All bytes together, on all devices."""
        return sum(part.bytes for part in self.parts)

    @property
    def growth_bytes(self) -> int:
        """By how much a process grows at most after its imports: what a measurement of it finds."""
        return self.total_bytes - working.process_bytes(self.job, self.target)

    @property
    def load_peak_bytes(self) -> int:
        """Bytes in memory at most while the model loads, without the process beside it.

        The files are mapped into memory. When their numbers have the dtype that is asked for they are the
        weights; else both are there for a moment, though the system can drop the files' share when it must.
        """
        beside = working.tokenizer_bytes(self.job.shape, self.target)
        beside += working.reading_bytes(self.job)
        return self.weights_bytes + beside + (self.job.converted_from or 0)

    @property
    def verdict(self) -> Verdict:
        """Whether it fits."""
        return verdict(self.total_bytes, self.target)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        return sentence(self.total_bytes, self.target)

    def at(self, **changes: Any) -> "Plan":
        """Return the plan with another quant, context, batch, train ...: fields of `Job`."""
        return make(self.name, self.spec, replace(self.job, **changes), self.target, offers=False)

    def offload(
        self, cached: int = 0, hit_rate: float | None = None, bandwidth: float | None = None
    ) -> "Offload":
        """Return what it takes to keep a mixture's routed experts in main memory, the rest on the GPU.

        `cached` experts of each layer stay on the GPU; `hit_rate` says how many of those that a token needs
        are among them, as `RoutingTrace.cost` measures it; `bandwidth` is in bytes per second.

        Raises
        ------
        UnsupportedError
            If the model has no experts.
        LoadError
            If a value is out of its range.
        """
        from llama_nb.planner.offload import offload

        return offload(self.job, self.target, cached, hit_rate, bandwidth)

    def quantisations(self) -> "pd.DataFrame":
        """Return every quantisation in its own row: bits, bytes of weights, total, verdict."""
        import pandas as pd

        rows = [
            {
                "quant": plan.job.quant,
                "bits": plan.job.format.bits,
                "weights": plan.weights_bytes,
                "total": plan.total_bytes,
                "verdict": plan.verdict,
            }
            for plan in self.each_quant()
        ]
        return pd.DataFrame(rows).set_index("quant")

    def each_quant(self) -> list["Plan"]:
        """Return the plan with each quantisation; in full fine-tuning there is none to choose."""
        names = ("none",) if self.job.train == "full" else QUANTS
        return [self.at(quant=name, stored=None, converted_from=None) for name in names]

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each part: its bytes, its share of the whole, what it holds."""
        import pandas as pd

        rows = [
            {"part": p.label, "bytes": p.bytes, "share": p.bytes / self.total_bytes, "what": p.detail}
            for p in self.parts
        ]
        return pd.DataFrame(rows).set_index("part")

    def gpus(self) -> "pd.DataFrame":
        """Return a row for each GPU of the catalogue: whether one of it is enough, and its bounds."""
        import pandas as pd

        from llama_nb.planner.options import on_each_gpu

        rows = [
            {
                "gpu": plan.target.name,
                "memory": plan.target.memory,
                "needs": plan.total_bytes,
                "verdict": plan.verdict,
                "tokens_per_s": plan.speed.decode,
                "prompt_tokens_per_s": plan.speed.prefill,
            }
            for plan in on_each_gpu(self)
        ]
        return pd.DataFrame(rows).set_index("gpu")

    def to_record(self) -> dict[str, Any]:
        """Return everything as JSON values: what the page draws."""
        from llama_nb.planner.record import record

        return record(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.plan import plan_bundle

        return {**plan_bundle(self.to_record()), MIME: self.to_record()}

    def __repr__(self) -> str:
        return f"<Plan of {self.name}: {size(self.total_bytes)}, {self.verdict}>"

    def _bytes(self, key: str) -> int:
        return sum(part.bytes for part in self.parts if part.key == key)


def estimate(
    shape: Shape,
    *,
    name: str,
    device: Target,
    quant: str = "none",
    dtype: str = "bfloat16",
    context: int | None = None,
    batch: int = 1,
    train: str | None = None,
    rank: int = 16,
    checkpointing: bool = False,
    target_modules: str | Sequence[str] = TARGETS,
    cache_dtype: str | None = None,
    spec: str | None = None,
    stored: int | None = None,
    converted_from: int | None = None,
    chosen_dtype: bool = False,
    notes: Iterable[str] = (),
) -> Plan:
    """Plan a model of this shape.

    Parameters
    ----------
    context
        Tokens of each sequence; by default 8,192, in training 2,048, or the model's when that is less.
    train
        "lora", "qlora" (nf4 with double quantisation unless `quant` says more) or "full".
    rank, target_modules
        Of LoRA; "all-linear" adapts every linear layer.
    checkpointing
        Whether training computes activations again instead of keeping them.
    stored, converted_from, chosen_dtype
        As in `Job`.
    notes
        What to say first.

    Raises
    ------
    LoadError
        If a value is unknown or out of its range.
    """
    if train is not None and train not in TRAINS:
        raise LoadError(
            f"train is {str(train)[:40]!r}; it must be one of {', '.join(TRAINS)}.",
            did_you_mean(str(train), TRAINS),
        )
    for what, value in (("context", context), ("batch", batch), ("rank", rank)):
        if value is not None and (type(value) is not int or not 1 <= value <= 2**40):
            raise LoadError(f"{what} is {str(value)[:40]}; it must be a whole number, 1 or more.")
    find_format(quant, dtype)
    memory.dtype_bytes(dtype)
    if train == "full" and quant != "none":
        raise LoadError(
            f"Full fine-tuning changes every weight, and {quant} weights cannot be trained.",
            "Leave quant out, or train an adapter on them: `--train qlora`.",
        )
    usual = _TRAINED_TOKENS if train else DEFAULT_CONTEXT
    job = Job(
        shape,
        "nf4-double" if train == "qlora" and quant == "none" else quant.lower(),
        dtype,
        context or min(usual, shape.context or usual),
        batch,
        cache_dtype,
        _train(train),
        rank,
        training.read_targets(shape, target_modules),
        checkpointing,
        stored,
        converted_from,
        chosen_dtype,
    )
    return make(name, spec or name, job, device, notes=notes)


def make(
    name: str, spec: str, job: Job, target: Target, *, notes: Iterable[str] = (), offers: bool = True
) -> Plan:
    """Return the plan of a job; without `offers` it looks for nothing that would fit instead."""
    from llama_nb.planner import explain
    from llama_nb.planner.offload import hint

    amounts = part_bytes(job, target)
    details = explain.details(job, target)
    parts = tuple(Part(key, _LABELS[key], count, details[key]) for key, count in amounts.items())
    said = (*notes, *explain.notes(job, target), *hint(job, target, sum(amounts.values())))
    plan = Plan(name, spec, job, target, parts, said, (), speed(job, target))
    if not offers or plan.verdict in ("fits", "unknown"):
        return plan
    from llama_nb.planner.options import options

    return replace(plan, options=options(plan))


def part_bytes(job: Job, target: Target) -> dict[str, int]:
    """Return the bytes of each part on all devices together."""
    split = Split(job.shape, target.count)
    if job.stored is not None:
        weights = job.stored
    else:
        groups = [(group, split.factor(group)) for group in job.shape.groups()]
        weights = round(
            sum(memory.group_bytes(group, job.format, job.dtype) * factor for group, factor in groups)
        )
    amounts = {"weights": training.weights_bytes(job, weights)}
    if job.train:
        amounts["kv_cache"] = 0
        amounts["activations"] = training.activation_bytes(job, target) * target.count
    else:
        cache = memory.kv_cache_bytes(job.shape, job.context, job.cache_dtype or job.dtype, job.batch)
        amounts["kv_cache"] = round(cache * split.keys)
        amounts["activations"] = working.inference_bytes(job, target)
    process = working.process_bytes(job, target) + working.tokenizer_bytes(job.shape, target)
    amounts["overhead"] = process
    if job.train:
        amounts |= training.state_bytes(job)
    return amounts


def verdict(total: int, target: Target) -> Verdict:
    """Return whether `total` bytes on all devices fit."""
    if target.memory is None:
        return "unknown"
    room = target.memory * target.count
    if total > room:
        return "does not fit"
    return "tight" if total > _TIGHT * room else "fits"


def sentence(total: int, target: Target) -> str:
    """Return what `total` bytes mean on the target, in one sentence."""
    needs = f"It needs {size(total)}"
    if target.memory is None:
        return f"{needs}; where it shall run is not known."
    on_each = f", {size(total / target.count)} on each of {target.count} GPUs" if target.count > 1 else ""
    found = verdict(total, target)
    said = {"fits": "it fits", "tight": "it fits, but tightly", "does not fit": "it does not fit"}[found]
    if target.quiet:
        return f"{needs}{on_each}: {said} on {target.name}."
    has = (
        f"each has {size(target.memory)}" if target.count > 1 else f"{target.name} has {size(target.memory)}"
    )
    lacking = total / target.count - target.memory
    more = f", {size(lacking)} are missing" if lacking > 0 else ""
    return f"{needs}{on_each}; {has}: {said}{more}."


def contexts(job: Job) -> list[int]:
    """Return the contexts that a slider stops at: powers of two up to the model's, and the job's own."""
    longest = job.shape.context or job.context
    stops = {longest, job.context}
    stop = _FIRST_STOP
    while stop < longest:
        stops.add(stop)
        stop *= 2
    return sorted(stops)


def loadable(quant: str) -> bool:
    """Whether `%llama load --quant` knows it."""
    return quant in LOADABLE


def _train(asked: str | None) -> Train | None:
    return next((name for name in TRAINS if name == asked), None)
