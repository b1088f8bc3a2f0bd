"""On which line of a JSON text something stands, so that an error in a hand-written file can say it.

The text has been parsed before: this walks over it a second time and expects no mistakes.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an array, with its text and the line it begins on (from 1)."""

    value: Any
    text: str
    line: int

    def line_of(self, key: str) -> int:
        """Return the line of `"key":` in this member, or the line it begins on."""
        found = re.search(rf"{re.escape(json.dumps(key))}\s*:", self.text)
        return self.line + (self.text.count("\n", 0, found.start()) if found else 0)


def line_of(text: str, key: str, *, after: str | None = None) -> int:
    """Return the line of the first `"key":`, below `"after":` where that is given; 1 if it is nowhere."""
    start = 0
    if after is not None and (found := re.search(rf"{re.escape(json.dumps(after))}\s*:", text)):
        start = found.end()
    hit = re.compile(rf"{re.escape(json.dumps(key))}\s*:").search(text, start)
    return text.count("\n", 0, hit.start()) + 1 if hit else 1


def array_members(text: str, key: str) -> list[Member]:
    """Return the members of the array under `key` of the outermost object; none without the key."""
    position = _skip(text, 0) + 1
    members: list[Member] = []
    while text[position := _skip(text, position)] != "}":
        name, position = _DECODER.raw_decode(text, position)
        position = _skip(text, _skip(text, position) + 1)
        if name == key:
            # The last of several equal keys counts, as it does for json.loads.
            members = _members(text, position)
        _, position = _DECODER.raw_decode(text, position)
        position = _skip(text, position)
        position += text[position] == ","
    return members


def _members(text: str, position: int) -> list[Member]:
    found = []
    position += 1
    while text[position := _skip(text, position)] != "]":
        value, end = _DECODER.raw_decode(text, position)
        found.append(Member(value, text[position:end], text.count("\n", 0, position) + 1))
        position = _skip(text, end)
        position += text[position] == ","
    return found


def _skip(text: str, position: int) -> int:
    matched = _SPACE.match(text, position)
    assert matched is not None
    return matched.end()
