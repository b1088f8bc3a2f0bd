"""Text that cannot act: no terminal sequences, control characters, direction overrides or half characters.

It knows nothing of Markdown. A reply's own text stays as the model wrote it; only what is shown is cleaned.
"""

import re
from itertools import islice
from typing import Final

# The most characters and lines of one text that are shown; the rest stays in `reply.text`.
LIMIT: Final = 200_000
MOST_LINES: Final = 20_000
# Longer ones are no real terminal sequences; they are then shown without their control characters.
_LONGEST_SEQUENCE: Final = 4096

_SEQUENCE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,256}[ -/]{0,16}[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]P^_X]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n\r]{0,4000}(?:\x07|\x1b\\|\x9c)"  # OSC and its kin
    r"|\x1b[ -/]{0,16}[0-OQ-WYZ`-~]"  # all others
)
_LINE_END: Final = re.compile(r"[\r\n]")
_INTRODUCER: Final = re.compile(r"[\x1b\x90\x98\x9b\x9d-\x9f]")


def _replacements() -> dict[int, str | None]:
    dropped = [
        *range(0x09),
        *range(0x0B, 0x20),
        *range(0x7F, 0xA0),  # C1 controls
        0x00AD,  # soft hyphen
        0x180E,
        0x200B,  # zero-width space; joiners and marks (200C to 200F) stay: scripts and emoji need them
        *range(0x202A, 0x202F),  # direction embeddings and overrides
        *range(0x2060, 0x2070),  # invisible operators, direction isolates
        0xFEFF,
        *range(0xFFF9, 0xFFFC),
        *range(0xE0000, 0xE0080),  # tags: invisible ASCII
    ]
    table: dict[int, str | None] = dict.fromkeys(dropped)
    table |= dict.fromkeys((0x00, *range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\ufffd")
    table |= {0x2028: " ", 0x2029: " "}
    return table


_REPLACEMENTS: Final = _replacements()


def clean(text: str) -> str:
    r"""Return `text` without what could act on a terminal or mislead a reader.

    Terminal (ANSI) sequences, control characters but tab and newline, direction overrides and zero-width
    characters that no script needs are taken out; line ends become "\n"; halves of characters and NUL
    become U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return text
    # Line ends first: a sequence between "\r" and "\n" keeps them two, also when they come in pieces.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SEQUENCE.sub("", text).translate(_REPLACEMENTS)


def clean_line(text: str) -> str:
    """Return `text` cleaned and on one line."""
    return " ".join(clean(text).split())


class CleanStream:
    """Cleans a text that arrives in pieces, so that the whole equals `clean(whole)` at every moment."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> tuple[str, str]:
        """Return what of the cleaned text became final, and the rest, which may still change."""
        raw = self._held + piece
        start = _unfinished(raw)
        self._held = raw[start:]
        return clean(raw[:start]), clean(self._held)


def _unfinished(raw: str) -> int:
    """Return where the part of `raw` begins that later text may change: a cut sequence or line end."""
    position = raw.rfind("\n") + 1  # no sequence goes over the end of a line
    while found := _INTRODUCER.search(raw, position):
        whole = _SEQUENCE.match(raw, found.start())
        if whole is None and len(raw) - found.start() <= _LONGEST_SEQUENCE:
            return found.start()
        position = whole.end() if whole else found.end()
    return len(raw) - 1 if raw.endswith("\r") else len(raw)


def shorten(text: str) -> tuple[str, str]:
    """Return the part of `text` that is shown and a note about the rest ("" when all is shown)."""
    end = shown_length(text, LIMIT, MOST_LINES)
    return text[:end], more_note(size(text[end:])) if end < len(text) else ""


def shown_length(text: str, characters: int, lines: int) -> int:
    """Return how much of the beginning of `text` fits into so many characters and line ends."""
    end = min(len(text), characters)
    if text.count("\n", 0, end) + text.count("\r", 0, end) <= lines:
        return end
    return next(islice(_LINE_END.finditer(text), lines, None)).start()


def line_ends(text: str) -> int:
    """Count the line ends in `text` as `shown_length` does."""
    return text.count("\n") + text.count("\r")


def size(text: str) -> int:
    """Return the length of `text` in bytes."""
    return len(text.encode("utf-8", "surrogatepass"))


def more_note(count: int) -> str:
    """Say that so many bytes are not shown."""
    return f"\u2026 {bytes_text(count)} more are in reply.text"


def bytes_text(count: float) -> str:
    """Write a number of bytes with a unit and at most three significant digits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5 or unit == "GB":
            break
        count /= 1000
    return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"
