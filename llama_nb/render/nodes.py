"""The node tree: the only form in which model text reaches a page, and the allowlist of what may be in it.

A node is a text (`str`) or an element `{"t": tag, "a": attributes, "c": children}`, where "a" and "c" may be
absent. It is JSON, so it travels to the page as it is. It does not know Markdown.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Required, TypeAlias, TypedDict


class Element(TypedDict, total=False):
    """One element; `t` is one of `TAGS`."""

    t: Required[str]
    a: dict[str, str | int]
    c: list["Node"]


Node: TypeAlias = str | Element

TAGS: Final = frozenset(
    {
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "li",
        "blockquote",
        "pre",
        "code",
        "em",
        "strong",
        "s",
        "a",
        "hr",
        "br",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "span",
        "div",
    }
)
VOID: Final = frozenset({"hr", "br"})
# Pygments' short names, prefixed. What is not here is shown as plain code.
CODE_CLASSES: Final = tuple(
    f"ln-{name}" for name in ("k", "s", "c", "m", "nf", "nc", "nb", "nd", "nt", "na", "gd", "gi", "gh", "gp")
)
ALIGNMENTS: Final = ("left", "center", "right")
# Blocks may nest 60 deep and inline elements 20 (see markdown.py); a container or two may be put around them.
MAX_DEPTH: Final = 100
# An authority is a host and perhaps a port: no user name ("https://good.com@evil.example"), no escapes.
_HTTPS: Final = re.compile(
    r"https://([a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)(:[0-9]{1,5})?(?:[/?#][!-~]*)?", re.IGNORECASE
)
_UNSAFE_IN_URL: Final = frozenset("\"'<>\\^`{|}")
_LONGEST_URL: Final = 2000


class TreeError(ValueError):
    """A node that is not in the allowlist."""


def element(tag: str, *children: Node, **attributes: str | int) -> Element:
    """Build an element; empty attributes and children are left out."""
    made: Element = {"t": tag}
    if attributes:
        made["a"] = attributes
    if children:
        made["c"] = list(children)
    return made


def link_host(href: str) -> str | None:
    """Return the host (and port) that `href` leads to when it may be a link, else None.

    Only https with a plain host is a link.
    """
    if len(href) > _LONGEST_URL or not _UNSAFE_IN_URL.isdisjoint(href):
        return None
    match = _HTTPS.fullmatch(href)
    return (match[1] + (match[2] or "")).lower() if match else None


def check(node: Any) -> None:
    """Raise TreeError unless `node` and everything below it is allowed."""
    below: list[tuple[Any, int]] = [(node, 1)]
    while below:
        item, depth = below.pop()
        if isinstance(item, str):
            continue
        if depth > MAX_DEPTH:
            raise TreeError(f"The tree is deeper than {MAX_DEPTH}.")
        _check_element(item)
        below += [(child, depth + 1) for child in item.get("c", ())]


def _check_element(item: Any) -> None:
    if not isinstance(item, dict) or not set(item) <= {"t", "a", "c"}:
        raise TreeError(f"Not a node: {item!r:.80}")
    tag, attributes, children = item.get("t"), item.get("a", {}), item.get("c", [])
    if not isinstance(tag, str) or tag not in TAGS:
        raise TreeError(f"The tag {tag!r:.80} is not allowed.")
    if not isinstance(children, list) or (children and tag in VOID):
        raise TreeError(f"<{tag}> has children {children!r:.80}.")
    if not isinstance(attributes, dict):
        raise TreeError(f"<{tag}> has attributes {attributes!r:.80}.")
    for name, value in attributes.items():
        if not allowed(tag, name, value):
            raise TreeError(f"<{tag}> may not have {name!r:.80}={value!r:.80}.")


def allowed(tag: str, name: str, value: Any) -> bool:
    """Whether an element with `tag` may have the attribute `name` with this value."""
    match tag, name:
        case "a", "href":
            return isinstance(value, str) and link_host(value) is not None
        case "ol", "start":
            return type(value) is int and 0 <= value <= 999_999_999
        case (("th" | "td"), "align"):
            return value in ALIGNMENTS
        case "span", "class":
            return value in CODE_CLASSES
    return False


def plain_text(nodes: Sequence[Node]) -> str:
    """Return the text in `nodes`, joined as it stands, without any layout."""
    pieces: list[str] = []
    below: list[Any] = list(reversed(nodes))
    while below:
        item = below.pop()
        if isinstance(item, str):
            pieces.append(item)
        else:
            pieces.append("\n" if item["t"] == "br" else "")
            below += reversed(item.get("c", ()))
    return "".join(pieces)


def attribute(item: Mapping[str, Any], name: str) -> Any:
    """Return an attribute of an element, or None."""
    return item.get("a", {}).get(name)
