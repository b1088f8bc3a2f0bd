"""Rows of values as a table in the tree of replies."""

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

from llama_nb.render.clean import clean
from llama_nb.render.nodes import Element, element

Cell: TypeAlias = str | int | float | None

_NUMBER: Final = re.compile(r"[-+]?[\d.,]+( ?[A-Za-z%/]{1,9})?")


def table_node(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Element:
    """Return a table; a column that holds nothing but numbers (with units) is aligned to the right."""
    texts = [[_text(cell) for cell in row] for row in rows]
    aligned: list[dict[str, str | int]] = []
    for index in range(len(headings)):
        column = [row[index] for row in texts if index < len(row) and row[index]]
        numbers = bool(column) and all(_NUMBER.fullmatch(text) for text in column)
        aligned.append({"align": "right"} if numbers else {})
    head = _row("th", [clean(heading) for heading in headings], aligned)
    body = [_row("td", row, aligned) for row in texts]
    return element("table", element("thead", head), *([element("tbody", *body)] if body else []))


def _row(tag: str, texts: Sequence[str], aligned: Sequence[dict[str, str | int]]) -> Element:
    cells = [
        element(tag, *([text] if text else []), **align) for text, align in zip(texts, aligned, strict=True)
    ]
    return element("tr", *cells)


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else clean(cell)
