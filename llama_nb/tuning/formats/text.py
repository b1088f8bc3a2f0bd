"""Plain text, all of which is learned: a `text` in each record, or a list of texts."""

from collections.abc import Mapping
from typing import Any, Final

from llama_nb.tuning.example import Example, Kind
from llama_nb.tuning.formats.fields import text_of

NAME: Final = "text"
DESCRIPTION: Final = "plain texts"
KIND: Final[Kind] = "text"
FIELDS: Final = ("text",)


def matches(record: Mapping[str, Any]) -> bool:
    """Whether there is a text."""
    return _name(record) is not None


def note(record: Mapping[str, Any]) -> str:
    """Return which field is read, unless it is called `text`."""
    name = _name(record)
    return "" if name == "text" else f"{name!r} is read as the text"


def read(record: Mapping[str, Any], where: str) -> Example:
    """Return the text."""
    return Example("text", completion=text_of(record, _name(record) or "text", where), where=where)


def _name(record: Mapping[str, Any]) -> str | None:
    if "text" in record:
        return "text"
    return "content" if list(record) == ["content"] else None
