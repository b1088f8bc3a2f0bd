"""The prices of prices.json, with the user's own copy laid over them.

Every price has a date and a source; none is called current. What a volume costs is the planner's.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from llama_nb.catalog.price_file import NUMBERS, Rows, read_rows
from llama_nb.core.errors import CostError
from llama_nb.runtime import settings

_FILE: Final = Path(__file__).with_name("prices.json")


@dataclass(frozen=True, slots=True)
class ApiPrice:
    """What a provider takes for a model, in dollars per million tokens.

    `model` is our name of it; `own` says that the row comes from the user's file.
    """

    provider: str
    model: str
    input: float
    output: float
    date: str
    source: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class Rent:
    """What a provider takes for one GPU, in dollars per hour.

    `gpu` is the catalogue's name of it; `own` says that the row comes from the user's file.
    """

    provider: str
    gpu: str
    per_hour: float
    date: str
    source: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices that were read together."""

    api: tuple[ApiPrice, ...]
    rents: tuple[Rent, ...]


def own_file() -> Path:
    """Return where the user's own prices are read from; it need not exist."""
    return settings.home() / "prices.json"


def write_copy() -> bool:
    """Write an editable copy of the prices where it is read from; False, and nothing done, if one is there.

    Raises
    ------
    CostError
        If the file cannot be written.
    """
    path = own_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(_FILE.read_text(encoding="utf-8"))
    except FileExistsError as error:
        if not path.is_file():
            raise CostError(f"{path} is there, but it is no file.", "Move it away.") from error
        return False
    except OSError as error:
        raise CostError(
            f"{path} cannot be written: {error.strerror or error}.",
            "LLAMA_NB_HOME names another folder for llama-nb's own files.",
        ) from error
    return True


def prices() -> Prices:
    """Return the prices: ours, with the rows of the user's own file over them.

    Raises
    ------
    CostError
        If the user's file cannot be read, naming the file, the line and the key.
    """
    path = own_file()
    return _merged(_ours(), read_rows(path), own=True) if path.exists() else _ours()


@functools.cache
def _ours() -> Prices:
    return _merged(Prices((), ()), read_rows(_FILE), own=False)


_Row = TypeVar("_Row", ApiPrice, Rent)


def _merged(below: Prices, rows: Rows, *, own: bool) -> Prices:
    return Prices(
        api=_laid_over(below.api, rows["api"], ApiPrice, "model", own),
        rents=_laid_over(below.rents, rows["rents"], Rent, "gpu", own),
    )


def _laid_over(
    below: Iterable[_Row], rows: Iterable[dict[str, Any]], kind: type[_Row], what: str, own: bool
) -> tuple[_Row, ...]:
    kept = {(row.provider, str(getattr(row, what))): row for row in below}
    for row in rows:
        key = (row["provider"], row[what])
        if any(row.get(number, 0) is None for number in NUMBERS):
            kept.pop(key, None)
        elif kept.get(key) != kind(**row):
            # A copy that was not edited here is still ours.
            kept[key] = kind(**row, own=own)
    return tuple(kept.values())
