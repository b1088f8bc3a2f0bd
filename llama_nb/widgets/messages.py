"""What a page sends, read: each value is of the type and size that it should be, or nothing.

Knows no widget. What the values name is looked up by whoever asked for them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

LONGEST_NAME: Final = 200

Said = Mapping[str, Any]
Messages = Mapping[str, Callable[[Said], None]]
"""What is done with a message, by its kind."""


def text(said: Said, key: str, longest: int = LONGEST_NAME) -> str:
    """Return a text of at most `longest` characters, or an empty one."""
    value = said.get(key)
    return value if isinstance(value, str) and len(value) <= longest else ""


def texts(said: Said, key: str, most: int = 1000) -> list[str]:
    """Return the texts of a list, at most `most`."""
    given = said.get(key)
    return [each for each in given[:most] if isinstance(each, str)] if isinstance(given, list) else []


def whole(said: Said, key: str) -> int | None:
    """Return a whole number."""
    value = said.get(key)
    return value if type(value) is int else None


def wholes(said: Said, key: str, count: int) -> tuple[int, ...] | None:
    """Return exactly `count` whole numbers, such as the ends of a range."""
    given = said.get(key)
    if not isinstance(given, list) or len(given) != count or any(type(each) is not int for each in given):
        return None
    return tuple(given)


def number(said: Said, key: str) -> float | None:
    """Return a number; whether it is in range, or finite, is for those who take it."""
    value = said.get(key)
    return value if type(value) in (int, float) else None
