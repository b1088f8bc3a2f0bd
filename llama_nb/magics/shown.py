"""What a verb answers when it is not a reply or a model: text, with a table's HTML twin beside it."""

import html
from collections.abc import Sequence
from typing import Any, Final

_TABLE: Final = "border-collapse:collapse;margin:4px 0"
_CELL: Final = "padding:2px 12px 2px 0;text-align:left;vertical-align:top;font-variant-numeric:tabular-nums"
_HEAD: Final = _CELL + ";font-weight:600;border-bottom:1px solid #8886"


class Shown:
    """A text to read, with an HTML twin where there is one."""

    def __init__(self, text: str, markup: str | None = None) -> None:
        self.text = text
        self.markup = markup

    def __add__(self, other: "Shown") -> "Shown":
        """Put `other` below."""
        return Shown(f"{self.text}\n\n{other.text}", self._html() + other._html())

    def _html(self) -> str:
        if self.markup is not None:
            return self.markup
        return f'<div style="white-space:pre-wrap;margin:4px 0">{html.escape(self.text)}</div>'

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        twin = {} if self.markup is None else {"text/html": self.markup}
        return {"text/plain": self.text, **twin}

    def __repr__(self) -> str:
        return self.text


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Shown:
    """Return rows under headings, aligned in text and as an HTML table with inline styles only."""
    grid = [list(map(str, row)) for row in [headings, *rows]]
    widths = [max(len(row[column]) for row in grid) for column in range(len(headings))]
    ruled = [grid[0], ["-" * width for width in widths], *grid[1:]]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in ruled
    ]
    head = _row(grid[0], "th", _HEAD)
    body = "".join(_row(row, "td", _CELL) for row in grid[1:])
    markup = f'<table style="{_TABLE}"><thead>{head}</thead><tbody>{body}</tbody></table>'
    return Shown("\n".join(lines), markup)


def _row(cells: Sequence[str], tag: str, style: str) -> str:
    return "<tr>" + "".join(f'<{tag} style="{style}">{html.escape(cell)}</{tag}>' for cell in cells) + "</tr>"
