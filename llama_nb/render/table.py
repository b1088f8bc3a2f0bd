"""Tables and help texts as bundles: rows of values and our own Markdown, through the tree of replies."""

import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from llama_nb.render.clean import clean
from llama_nb.render.html import to_html
from llama_nb.render.markdown import tree
from llama_nb.render.nodes import Element, Node, element
from llama_nb.render.text import to_text

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


def table_bundle(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], *, note: str = ""
) -> dict[str, Any]:
    """Return a table, with a line below it, as a mime bundle."""
    return nodes_bundle([table_node(headings, rows), *([element("p", clean(note))] if note else [])])


def help_bundle(markdown: str) -> dict[str, Any]:
    """Return a help text, which is Markdown, as a mime bundle."""
    return nodes_bundle(tree(markdown))


def nodes_bundle(nodes: Sequence[Node]) -> dict[str, Any]:
    """Return nodes as a mime bundle of text and HTML."""
    return {"text/plain": to_text(nodes), "text/html": to_html(nodes)}


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
