"""From a name to a model in memory: resolve, fetch, check, fit, read.

The order matters: what costs nothing refuses first, and no weights are read before everything agrees.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from llama_nb.core.errors import FitError, LoadError
from llama_nb.core.events import Note, publish
from llama_nb.core.stop import StopFlag
from llama_nb.loading import quantize, stored
from llama_nb.loading import source as sources
from llama_nb.loading.check import Checked, check
from llama_nb.loading.gguf_model import check_gguf, is_quantised
from llama_nb.loading.reading import check_stop
from llama_nb.loading.room import SMALLEST_DTYPE, Wish, make_room, needed_bytes
from llama_nb.loading.weights import (
    Loaded,
    check_quant,
    choose_dtype,
    import_torch,
    parse_dtype,
    parse_quant,
    read,
    tokenizer_of,
)
from llama_nb.planner import fit, memory
from llama_nb.planner.fit import gigabytes
from llama_nb.planner.job import Job
from llama_nb.planner.shape import Shape
from llama_nb.runtime import devices


def load_checked(
    spec: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    quant: str | None = None,
    context: int | None = None,
    name: str | None = None,
    stop: StopFlag | None = None,
    spare: int = 0,
    make_way: Callable[[], None] = lambda: None,
) -> Loaded:
    """Load the model that `spec` names, after every check.

    When the KV cache of the model's whole context does not fit beside its weights, the context is shortened
    (to 2,048 tokens at least) and a Note says so.

    Parameters
    ----------
    spec
        A bundled name, a folder, a GGUF file, a hub id or a name of the catalogue.
    dtype, device
        As in `llama_nb.loading.weights.read`.
    quant
        The name of a quantisation method, None, or "auto": plain weights if they fit, else the method that is
        closest to them; a Note says which and why.
    context
        The longest sequence in tokens, at most the model's; None for as much as fits.
    name
        What to call it; by default what `spec` names.
    stop
        Ends the download or the reading.
    spare
        Bytes that `make_way` will give back; they count as free.
    make_way
        Unloads a model that this one replaces. Called when every check has passed, and only when there is no
        room for both while the new one is read.

    Raises
    ------
    LoadError
        If anything is missing, damaged, refused or contradictory.
    FitError
        If it does not fit into the free memory.
    LoadCancelled
        If `stop` was set; nothing of the model is in memory then.
    """
    parse_dtype(dtype)
    quant = parse_quant(quant)
    if context is not None and (type(context) is not int or context < 1):
        raise LoadError(
            f"context is {context!r}; it must be a whole number of tokens, 1 or more.",
            "Leave it out for as much as fits.",
        )
    found = sources.resolve(spec)
    import_torch()
    chosen = devices.pick_device(device, None if device == "auto" else _needed_on_cpu(found, dtype, quant))
    method = quantize.find(quant) if quant not in (None, "auto") else None
    if method is not None:
        quantize.require(method, chosen)

    def smallest(_: str | None) -> str:
        return SMALLEST_DTYPE if dtype == "auto" else parse_dtype(dtype)

    def approve(config: Mapping[str, Any]) -> None:
        if (packed := stored.find(config)) is not None:
            stored.refuse_again(packed, found.name, quant)
            stored.require(packed, found.name, chosen)
        packed_as = packed.settings if packed else {}
        weights = _packed_bytes(config, packed_as) if packed else None
        make_room(config, Wish(found.spec, chosen, quant, context, smallest, weights), spare)

    folder = sources.fetch(found, approve, stop)
    look = check_gguf if found.kind == "gguf" else check
    checked = look(folder, name or found.name)
    check_quant(checked, method, chosen)
    wish = Wish(
        found.spec,
        chosen,
        quant,
        context,
        lambda quant: choose_dtype(dtype, checked, chosen, quant),
        _fixed_bytes(checked, dtype, chosen),
    )
    room = make_room(checked.config, wish, spare)
    if checked.unread:
        publish(Note(f"{checked.name}: {gigabytes(checked.unread)} of what it sees with are not read."))
    if room.reason:
        publish(Note(f"{checked.name}: {room.reason}"))
    checked = _with_context(checked, room.context, asked=context)
    tokenizer = tokenizer_of(checked)
    check_stop(stop, checked.name)
    if room.bytes > devices.available_memory(chosen):
        make_way()
    return read(checked, dtype=room.dtype, device=chosen, quant=room.quant, tokenizer=tokenizer, stop=stop)


def _with_context(checked: Checked, tokens: int, asked: int | None) -> Checked:
    if tokens < checked.context and asked is None:
        shorter = f"context shortened from {checked.context:,} to {tokens:,} tokens to fit the free memory"
        publish(Note(f"{checked.name}: {shorter}."))
    return replace(checked, context=min(tokens, checked.context))


def _fixed_bytes(checked: Checked, dtype: str, device: str) -> int | None:
    """The bytes of weights that no method may quantise (again): packed ones, and what a GGUF unpacks to."""
    if checked.stored is not None:
        return checked.stored_bytes
    if checked.gguf is None or not is_quantised(checked.gguf):
        return None
    return memory.weights_bytes(checked.parameters, choose_dtype(dtype, checked, device))


def _packed_bytes(config: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """The bytes of a checkpoint that is quantised already, while its headers are not here: a bound."""
    eight = settings.get("load_in_8bit") or settings.get("bits") == 8
    return memory.quantised_bytes(Shape.from_config(config), "int8" if eight else "nf4", SMALLEST_DTYPE)


def _needed_on_cpu(found: sources.Source, dtype: str, quant: str | None) -> int | None:
    """Bytes that a model would take on the CPU, where its config is at hand."""
    try:
        folder = found.folder or sources.hub_cache.snapshot(found.name)
        if folder is None:
            return None
        from llama_nb.loading.config import read_config
        from llama_nb.loading.gguf_file import read_gguf

        config = read_gguf(folder).config() if found.kind == "gguf" else read_config(folder)
        kind = SMALLEST_DTYPE if dtype == "auto" else parse_dtype(dtype)
        method = quant if quant not in (None, "auto") else "none"
        context = min(int(config.get("max_position_embeddings") or 2048), fit.SHORTEST_CONTEXT)
        job = Job(Shape.from_config(config), method or "none", kind, context)
        return sum(needed_bytes(job, "cpu").values())
    except (FitError, OSError):
        return None
