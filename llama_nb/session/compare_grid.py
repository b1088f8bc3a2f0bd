"""What a comparison compares: models, samplings and seeds, read and checked, and the cells of their grid.

Nothing is loaded here and nothing is sent. A cell is named by what differs between the cells, and by nothing
else. Running the grid is `compare`'s business.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from llama_nb.core.adapter import NO_ADAPTER
from llama_nb.core.errors import LlamaError, LoadError, MessageError, ModelGone, SamplingError
from llama_nb.core.sampling import RANGES, Sampling
from llama_nb.loading import quantize
from llama_nb.loading import source as sources
from llama_nb.runtime import presets
from llama_nb.runtime.settings import get_sampling_overrides
from llama_nb.session import registry
from llama_nb.session.defaults import check_options
from llama_nb.session.model import Model

MOST_CELLS: Final = 64
_DTYPES: Final = ("float32", "bfloat16", "float16")
_OPTIONS: Final = ("models", "seeds", "system", "reference")
_SEED: Final = "seed"

Given = str | Path | Model


@dataclass(frozen=True, slots=True)
class Subject:
    """A model of the grid.

    Attributes
    ----------
    label
        What the grid calls it: "cria", "cria:int8", "cria+persona".
    source, dtype, quant, device
        How it is loaded; a loaded model in another quantisation where that model lies.
    model
        The model, where it is loaded already.
    adapter
        The adapter that answers, "off" for none; None: whatever is on.
    """

    label: str
    source: str
    dtype: str = "auto"
    quant: str | None = None
    device: str = "auto"
    model: Model | None = None
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """The sampling parameters of some cells, as they were asked for; `label` names those that differ."""

    label: str
    options: Mapping[str, Any]
    greedy: bool


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the grid, and what is asked there.

    Attributes
    ----------
    number
        Its number, from 1, row by row.
    label
        What differs from other cells: "cria, temperature 0.7, seed 2".
    row, column
        Where it stands, from 0. It reaches over `span` rows: greedy decoding is the same with every seed.
    """

    number: int
    label: str
    row: int
    column: int
    span: int
    subject: Subject
    variant: Variant
    seed: int | None


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells with the names of columns and rows ("" where nothing differs).

    `reference` is the number of the cell that all others are compared with; None: the first one of each row.
    """

    subjects: tuple[Subject, ...]
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    slots: tuple[Slot, ...]
    reference: int | None = None
    notes: tuple[str, ...] = field(default=())

    def reference_of(self, slot: Slot) -> Slot | None:
        """Return the cell that `slot` is compared with; None for that cell itself."""
        found = next(
            other
            for other in self.slots
            if other.number == self.reference
            or (
                self.reference is None
                and other.column == 0
                and other.row <= slot.row < other.row + other.span
            )
        )
        return None if found is slot else found


def read_grid(
    models: Given | Iterable[Given] | None,
    seeds: int | Iterable[int] | None,
    sampling: Mapping[str, Any],
    reference: int | None = None,
) -> Grid:
    """Return the grid of all models with all samplings and seeds.

    Raises
    ------
    LoadError
        If a model's name is no source, or what stands behind its colon no quantisation.
    SamplingError
        If a parameter is unknown or out of its range.
    MessageError
        If the seeds or the reference cannot be, or there are too many cells.
    """
    check_options(sampling, _OPTIONS)
    subjects = _subjects(models)
    variants = _variants({name: value for name, value in sampling.items() if name != _SEED})
    numbers = _seeds(seeds, sampling)
    count = len(subjects) * len(variants) * len(numbers)
    if count > MOST_CELLS:
        raise MessageError(
            f"The grid has {count:,} cells: {len(subjects)} models, {len(variants)} samplings and "
            f"{len(numbers)} seeds. At most {MOST_CELLS} can be compared at once.",
            "Leave some of them out.",
        )
    grid = _lay_out(subjects, variants, numbers, reference)
    if reference is not None and not 1 <= reference <= len(grid.slots):
        raise MessageError(
            f"The reference is cell {reference}, and there are cells 1 to {len(grid.slots)}.",
            "Cells are numbered row by row; without a reference each row is compared with its first cell.",
        )
    return grid


def _lay_out(
    subjects: Sequence[Subject],
    variants: Sequence[Variant],
    seeds: Sequence[int],
    reference: int | None,
) -> Grid:
    """Put what differs first into columns and the rest into rows; one model's greedy cell spans its rows."""
    axis = 0 if len(subjects) > 1 else 1 if len(variants) > 1 else 2
    across: dict[str, int] = {}
    down: dict[str, int] = {}
    places = []
    for subject, variant in itertools.product(subjects, variants):
        for seed in (None,) if variant.greedy else seeds:
            parts = [
                subject.label if len(subjects) > 1 else "",
                variant.label,
                f"seed {seed}" if seed is not None and len(seeds) > 1 else "",
            ]
            label = ", ".join(filter(None, parts)) or subject.label
            column = across.setdefault(parts.pop(axis), len(across))
            spans = axis == 1 and variant.greedy
            row = 0 if spans else down.setdefault(", ".join(filter(None, parts)), len(down))
            places.append((row, column, spans, label, subject, variant, seed))
    places.sort(key=lambda place: place[:2])
    slots = tuple(
        Slot(number, label, row, column, max(len(down), 1) if spans else 1, subject, variant, seed)
        for number, (row, column, spans, label, subject, variant, seed) in enumerate(places, 1)
    )
    return Grid(
        tuple(subjects), tuple(across), tuple(down) or ("",), slots, reference, _notes(variants, seeds)
    )


def _notes(variants: Sequence[Variant], seeds: Sequence[int]) -> tuple[str, ...]:
    if len(seeds) > 1 and any(variant.greedy for variant in variants):
        return ("Greedy decoding (temperature 0) is the same with every seed: it is computed once.",)
    return ()


def _variants(sampling: Mapping[str, Any]) -> tuple[Variant, ...]:
    """Return the product of the parameters that were given as lists."""
    axes: dict[str, tuple[Any, ...]] = {}
    for name, value in sampling.items():
        listed = (name in RANGES or name == "preset") and not isinstance(value, str) and _is_many(value)
        values = tuple(dict.fromkeys(_checked(name, one) for one in value)) if listed else (value,)
        if not values:
            raise SamplingError(f"{name} is an empty list.", "Name at least one value, or leave it out.")
        axes[name] = values
    found = []
    for values in itertools.product(*axes.values()):
        options = dict(zip(axes, values, strict=True))
        resolved = Sampling(**{**get_sampling_overrides(), **presets.expand(options)})
        label = ", ".join(_named(name, value) for name, value in options.items() if len(axes[name]) > 1)
        found.append(Variant(label, options, resolved.greedy))
    return tuple(found)


def _checked(name: str, value: Any) -> Any:
    """Return one of several values as the number that it is, so that 0.7 and "0.70" are one."""
    return value if name == "preset" else getattr(Sampling(**{name: value}), name)


def _named(name: str, value: Any) -> str:
    if name == "preset":
        return str(value)
    shown = f"{value:g}" if isinstance(value, float) else value
    return f"{name} {'off' if shown is None else shown}"


def _seeds(seeds: int | Iterable[int] | None, sampling: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the seeds: 1 to N, or those that are listed; one `seed` among the sampling is a list of one."""
    alone = sampling.get(_SEED)
    if alone is not None and seeds is not None:
        raise MessageError("Both seed and seeds are given.", "seeds=3 is 1, 2 and 3; seeds=[7] is seed 7.")
    if alone is not None:
        seeds = alone if _is_many(alone) else [alone]
    if seeds is None:
        return (get_sampling_overrides().get(_SEED) or 1,)
    if _is_many(seeds):
        found = tuple(Sampling(seed=seed).seed for seed in seeds)  # type: ignore[union-attr]
        numbers = tuple(dict.fromkeys(seed for seed in found if seed is not None))
        if not numbers:
            raise MessageError("seeds is an empty list.", "seeds=3 is 1, 2 and 3; seeds=[7] is seed 7.")
        return numbers
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= MOST_CELLS:
        raise MessageError(
            f"seeds is {seeds!r}.", f"It is how many, 1 to {MOST_CELLS}, or a list: seeds=[7, 8]."
        )
    return tuple(range(1, seeds + 1))


def _is_many(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _subjects(models: Given | Iterable[Given] | None) -> tuple[Subject, ...]:
    if models is None:
        current = registry.current()
        return (Subject(current.name, current.source, model=current),)
    named = [models] if isinstance(models, str | Path | Model) else list(models)
    if not named:
        raise MessageError(
            "No models are named.", "Leave models out to compare samplings of the current one."
        )
    found: dict[str, Subject] = {}
    for given in named:
        subject = _subject(given)
        if subject.label in found:
            raise MessageError(f"{subject.label} is named twice.", "Each model is one column.")
        found[subject.label] = subject
    return tuple(found.values())


def _subject(given: Given) -> Subject:
    """Return what is meant: a handle, the name of a loaded model, or a source with or without `:quant`."""
    if isinstance(given, Model):
        if not given.alive:
            raise ModelGone(f"{given.name} was unloaded.", f"Name its source: {given.source}")
        return Subject(given.name, given.source, model=given)
    text, loaded = str(given).strip(), registry.loaded()
    if (named := _loaded(text)) is not None:
        return named
    head, _, tail = text.rpartition(":")
    if not head or not _is_source(head):
        return Subject(sources.resolve(text).name, text)
    dtype, quant = _as_quant(tail)
    there = loaded.get(head)
    if there is not None and tail in (there.quant, there.dtype if there.quant is None else None):
        return Subject(text, there.source, model=there)
    if there is not None:
        return Subject(text, there.source, dtype, quant, there.device)
    return Subject(f"{sources.resolve(head).name}:{tail}", head, dtype, quant)


def _loaded(text: str) -> Subject | None:
    """Return the loaded model that is named, with an adapter if one stands behind a plus."""
    for model in registry.loaded().values():
        if text == model.name or (text == model.source and model.quant is None):
            return Subject(model.name, model.source, model=model)
    for model in registry.loaded().values():
        if text.startswith(f"{model.name}+"):
            adapter = text.removeprefix(f"{model.name}+")
            if adapter != NO_ADAPTER:
                model.adapter_set().key(adapter)  # AdapterError if it has none such
            return Subject(text, model.source, model=model, adapter=adapter)
    return None


def _is_source(text: str) -> bool:
    if text in registry.loaded():
        return True
    try:
        sources.resolve(text)
    except LlamaError:
        return False
    return True


def _as_quant(text: str) -> tuple[str, str | None]:
    """Return dtype and quantisation of what stands behind a colon."""
    if text in _DTYPES:
        return text, None
    if text in ("none", "auto"):
        return "auto", None if text == "none" else text
    try:
        return "auto", quantize.find(text).NAME
    except LoadError as error:
        hint = f"{error.hint} Not quantised: {', '.join(_DTYPES)}."
        raise LoadError(f"There is no quantisation {text[:40]!r}.", hint) from None
