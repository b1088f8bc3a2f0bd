"""Reads a file of prices that somebody may have edited by hand, and says on which line what is wrong.

Rows are checked against the catalogue's names of models and GPUs; what they are laid over is in prices.py.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from llama_nb.catalog import catalog
from llama_nb.catalog.gpus import find_gpu, gpus
from llama_nb.catalog.json_lines import Member, array_members, line_of
from llama_nb.catalog.providers import providers
from llama_nb.core.errors import CostError, did_you_mean

# Checked rows under "api" and "rents". A price in them may be None, which takes a row out.
Rows: TypeAlias = Mapping[str, list[dict[str, Any]]]

UNITS: Final = {"api": "USD per million tokens", "rents": "USD per GPU and hour"}
NUMBERS: Final = ("input", "output", "per_hour")
EDIT: Final = "%llama cost --edit"
_KEYS: Final = {
    "api": ("provider", "model", "input", "output", "date", "source"),
    "rents": ("provider", "gpu", "per_hour", "date", "source"),
}
_DATE: Final = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")
_MOST_BYTES: Final = 2_000_000


def read_rows(path: Path) -> Rows:
    """Return the rows of a file of prices.

    Raises
    ------
    CostError
        If it cannot be read, is no such JSON, or holds a wrong key, unit, name, date or price.
    """
    text = _text(path)
    data = _object(path, text)
    for key in data:
        if key not in ("schema", "about", "units", "sources", *_KEYS):
            hint = did_you_mean(key, ("units", "sources", *_KEYS))
            raise _fault(path, line_of(text, key), f"the key {key!r} is unknown", hint)
    _check_units(path, text, data.get("units", {}))
    sources = data.get("sources", {})
    if not isinstance(sources, dict):
        raise _fault(path, line_of(text, "sources"), '"sources" must be an object of names and addresses')
    for kind in _KEYS:
        if not isinstance(data.get(kind, []), list):
            raise _fault(path, line_of(text, kind), f'"{kind}" must be a list')
    return {
        kind: [_Row(path, kind, member).checked(sources) for member in array_members(text, kind)]
        for kind in _KEYS
    }


class _Row:
    """One row while it is checked."""

    def __init__(self, path: Path, kind: str, member: Member) -> None:
        self.path, self.kind, self.member = path, kind, member
        self.row = member.value

    def checked(self, sources: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row with the catalogue's name of its model or GPU, and its source written out."""
        if not isinstance(self.row, dict):
            raise _fault(self.path, self.member.line, f'a row of "{self.kind}" must be an object')
        keys = _KEYS[self.kind]
        for key in self.row:
            if key not in keys:
                raise self.fault(key, f"the key {key!r} is unknown", did_you_mean(key, keys))
        for key in keys:
            if key not in self.row:
                raise self.fault(key, f'"{key}" is missing in a row of "{self.kind}"')
            self.check_number(key) if key in NUMBERS else self.check_text(key)
        if not _DATE.fullmatch(self.row["date"]):
            raise self.fault("date", f'"date" is {self.row["date"]!r}; write 2026-05-07, 2026-05 or 2026')
        self.check_provider()
        what, name = ("model", self.model()) if self.kind == "api" else ("gpu", self.gpu())
        source = sources.get(self.row["source"], self.row["source"])
        return {**self.row, what: name, "source": str(source)}

    def check_number(self, key: str) -> None:
        """Refuse what is neither a price nor null."""
        value = self.row[key]
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fault(key, f'"{key}" is {value!r}; it must be a number of dollars, or null for none')
        if not 0 <= value <= 1e9:
            raise self.fault(key, f'"{key}" is {value!r}; it must be 0 or more, and a price')

    def check_text(self, key: str) -> None:
        """Refuse what is no text."""
        value = self.row[key]
        if not (isinstance(value, str) and value.strip()):
            raise self.fault(key, f'"{key}" is {value!r}; it must be a text')

    def check_provider(self) -> None:
        """Refuse a near miss of a provider's key; who rents from a neighbour may name the neighbour."""
        keys = [provider.key for provider in providers]
        name = self.row["provider"]
        if name not in keys and (hint := did_you_mean(name, keys)):
            raise self.fault("provider", f'"provider" is {name!r}, which is unknown', hint)

    def model(self) -> str:
        """Return our name of the model."""
        card = catalog.find(self.row["model"])
        if card is not None:
            return card.name
        hint = did_you_mean(self.row["model"], [known.name for known in catalog.cards()])
        raise self.fault(
            "model", f'"model" is {self.row["model"]!r}, which the catalogue does not know', hint
        )

    def gpu(self) -> str:
        """Return the catalogue's name of the GPU."""
        gpu = find_gpu(self.row["gpu"])
        if gpu is not None:
            return gpu.name
        hint = did_you_mean(self.row["gpu"], [known.name for known in gpus()])
        raise self.fault("gpu", f'"gpu" is {self.row["gpu"]!r}, which the catalogue does not know', hint)

    def fault(self, key: str, message: str, hint: str = "") -> CostError:
        """Return the error about `key` of this row, with its line."""
        return _fault(self.path, self.member.line_of(key), message, hint)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CostError(f"{path} is larger than 2 MB; that is no file of prices.", f"See `{EDIT}`.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CostError(f"{path} is no UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise CostError(f"{path} cannot be read: {reason}.", "Check its permissions.") from error


def _object(path: Path, text: str) -> dict[str, Any]:
    try:
        data = json.loads(text, parse_constant=_not_finite)
    except json.JSONDecodeError as error:
        raise _fault(path, error.lineno, f"this is no JSON: {error.msg}, column {error.colno}") from error
    except (RecursionError, ValueError) as error:
        raise _fault(path, 1, f"this is no JSON of prices: {type(error).__name__}") from error
    if not isinstance(data, dict):
        raise _fault(path, 1, 'the file must hold an object with "api" and "rents"')
    return data


def _not_finite(name: str) -> float:
    # NaN and Infinity, which Python's JSON knows, are refused with their line when the row is checked.
    return math.nan if name == "NaN" else math.inf


def _check_units(path: Path, text: str, units: Any) -> None:
    if not isinstance(units, dict):
        raise _fault(path, line_of(text, "units"), '"units" must be an object')
    for kind, unit in units.items():
        if kind not in UNITS or unit != UNITS[kind]:
            known = ", ".join(f'"{name}": "{meaning}"' for name, meaning in UNITS.items())
            message = f"the unit {unit!r} of {kind!r} is unknown"
            raise _fault(path, line_of(text, kind, after="units"), message, f"The units are {known}.")


def _fault(path: Path, line: int, message: str, hint: str = "") -> CostError:
    more = f"{hint} Repair it, or move the file away and run `{EDIT}` for a fresh copy.".strip()
    return CostError(f"{path}, line {line}: {message}.", more)
