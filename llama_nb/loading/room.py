"""Whether a model has room in the memory: with which quantisation, for how much context, and what else would.

Arithmetic on the config and on the bytes that are free now. Reads no file and no weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from llama_nb.catalog import catalog
from llama_nb.core.errors import LoadError
from llama_nb.loading import quantize
from llama_nb.loading import source as sources
from llama_nb.loading.config import read_config
from llama_nb.planner import fit, memory
from llama_nb.planner.fit import gigabytes
from llama_nb.planner.job import Job, Target
from llama_nb.planner.plan import part_bytes
from llama_nb.planner.shape import Shape
from llama_nb.runtime import devices

SMALLEST_DTYPE: Final = "bfloat16"
# What auto tries after the plain weights: the closest to them first, and what needs another library after it.
_AUTO: Final = ("int8", "int8-quanto", "nf4", "int4-quanto", "nf4-double")
# With fewer tokens than this beside plain weights, auto prefers smaller weights and more context.
_COMFORTABLE_CONTEXT: Final = 8192


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for.

    Attributes
    ----------
    spec
        As typed: the commands that an error offers repeat it.
    device
        Where the model shall lie; never "auto".
    quant
        None, a method's name, or "auto".
    context
        None for as much as fits.
    dtype
        The dtype of a quantisation's rest or of plain weights, by quantisation (None or a name).
    weights
        Bytes of the weights where they are known: those of a checkpoint that is quantised already.
    """

    spec: str
    device: str
    quant: str | None
    context: int | None
    dtype: Callable[[str | None], str]
    weights: int | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What will be loaded: quantisation, dtype and context, and the bytes that this takes while it is read.

    `reason` says why, where auto chose.
    """

    quant: str | None
    dtype: str
    context: int
    bytes: int
    reason: str = ""


def make_room(config: Mapping[str, Any], wish: Wish, spare: int = 0) -> Room:
    """Return how a model fits into the free memory and `spare` bytes beside.

    Where the KV cache of the whole context does not fit, the context is shortened, to 2,048 tokens at least,
    unless `wish` names one.

    Raises
    ------
    LoadError
        If the context asked for is none that the model has.
    FitError
        If it does not fit; with numbers and the nearest options.
    """
    shape = Shape.from_config(config)
    context = _asked_context(config, wish)
    available = devices.available_memory(wish.device) + spare
    quant, reason = wish.quant, ""
    if quant == "auto":
        quant, reason = _choose(shape, wish, context, available)
    tokens = _largest_context(shape, wish, quant, context, available)
    shortest = context if wish.context else min(context, fit.SHORTEST_CONTEXT)
    needed = _need(shape, wish, quant, shortest)
    if tokens < shortest:
        options = _options(shape, replace(wish, quant=quant), shortest)
        fit.check_fit(replace(needed, options=options), available)
    return Room(quant, wish.dtype(quant), tokens, needed.weights + needed.working, reason)


def needed_bytes(job: Job, device: str) -> Mapping[str, int]:
    """Return the bytes that `%llama plan` has for a model too: "weights", "kv_cache" and "working".

    Working memory has the process beside the model in it, though parts of that may be in memory already: what
    is left over is needed by everything else that runs.
    """
    parts = part_bytes(job, Target(device, None, kind="cpu" if device == "cpu" else "gpu"))
    return {
        "weights": parts["weights"],
        "kv_cache": parts["kv_cache"],
        "working": parts["activations"] + parts["overhead"],
    }


def _asked_context(config: Mapping[str, Any], wish: Wish) -> int:
    longest = int(config.get("max_position_embeddings") or 2048)
    if wish.context is None:
        return longest
    if not 1 <= wish.context <= longest:
        raise LoadError(
            f"context is {wish.context:,}; {wish.spec} has at most {longest:,} tokens.",
            f"Choose 1 to {longest:,}, or leave it out.",
        )
    return wish.context


def _need(shape: Shape, wish: Wish, quant: str | None, context: int) -> fit.Need:
    dtype = wish.dtype(quant)
    job = Job(shape, quant or "none", dtype, context, stored=wish.weights)
    parts = needed_bytes(job, wish.device)
    return fit.Need(
        name=wish.spec,
        dtype=quant or dtype,
        device=wish.device,
        context=context,
        weights=parts["weights"],
        kv_cache=parts["kv_cache"],
        working=parts["working"],
    )


def _largest_context(shape: Shape, wish: Wish, quant: str | None, context: int, available: int) -> int:
    return fit.largest_context(lambda tokens: _need(shape, wish, quant, tokens).total, context, available)


def _choose(shape: Shape, wish: Wish, context: int, available: int) -> tuple[str | None, str]:
    """Return auto's choice and why: the first that fits with a comfortable context, else with a short one."""
    if wish.weights is not None:
        return None, ""
    runs = quantize.available(wish.device)
    candidates = [None, *(name for name in _AUTO if name in runs)]
    plain = _need(shape, wish, None, context)
    free = f"{plain.dtype} takes {gigabytes(plain.weights)} and {gigabytes(available)} are free"
    for enough in (_COMFORTABLE_CONTEXT, fit.SHORTEST_CONTEXT):
        for quant in candidates:
            tokens = min(context, enough)
            if _need(shape, wish, quant, tokens).total <= available:
                return quant, f"quant auto: {quant or 'none'}, because {free}."
    return candidates[-1], ""


def _options(shape: Shape, wish: Wish, context: int) -> tuple[fit.Option, ...]:
    """What else could be loaded: the same in half precision, quantised, on the CPU; smaller models."""

    def total(other: Shape, quant: str | None, dtype: str, where: str = wish.device) -> int:
        return sum(needed_bytes(Job(other, quant or "none", dtype, context), where).values())

    spec, dtype, device = wish.spec, wish.dtype(wish.quant), wish.device
    options = []
    if wish.quant is None and wish.weights is None:
        if memory.BYTES[dtype] > memory.BYTES[SMALLEST_DTYPE]:
            size = total(shape, None, SMALLEST_DTYPE)
            options.append(
                fit.Option("the same model in bfloat16", f"`%llama load {spec} --dtype bfloat16`", size)
            )
        options += [
            fit.Option(
                f"the same model in {name}",
                f"`%llama load {spec} --quant {name}`",
                total(shape, name, SMALLEST_DTYPE),
            )
            for name in _offered(device)
        ]
    if device != "cpu" and wish.weights is None:
        size = total(shape, wish.quant, SMALLEST_DTYPE, "cpu")
        free = devices.available_memory("cpu")
        also = f" --quant {wish.quant}" if wish.quant else ""
        command = f"`%llama load {spec} --device cpu{also}`"
        options.append(fit.Option("the same model on the CPU", command, size, free))
    for card in _smaller_models(shape.parameters):
        size = total(Shape.from_config(card.shape or {}), None, SMALLEST_DTYPE)
        options.append(fit.Option(card.name, f"`%llama load {card.hub_id}`", size))
    for small in sources.bundled():
        folder = sources.resolve(small).folder
        assert folder is not None
        own = Shape.from_config(read_config(folder))
        size = sum(needed_bytes(Job(own, dtype="float32", context=own.context or context), device).values())
        options.append(fit.Option(f"{small}, bundled", f"`%llama load {small}`", size))
    return tuple(options)


def _offered(device: str) -> Sequence[str]:
    """One method of 8 bits and one of 4 that run on `device`."""
    runs = [name for name in _AUTO if name in quantize.available(device)]
    return [
        next(iter(names))
        for names in ([name for name in runs if "8" in name], [name for name in runs if "4" in name])
        if names
    ]


def _smaller_models(parameters: int) -> list[catalog.ModelCard]:
    """One text model of the catalogue for each smaller shape: the newest that follows instructions."""
    by_shape = {
        card.parameters: card
        for card in sorted(
            catalog.cards(), key=lambda card: (card.name.endswith(("-instruct", "-chat")), card.date)
        )
        if card.kind == "text" and card.hub_id and card.parameters and card.parameters < parameters
    }
    return list(by_shape.values())
