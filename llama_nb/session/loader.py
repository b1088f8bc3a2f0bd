"""What there is to load: bundled, loaded, on this disk, in the catalogue, or typed. For the loader panel.

Cheap: no torch, no network, no weights. How a chosen one would be loaded is `loader_plan`'s.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llama_nb.catalog import catalog
from llama_nb.catalog.catalog import ModelCard
from llama_nb.catalog.models import models
from llama_nb.core.errors import LlamaError
from llama_nb.loading import source
from llama_nb.loading.config import read_config
from llama_nb.planner import fit
from llama_nb.planner.shape import Shape
from llama_nb.render.units import number
from llama_nb.runtime import devices, hub_settings, usage
from llama_nb.session import loader_plan, registry
from llama_nb.session.model import Model

Where = Literal["loaded", "bundled", "cached", "typed", "hub"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the list.

    Attributes
    ----------
    source
        What `%llama load` takes.
    where
        "hub" is the only place that is not on this machine.
    parameters
        "8.03 B", or nothing where nobody knows.
    fits, quant
        "fits", "tight", "does not fit" or "unknown" for a chat of 4,096 tokens, and the least lossy
        quantisation with that verdict.
    """

    source: str
    name: str
    where: Where
    family: str = ""
    size: str = ""
    kind: str = "text"
    date: str = ""
    licence: str = ""
    parameters: str = ""
    gated: bool = False
    fits: str = "unknown"
    quant: str = ""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, in a few words."""

    name: str
    detail: str
    bytes: int
    current: bool


def entries(typed: Sequence[str] = ()) -> list[Entry]:
    """Return the list: what is here first, then what the hub has, newest first; each source once."""
    room = _Room()
    found: dict[str, Entry] = {}
    for entry in (*_here(room, typed), *_on_hub(room)):
        found.setdefault(entry.source, entry)
    return list(found.values())


def suggested(listed: Sequence[Entry]) -> Entry | None:
    """Return the entry to begin with: a bundled model, else the first that fits."""
    first = next((entry for entry in listed if entry.where == "bundled"), None)
    return first or next((entry for entry in listed if entry.fits == "fits"), None)


def look_up(text: str) -> str:
    """Return what to load for a typed text: the card that it names, or itself when it is a folder or hub id.

    Raises
    ------
    LoadError
        If it is neither, with the nearest names.
    """
    found = source.resolve(text)
    return found.name if found.kind == "hub" else text


def loaded() -> list[LoadedModel]:
    """Return the models in memory, in the order in which they were loaded."""
    held = registry.loaded()
    current = registry.current() if held else None
    return [LoadedModel(name, _detail(model), model.bytes, model is current) for name, model in held.items()]


def machine_sentence() -> str:
    """Return where models would run, and what is free there."""
    gpus = usage.gpus()
    free = f"CPU: {fit.gigabytes(devices.available_memory('cpu'))} free"
    return " · ".join([*(f"{gpu.name}: {fit.gigabytes(gpu.free)} free" for gpu in gpus), free])


def offline_sentence() -> str:
    """Return what can be loaded where the environment forbids the network; nothing where it does not."""
    if not hub_settings.offline():
        return ""
    return "Offline: what is here already can be loaded, nothing can be downloaded now."


class _Room:
    """What is free here, asked once for a whole list."""

    def __init__(self) -> None:
        self._target = loader_plan.place()
        self._known: dict[Shape, dict[str, Any]] = {}

    def fits(self, shape: Shape) -> dict[str, Any]:
        """Return the figures of an entry; a base model and what was tuned from it have one shape."""
        if shape not in self._known:
            verdict, quant = loader_plan.best_fit(shape, self._target)
            parameters = number(shape.parameters)
            self._known[shape] = {"fits": verdict, "quant": quant, "parameters": parameters}
        return self._known[shape]


def _here(room: _Room, typed: Sequence[str]) -> Iterator[Entry]:
    held = {model.source: model for model in registry.loaded().values()}
    for name in source.bundled():
        yield _local(room, name, "loaded" if name in held else "bundled")
    for model in source.cached():
        yield _local(room, model.name, "loaded" if model.name in held else "cached")
    for spec in held:
        yield _local(room, spec, "loaded")
    for spec in typed:
        yield _local(room, spec, "typed")


def _local(room: _Room, spec: str, where: Where) -> Entry:
    """The entry of something on this machine, by its own config; a damaged one is listed without figures."""
    card = catalog.find(spec)
    about = _facts(card) if card is not None else {}
    name = card.name if card is not None else spec
    try:
        found = source.resolve(spec)
        name = found.name if card is None else name
        folder = found.folder or source.hub_cache.complete_snapshot(found.name)
        config = read_config(folder) if folder is not None else card.config if card is not None else None
        measured = room.fits(Shape.from_config(config)) if config is not None else {}
    except LlamaError:
        measured = {}
    return Entry(spec, name, where, **(about | measured))


def _on_hub(room: _Room) -> Iterator[Entry]:
    for card in models.all():
        if card.hub_id is None:
            continue
        try:
            measured = room.fits(Shape.from_config(card.config))
        except LlamaError:
            measured = {}
        yield Entry(card.hub_id, card.name, "hub", **(_facts(card) | measured))


def _facts(card: ModelCard) -> dict[str, Any]:
    return {
        "family": card.family,
        "size": card.size,
        "kind": card.kind,
        "date": card.date,
        "licence": card.licence,
        "gated": card.gated,
    }


def _detail(model: Model) -> str:
    quantised = getattr(model, "quant", None) or model.dtype
    return f"{quantised} on {model.device} · {fit.gigabytes(model.bytes)} · context {model.context:,}"
