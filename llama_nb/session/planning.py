"""`llama.plan`: from what a user names to a shape, from where it shall run to figures, and both into a Plan.

Reads no weights and asks no network; the arithmetic is the planner's.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from llama_nb.catalog.gpus import find_gpu, parse_gpus
from llama_nb.core.errors import LoadError
from llama_nb.loading.weights import SMALL, parse_dtype
from llama_nb.planner.job import TARGETS, Target
from llama_nb.planner.memory import quantised_bytes
from llama_nb.planner.plan import Plan, estimate
from llama_nb.planner.shape import Shape
from llama_nb.runtime import devices, environment, usage
from llama_nb.session.plan_source import Described, Named, describe

_CONTEXT: Final = re.compile(r"([0-9][0-9_,]*)\s*(k|m)?", re.IGNORECASE)
_SCALES: Final = {"": 1, "k": 2**10, "m": 2**20}


def plan(
    model: Named = None,
    *,
    quant: str | None = None,
    context: int | str | None = None,
    batch: int = 1,
    train: str | None = None,
    rank: int = 16,
    target_modules: str | Sequence[str] = TARGETS,
    checkpointing: bool = False,
    gpus: str | None = None,
    here: bool | None = None,
    dtype: str = "auto",
    cache_dtype: str | None = None,
    offload: int | None = None,
    hit_rate: float | None = None,
    bandwidth: float | None = None,
) -> Plan:
    """Return what a model takes and whether it fits, before a byte of weights is read.

    Parameters
    ----------
    model
        A name of the catalogue, in any wording that is clear ("3.3 70b"); a hub id whose config is cached; a
        folder, a config.json, a GGUF file; a config as a mapping; a loaded Model; None for the current one.
    quant
        A format of `llama_nb.planner.formats.QUANTS`; None for what the model is stored in.
    context
        Tokens of each sequence: a number, "32768" or "128k" (1,024 each).
    batch, train, rank, target_modules, checkpointing
        As in `llama_nb.planner.plan.estimate`.
    gpus
        Where it shall run: "RTX 4090", "2xH100", "4x24GB".
    here
        Whether to plan for this machine. By default so without `gpus`, but not where outputs are compared
        between machines (nbclient, nbval): there the plan has no verdict until `here` or `gpus` is given.
    dtype
        Of what is not quantised; "auto" as in `llama_nb.load`.
    offload, hit_rate, bandwidth
        Of a mixture: add a note on keeping its routed experts in main memory, `offload` of each layer on the
        GPU; as in `Plan.offload`.

    Raises
    ------
    LoadError
        If there is no such model, or a value is out of its range.
    UnsupportedError
        If its shape is not known.
    CatalogError
        If a GPU or a model of the catalogue is not known, or several models are meant.
    """
    found = describe(model)
    shape = Shape.from_config(found.config)
    target = _target(gpus, here)
    same = quant is None or quant.lower() == found.quant
    wanted = found.quant if quant is None else quant
    floats = wanted.lower() == "none" and train != "qlora"
    chosen = _dtype(dtype, shape, found, target, floats=floats)
    made = estimate(
        shape,
        name=found.name,
        spec=found.spec,
        device=target,
        quant=wanted,
        dtype=chosen,
        context=None if context is None else read_context(context),
        batch=batch,
        train=train,
        rank=rank,
        checkpointing=checkpointing,
        target_modules=target_modules,
        cache_dtype=cache_dtype,
        stored=found.stored if same and train != "full" else None,
        converted_from=_converted_from(found, shape, wanted, chosen, target),
        chosen_dtype=parse_dtype(dtype) != "auto",
        notes=found.notes,
    )
    if offload is None:
        _no_offload(hit_rate, bandwidth)
        return made
    # The hint at the option has been taken.
    asked = made.offload(offload, hit_rate, bandwidth).sentence
    return replace(made, notes=(asked, *(note for note in made.notes if "--offload" not in note)))


def read_context(asked: int | str) -> int:
    """Return tokens from 8192, "8192" or "128k"; LoadError where that is no number of them."""
    if isinstance(asked, str):
        matched = _CONTEXT.fullmatch(asked.strip())
        if matched is None or len(asked) > 20:
            raise LoadError(f"context is {asked[:40]!r}; write tokens, such as 8192 or 128k (131,072).")
        return int(matched[1].replace(",", "").replace("_", "")) * _SCALES[(matched[2] or "").lower()]
    return asked


def _no_offload(hit_rate: float | None, bandwidth: float | None) -> None:
    for name, value in (("hit_rate", hit_rate), ("bandwidth", bandwidth)):
        if value is not None:
            raise LoadError(
                f"{name} is given, but no experts are offloaded.",
                "Say how many of each layer stay on the GPU: offload=4, or --offload 4.",
            )


def _target(gpus: str | None, here: bool | None) -> Target:
    if gpus is not None:
        if here:
            raise LoadError("Both gpus and here are given.", "Plan for one of them.")
        named = parse_gpus(gpus)
        unified = named.gpu is not None and named.gpu.unified
        return Target(named.name, named.memory, named.count, named.bandwidth, named.flops, unified=unified)
    batch = environment.detect().kind == "batch"
    if here is False or (here is None and batch):
        return Target("", None, kind="cpu")
    own = usage.gpus()
    if own:
        known = find_gpu(own[0].name)
        bandwidth, flops = (known.bandwidth, known.bf16_flops) if known else (None, None)
        return Target(own[0].name, own[0].free, 1, bandwidth, flops, quiet=batch)
    free = devices.available_memory("cpu")
    return Target("this machine", free, 1, _bandwidth(batch), kind="cpu", quiet=batch)


def _bandwidth(batch: bool) -> float | None:
    if batch:
        return None
    from llama_nb.runtime.bandwidth import read_bandwidth

    return read_bandwidth()


def _dtype(asked: str, shape: Shape, found: Described, target: Target, *, floats: bool) -> str:
    """The dtype that loading would choose for "auto": small models keep float32 unless they are quantised."""
    name = parse_dtype(asked)
    if name != "auto":
        return name
    if found.dtype is not None and floats == (found.quant == "none"):
        return found.dtype
    if shape.parameters < SMALL and floats:
        return "float32"
    return "float16" if target.kind == "gpu" and found.stored_dtype == "float16" else "bfloat16"


def _converted_from(found: Described, shape: Shape, quant: str, dtype: str, target: Target) -> int | None:
    """Bytes of files whose numbers are converted while they are read into this process's memory."""
    stored = found.stored_dtype
    if target.kind != "cpu" or found.stored is not None or quant == found.quant != "none":
        return None
    if quant == "none" and stored == dtype:
        return None
    if found.files is not None:
        return found.files
    return quantised_bytes(shape, "none", stored if stored in ("float32", "float16") else "bfloat16")
