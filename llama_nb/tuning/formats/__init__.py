"""Formats of training data: a file of this package each, found by its name; adding one touches nothing else.

A format knows one record at a time, neither files nor tokens.
"""

import functools
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, Protocol, cast

from llama_nb.core.errors import DataError, did_you_mean
from llama_nb.tuning.example import Example, Kind
from llama_nb.tuning.records import Record

# What a record is taken for when it could be several: what says more comes first.
_FIRST: Final[Sequence[Kind]] = ("preference", "chat", "pair", "text")
_LOOKED_AT: Final = 20  # records, to recognise a format
_ALIKE: Final = 0.6  # names as like as "promt" and "prompt", not as "a" and "text"


class Format(Protocol):
    """What the file of a format exports.

    Attributes
    ----------
    NAME
        As in `--format NAME`.
    DESCRIPTION
        A few words, for lists and for what is said when it is recognised.
    KIND
        What its examples mostly are.
    FIELDS
        The names of its fields, for who is near it.
    """

    NAME: str
    DESCRIPTION: str
    KIND: Kind
    FIELDS: Sequence[str]

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether `record` looks like one of this format."""

    def read(self, record: Mapping[str, Any], where: str) -> Example:
        """Return the example in `record`; DataError naming `where` and the field if there is none."""

    def note(self, record: Mapping[str, Any]) -> str:
        """Return how the fields of `record` are understood, where that is a choice; else an empty text."""


@functools.cache
def all_formats() -> dict[str, Format]:
    """Return every format by name, those that say more first."""
    modules = [
        cast("Format", importlib.import_module(f"{__name__}.{module.name}"))
        for module in pkgutil.iter_modules(__path__)
    ]
    known = [module for module in modules if hasattr(module, "NAME")]
    known.sort(key=lambda module: (_FIRST.index(module.KIND), module.NAME))
    return {module.NAME: module for module in known}


def find_format(name: str) -> Format:
    """Return the format called `name`; DataError with the nearest one otherwise."""
    known = all_formats()
    asked = name.lower().replace("-", "_")
    if asked not in known:
        raise DataError(
            f"There is no format {name!r}. Formats are: {', '.join(known)}.", did_you_mean(asked, known)
        )
    return known[asked]


def recognise(records: Sequence[Record]) -> Format:
    """Return the format that all of the first records have.

    Raises
    ------
    DataError
        Naming the first record that no format fits, and the nearest format's fields.
    """
    seen = records[:_LOOKED_AT]
    for known in all_formats().values():
        if all(known.matches(record.value) for record in seen):
            return known
    fits_first = next((f for f in all_formats().values() if f.matches(seen[0].value)), None)
    if fits_first is not None:
        odd = next(record for record in seen if not fits_first.matches(record.value))
        raise DataError(
            f"{odd.where}: the record has the fields {_fields(odd.value)}; the ones before are "
            f"{fits_first.NAME} ({', '.join(fits_first.FIELDS)}).",
            f"Give all records the same fields, or name their format: --format {fits_first.NAME}",
        )
    raise _unknown(seen[0])


def _unknown(record: Record) -> DataError:
    known = all_formats()
    given = [str(key) for key in record.value]
    near = {name: _likeness(form.FIELDS, given) for name, form in known.items()}
    best = max(near, key=lambda name: near[name])
    hint = (
        f"Nearest is {best}, with the fields {', '.join(known[best].FIELDS)}: rename yours, or name the "
        f"format with --format."
        if near[best] > _ALIKE
        else "; ".join(f"{name}: {', '.join(form.FIELDS)}" for name, form in known.items())
    )
    return DataError(f"{record.where}: no format has the fields {_fields(record.value)}.", hint)


def _likeness(fields: Sequence[str], given: Sequence[str]) -> float:
    """Return how much the names in `given` look like `fields`, from 0 to 1."""
    best = (
        max((SequenceMatcher(None, field, name).ratio() for name in given), default=0.0) for field in fields
    )
    return sum(best) / len(fields)


def _fields(record: Mapping[str, Any]) -> str:
    names = [str(key) for key in record]
    shown = ", ".join(names[:8])
    return (f"{shown}, and {len(names) - 8} more" if len(names) > 8 else shown) or "none"
