"""markdown-it's tokens to nodes: the only place that decides what of Markdown a page may show.

It knows the tokens of one top-level block at a time; it parses nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from markdown_it.token import Token

from llama_nb.render.clean import clean, clean_line
from llama_nb.render.highlight import highlight
from llama_nb.render.nodes import ALIGNMENTS, VOID, Element, Node, element, link_host, plain_text

# The most elements of one block; what comes after is left out with a note.
BLOCK_ELEMENTS: Final = 3_000
_INLINE_DEPTH: Final = 20
_LONGEST_URL_SHOWN: Final = 200
_CUT: Final = "\u2026 the rest of this block is in reply.text"
_SHOWN_SCHEMES: Final = frozenset({"http", "https", "mailto", "tel", "ftp"})
_SCHEME: Final = re.compile(r"\s*([a-z][a-z0-9+.-]*)\s*:", re.IGNORECASE)

# Token types without "_open" to the tag of the element that they make.
_BLOCK_TAGS: Final = {
    "paragraph": "p",
    "bullet_list": "ul",
    "ordered_list": "ol",
    "list_item": "li",
    "blockquote": "blockquote",
    "table": "table",
    "thead": "thead",
    "tbody": "tbody",
    "tr": "tr",
    "th": "th",
    "td": "td",
}
_INLINE_TAGS: Final = {"em": "em", "strong": "strong", "s": "s"}


class Builder:
    """Makes one tree by opening and closing elements; never deeper than `depth`, whatever is asked."""

    def __init__(self, depth: int) -> None:
        self.nodes: list[Node] = []
        self.elements = 0
        self._open: list[list[Node]] = [self.nodes]
        self._depth = depth

    def open(self, tag: str | None, **attributes: str | int) -> None:
        """Begin an element (without a tag, or too deep: its children go to the one around it)."""
        if tag is None or len(self._open) > self._depth:
            self._open.append(self._open[-1])
            return
        made = element(tag, **attributes)
        self.add(made)
        if tag not in VOID:
            made["c"] = []
            self._open.append(made["c"])

    def close(self) -> None:
        """End the element that was begun last."""
        self._open.pop()

    def add(self, node: Node) -> None:
        """Put a finished node into the open element; texts are joined."""
        children = self._open[-1]
        if not isinstance(node, str):
            self.elements += 1
            children.append(node)
        elif node and children and isinstance(children[-1], str):
            children[-1] += node
        elif node:
            children.append(node)

    def graft(self, nodes: Sequence[Node], elements: int) -> None:
        """Put finished nodes with so many elements in all into the open element."""
        count = self.elements + elements
        for node in nodes:
            self.add(node)
        self.elements = count


def build_block(
    tokens: Sequence[Token],
    inline: Callable[[str], tuple[list[Node], int]],
    pieces: dict[str, list[Node]] | None = None,
) -> tuple[Node, int]:
    """Return the node of one top-level block and how many elements it has.

    Parameters
    ----------
    inline
        Gives the nodes of a text with inline Markdown, and the number of elements in them.
    pieces
        What `highlight` keeps between calls.
    """
    builder = Builder(depth=80)
    for token in tokens:
        if builder.elements >= BLOCK_ELEMENTS:
            builder.graft([element("br"), _CUT], 1)
            break
        if token.type == "inline":
            nodes, count = inline(token.content)
            builder.graft(nodes, count)
        elif token.nesting > 0:
            builder.open(_tag(token), **_attributes(token))
        elif token.nesting < 0:
            builder.close()
        elif token.type in {"fence", "code_block"}:
            code = code_node(token.content, token.info, pieces)
            builder.graft([code], count_elements(code))
        elif token.type == "hr":
            builder.open("hr")
    return _without_empty(builder.nodes[0]), builder.elements


def code_node(code: str, info: str, pieces: dict[str, list[Node]] | None = None) -> Element:
    """Return a block of code, coloured when its language is known."""
    return element("pre", element("code", *highlight(clean(code).rstrip(" \t\n"), info, pieces)))


def count_elements(code: Element) -> int:
    """Return how many elements a node of `code_node` holds, itself included."""
    inner = code["c"][0]
    children = [] if isinstance(inner, str) else inner.get("c", [])
    return 2 + sum(isinstance(child, dict) for child in children)


def _tag(token: Token) -> str | None:
    kind = token.type.removesuffix("_open")
    if kind == "heading":
        return token.tag
    return None if token.hidden else _BLOCK_TAGS.get(kind)


def _attributes(token: Token) -> dict[str, str | int]:
    if token.type == "ordered_list_open":
        start = int(token.attrs.get("start", 1))
        return {} if start == 1 else {"start": min(max(start, 0), 999_999_999)}
    if token.type in {"th_open", "td_open"}:
        align = str(token.attrs.get("style", "")).removeprefix("text-align:")
        return {"align": align} if align in ALIGNMENTS else {}
    return {}


def _without_empty(node: Node) -> Node:
    """Drop the empty child lists that building left (children are visited without recursion)."""
    below: list[Any] = [node]
    while below:
        item = below.pop()
        if isinstance(item, str):
            continue
        if item.get("c"):
            below += item["c"]
        else:
            item.pop("c", None)
    return node


def build_inline(tokens: Sequence[Token]) -> tuple[list[Node], int]:
    """Return the nodes of a parsed text and the number of elements in them."""
    builder = Builder(depth=_INLINE_DEPTH)
    links: list[tuple[Builder, str]] = []
    for token in tokens:
        if token.type == "link_open":
            links.append((builder, str(token.attrs.get("href", ""))))
            builder = Builder(depth=_INLINE_DEPTH - 2)
        elif token.type == "link_close":
            label, (builder, href) = builder, links.pop()
            builder.graft(link_nodes(href, label.nodes), label.elements + 1)
        else:
            _add_inline(builder, token)
        if builder.elements >= BLOCK_ELEMENTS:
            builder.graft([element("br"), _CUT], 1)
            break
    for outer, _ in reversed(links):
        outer.graft(builder.nodes, builder.elements)
        builder = outer
    for node in builder.nodes:
        _without_empty(node)
    return builder.nodes, builder.elements


def _add_inline(builder: Builder, token: Token) -> None:
    kind = token.type
    if kind in {"text", "text_special"}:
        builder.add(clean(token.content))
    elif kind == "code_inline":
        builder.add(element("code", clean(token.content)))
    elif kind in {"softbreak", "hardbreak"}:
        builder.open("br")
    elif kind == "image":
        builder.add(image_text(str(token.attrs.get("src", "")), token.content))
    elif token.nesting > 0:
        builder.open(_INLINE_TAGS.get(kind.removesuffix("_open")))
    elif token.nesting < 0:
        builder.close()


def image_text(url: str, alt: str) -> str:
    """Say where an image would have come from; nothing loads it."""
    described = clean_line(alt)
    shown = f"image: {_shown_url(url)} (not loaded)"
    return f"{shown}, described as \u201c{described}\u201d" if described else shown


def link_nodes(href: str, label: list[Node]) -> list[Node]:
    """Return a link followed by its host, unless the label shows it; what may not be a link becomes text."""
    host = link_host(href)
    text = plain_text(label).strip()
    if host is None:
        where = _refused(href)
        return [*label, "" if where == text else f" ({where})" if text else where]
    if not text:
        return [element("a", host, href=href)]
    return [element("a", *label, href=href), "" if _shows_host(text, host) else f" ({host})"]


def _shows_host(text: str, host: str) -> bool:
    text = text.lower().removeprefix("https://")
    return text == host or (text.startswith(host) and text[len(host)] in "/?#")


def _refused(href: str) -> str:
    scheme = _SCHEME.match(href)
    if scheme and scheme[1].lower() not in _SHOWN_SCHEMES:
        return f"{scheme[1].lower()} link removed"
    return _shown_url(href) or "empty link"


def _shown_url(url: str) -> str:
    url = clean_line(url)
    scheme = _SCHEME.match(url)
    if scheme and scheme[1].lower() not in _SHOWN_SCHEMES:
        return f"{scheme[1].lower()} address"
    return url if len(url) <= _LONGEST_URL_SHOWN else url[:_LONGEST_URL_SHOWN] + "\u2026"


def definitions_used(asked: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether the link definitions that were `asked` for are still what is `known`."""
    return all(known.get(label) == found for label, found in asked.items())
