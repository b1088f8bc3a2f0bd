"""From a name to a model in memory: resolve, fetch, check, fit, read.

The order matters: what costs nothing refuses first, and no weights are read before everything agrees.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from llama_nb.catalog import catalog
from llama_nb.core.errors import FitError
from llama_nb.core.events import Note, publish
from llama_nb.loading import source as sources
from llama_nb.loading.check import check
from llama_nb.loading.tokenizer import read_tokenizer
from llama_nb.loading.weights import Loaded, choose_dtype, import_torch, parse_dtype, parse_quant, read
from llama_nb.planner import fit, memory
from llama_nb.runtime import devices

_SMALLEST_DTYPE: Final = "bfloat16"


def load_checked(
    spec: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    quant: str | None = None,
    name: str | None = None,
    spare: int = 0,
    before_read: Callable[[], None] = lambda: None,
) -> Loaded:
    """Load the model that `spec` names, after every check.

    When the KV cache of the model's whole context does not fit beside its weights, the context is shortened
    (to 2,048 tokens at least) and a Note says so.

    Parameters
    ----------
    spec
        A bundled name, a folder, a hub id or a name of the catalogue.
    dtype, device, quant
        As in `llama_nb.loading.weights.read`.
    name
        What to call it; by default what `spec` names.
    spare
        Bytes that `before_read` will give back; they count as free.
    before_read
        Called when every check has passed: the place to unload a model that this one replaces.

    Raises
    ------
    LoadError
        If anything is missing, damaged, refused or contradictory.
    FitError
        If it does not fit into the free memory.
    """
    parse_dtype(dtype)
    parse_quant(quant)
    found = sources.resolve(spec)
    import_torch()
    chosen = devices.pick_device(device, None if device == "auto" else _needed_on_cpu(found, dtype))

    def approve(config: Mapping[str, Any]) -> None:
        count = memory.parameters(config)
        smallest = _SMALLEST_DTYPE if dtype == "auto" else parse_dtype(dtype)
        make_room(config, count, smallest, chosen, found.spec, spare)

    folder = sources.fetch(found, approve)
    checked = check(folder, name or found.name)
    final = choose_dtype(dtype, checked, chosen)
    context = make_room(checked.config, checked.parameters, final, chosen, found.spec, spare)
    if context < checked.context:
        shorter = f"context shortened from {checked.context:,} to {context:,} tokens to fit the free memory"
        publish(Note(f"{checked.name}: {shorter}."))
        checked = replace(checked, context=context)
    tokenizer = read_tokenizer(folder)
    before_read()
    return read(checked, dtype=final, device=chosen, quant=quant, tokenizer=tokenizer)


def make_room(
    config: Mapping[str, Any], parameters: int, dtype: str, device: str, spec: str, spare: int = 0
) -> int:
    """Return the context that fits beside the weights, in tokens; FitError when none worth having does.

    `spec` is what the user typed: the commands that the error offers repeat it.
    """
    longest = int(config.get("max_position_embeddings") or 2048)
    available = devices.available_memory(device) + spare
    needed = fit.Need(
        name=spec,
        dtype=dtype,
        device=device,
        weights=memory.weights_bytes(parameters, dtype),
        kv_per_token=memory.kv_bytes_per_token(config, dtype),
        context=longest,
    )
    tokens = fit.largest_context(needed, available)
    shortest = min(longest, fit.SHORTEST_CONTEXT)
    if tokens >= shortest:
        return tokens
    options = _options(config, parameters, dtype, device, spec, shortest)
    fit.check_fit(replace(needed, context=shortest, options=options), available)
    return shortest


def _options(
    config: Mapping[str, Any], parameters: int, dtype: str, device: str, spec: str, context: int
) -> tuple[fit.Option, ...]:
    """What else this version could load: the same in half precision, on the CPU, smaller models."""

    def total(count: int, shape: Mapping[str, Any], kind: str) -> int:
        weights = memory.weights_bytes(count, kind)
        return weights + memory.kv_bytes_per_token(shape, kind) * context + fit.margin(weights)

    options = []
    if memory.BYTES[dtype] > memory.BYTES[_SMALLEST_DTYPE]:
        size = total(parameters, config, _SMALLEST_DTYPE)
        options.append(
            fit.Option("the same model in bfloat16", f"`%llama load {spec} --dtype bfloat16`", size)
        )
    if device != "cpu":
        size, free = total(parameters, config, _SMALLEST_DTYPE), devices.available_memory("cpu")
        options.append(
            fit.Option("the same model on the CPU", f"`%llama load {spec} --device cpu`", size, free)
        )
    for card in _smaller_models(parameters):
        size = total(card.parameters or 0, card.shape or {}, _SMALLEST_DTYPE)
        options.append(fit.Option(card.name, f"`%llama load {card.hub_id}`", size))
    options.extend(
        fit.Option(f"{small}, bundled", f"`%llama load {small}`", 64 * 2**20) for small in sources.bundled()
    )
    return tuple(options)


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


def _needed_on_cpu(found: sources.Source, dtype: str) -> int | None:
    """Bytes that a model would take on the CPU, where its config is at hand."""
    try:
        folder = found.folder or sources.hub_cache.snapshot(found.name)
        if folder is None:
            return None
        from llama_nb.loading.config import read_config

        config = read_config(folder)
        name = parse_dtype(dtype)
        weights = memory.weights_bytes(memory.parameters(config), _SMALLEST_DTYPE if name == "auto" else name)
        context = min(int(config.get("max_position_embeddings") or 2048), fit.SHORTEST_CONTEXT)
        return weights + fit.margin(weights) + context * memory.kv_bytes_per_token(config, _SMALLEST_DTYPE)
    except (FitError, OSError):
        return None
