"""Looks at the values of a trace's header, which comes from anywhere, before anything is made of them."""

import re
from typing import Any, Final

MOST_TOKENS: Final = 20_000_000  # twice the longest context there is
MOST_TEXT: Final = 2_000  # characters of a token, a title, a name
_HALVES: Final = re.compile("[\ud800-\udfff]")  # of characters: JSON can hold them, no output can


class DamagedError(Exception):
    """What a file says cannot be."""


def check_text(value: object, name: str) -> str:
    """Return a text, of which `name` says what it is."""
    if not isinstance(value, str) or len(value) > MOST_TEXT or _HALVES.search(value):
        raise DamagedError(f"{name} is no text")
    return value


def check_list(value: object, name: str) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list) or len(value) > MOST_TOKENS:
        raise DamagedError(f"{name} is no list")
    return value


def check_whole(value: object, name: str, least: int, below: int) -> int:
    """Return a whole number in a range."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < below:
        raise DamagedError(f"{name} is {str(value)[:20]}")
    return value


def check_number(value: object, name: str) -> float:
    """Return a number that is not huge."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
        raise DamagedError(f"{name} is no number")
    return float(value)
