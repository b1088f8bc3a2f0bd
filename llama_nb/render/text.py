"""Nodes to plain text, for terminals and for the text twin of what is shown as HTML. It breaks no lines."""

import unicodedata
from collections.abc import Iterable, Sequence

from llama_nb.render.nodes import Element, Node, attribute, plain_text

_BLOCKS = frozenset(
    {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "pre", "hr", "table", "div"}
)


def to_text(nodes: Iterable[Node]) -> str:
    """Return nodes as text: blocks apart by an empty line, lists and tables laid out with spaces."""
    return "\n".join(_flow(list(nodes), gap=True))


def width(text: str) -> int:
    """Return how many columns `text` takes in a terminal."""
    return sum(
        0 if unicodedata.combining(mark) else 2 if unicodedata.east_asian_width(mark) in "WF" else 1
        for mark in text
    )


def _flow(nodes: Sequence[Node], *, gap: bool) -> list[str]:
    """Return the lines of blocks and of the texts between them."""
    lines: list[str] = []
    texts: list[Node] = []
    for node in [*nodes, None]:
        if node is not None and (isinstance(node, str) or node["t"] not in _BLOCKS):
            texts.append(node)
            continue
        for block in (plain_text(texts).split("\n") if texts else [], [] if node is None else _block(node)):
            if lines and block and gap:
                lines.append("")
            lines += block
        texts = []
    return lines


def _block(node: Element) -> list[str]:
    tag, children = node["t"], node.get("c", [])
    match tag:
        case "ul":
            return _items(children, ["- "] * len(children))
        case "ol":
            first = int(attribute(node, "start") or 1)
            return _items(children, [f"{first + index}. " for index in range(len(children))])
        case "blockquote" | "div":
            mark = "> " if tag == "blockquote" else ""
            return [f"{mark}{line}".rstrip() for line in _flow(children, gap=True)]
        case "table":
            return _table(node)
    lines = ["---"] if tag == "hr" else plain_text(children).split("\n")
    if tag in {"h1", "h2"}:
        lines.append(("=" if tag == "h1" else "-") * max(map(width, lines)))
    return [f"    {line}".rstrip() for line in lines] if tag == "pre" else lines


def _items(items: Sequence[Node], marks: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for item, mark in zip(items, marks, strict=True):
        inner = [item] if isinstance(item, str) else _flow(item.get("c", []), gap=False)
        first, *rest = inner or [""]
        lines += [f"{mark}{first}".rstrip(), *(f"{' ' * len(mark)}{line}".rstrip() for line in rest)]
    return lines


def _table(node: Element) -> list[str]:
    rows = [
        [(plain_text([cell]).replace("\n", " "), _align(cell)) for cell in _children(row)]
        for part in _children(node)
        for row in _children(part)
    ]
    columns = max(map(len, rows), default=0)
    widths = [max(width(row[index][0]) for row in rows if index < len(row)) for index in range(columns)]
    lines = [
        "  ".join(_pad(*cell, room) for cell, room in zip(row, widths, strict=False)).rstrip() for row in rows
    ]
    return [*lines[:1], "  ".join("-" * room for room in widths), *lines[1:]] if lines else []


def _children(node: Node) -> list[Node]:
    return [] if isinstance(node, str) else node.get("c", [])


def _align(cell: Node) -> str:
    return "left" if isinstance(cell, str) else str(attribute(cell, "align") or "left")


def _pad(text: str, align: str, room: int) -> str:
    space = room - width(text)
    before = {"right": space, "center": space // 2}.get(align, 0)
    return " " * before + text + " " * (space - before)
