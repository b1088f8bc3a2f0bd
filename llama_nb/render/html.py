"""Nodes to HTML that stands alone: inline styles only, readable without any of them, on light and on dark.

What a node asks for is checked here once more, and nh3 is the second wall. No colour of a text is fixed: none
has enough contrast on both white and JupyterLab's dark #111 (the best is 4.35), so they take the page's.
"""

import html as standard
import re
from collections.abc import Iterable, Mapping
from typing import Final

import nh3

from llama_nb.render.nodes import MAX_DEPTH, TAGS, VOID, Node, allowed

MUTED: Final = "opacity:0.75"
SMALL: Final = "font-size:0.85em"
FIGURES: Final = "font-variant-numeric:tabular-nums"
MONO: Final = "font-family:var(--jp-code-font-family, monospace)"
# Rules and grounds that only decorate; they are grey so that they lie quietly on light and on dark.
LINE: Final = "rgba(128,128,128,0.35)"
SHADE: Final = "rgba(128,128,128,0.12)"

_CELL: Final = f"border:1px solid {LINE};padding:3px 8px;text-align:left;vertical-align:top"
_STYLES: Final[Mapping[str, str]] = {
    "p": "margin:0.4em 0",
    "h1": "font-size:1.3em;margin:0.7em 0 0.3em",
    "h2": "font-size:1.2em;margin:0.7em 0 0.3em",
    "h3": "font-size:1.1em;margin:0.6em 0 0.3em",
    "h4": "font-size:1em;margin:0.6em 0 0.3em",
    "h5": "font-size:1em;margin:0.6em 0 0.3em",
    "h6": "font-size:1em;margin:0.6em 0 0.3em",
    "ul": "margin:0.4em 0;padding-left:1.6em",
    "ol": "margin:0.4em 0;padding-left:1.6em",
    "blockquote": f"margin:0.4em 0;padding:0 0 0 0.8em;border-left:3px solid {LINE}",
    "pre": f"margin:0.5em 0;padding:8px 10px;overflow:auto;max-height:420px;background-color:{SHADE};"
    f"border-radius:4px;{MONO};font-size:0.92em;white-space:pre",
    "code": f"{MONO};background-color:transparent",
    "hr": f"border:0;border-top:1px solid {LINE};margin:0.8em 0",
    # Pages in quirks mode would give tables the colour of the document.
    "table": f"color:inherit;font-size:inherit;border-collapse:collapse;margin:0.5em 0;{FIGURES}",
    "a": "color:var(--jp-content-link-color, inherit);text-decoration:underline",
    "th": _CELL,
    "td": _CELL,
}
_CODE_STYLES: Final[Mapping[str, str]] = {
    "ln-k": "color:var(--jp-mirror-editor-keyword-color, inherit);font-weight:bold",
    "ln-s": "color:var(--jp-mirror-editor-string-color, inherit)",
    "ln-c": "color:var(--jp-mirror-editor-comment-color, inherit);font-style:italic",
    "ln-m": "color:var(--jp-mirror-editor-number-color, inherit)",
    "ln-nf": "color:var(--jp-mirror-editor-def-color, inherit)",
    "ln-nc": "color:var(--jp-mirror-editor-def-color, inherit)",
    "ln-nb": "color:var(--jp-mirror-editor-builtin-color, inherit)",
    "ln-nd": "color:var(--jp-mirror-editor-meta-color, inherit)",
    "ln-nt": "color:var(--jp-mirror-editor-tag-color, inherit)",
    "ln-na": "color:var(--jp-mirror-editor-attribute-color, inherit)",
    "ln-gd": "color:var(--jp-mirror-editor-keyword-color, inherit);font-style:italic",
    "ln-gi": "color:var(--jp-mirror-editor-string-color, inherit);font-weight:bold",
    "ln-gh": f"font-weight:bold;{MUTED}",
    "ln-gp": MUTED,
}

_TEXT: Final = re.compile(r">[^<>]*<")

_STYLE_PROPERTIES: Final = frozenset(
    {
        "background-color",
        "border",
        "border-bottom",
        "border-collapse",
        "border-left",
        "border-radius",
        "border-top",
        "color",
        "display",
        "font-family",
        "font-size",
        "font-style",
        "font-variant-numeric",
        "font-weight",
        "height",
        "line-height",
        "margin",
        "margin-right",
        "max-height",
        "max-width",
        "min-width",
        "opacity",
        "overflow",
        "padding",
        "padding-left",
        "text-align",
        "text-decoration",
        "vertical-align",
        "white-space",
        "width",
        "overflow-wrap",
    }
)
_ATTRIBUTES: Final[Mapping[str, set[str]]] = {
    "*": {"style", "title", "role", "aria-label"},
    "a": {"href", "target"},
    "ol": {"start"},
}
_PICTURE: Final = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")


def _picture_only(_tag: str, name: str, value: str) -> str | None:
    """Let an image show a PNG that it holds itself, and a link lead where links may."""
    if name == "src":
        return value if _PICTURE.fullmatch(value) else None
    return value if name != "href" or value.lower().startswith("https:") else None


def _cleaner(*, pictures: bool) -> nh3.Cleaner:
    images = {"img": {"src", "alt", "width", "height"}} if pictures else {}
    return nh3.Cleaner(
        tags={*TAGS, *images},
        clean_content_tags={"script", "style"},
        attributes={**_ATTRIBUTES, **images},
        attribute_filter=_picture_only if pictures else None,
        url_schemes={"https", "data"} if pictures else {"https"},
        link_rel="noopener noreferrer nofollow",
        strip_comments=True,
        filter_style_properties=set(_STYLE_PROPERTIES),
    )


# The second wall. It allows the containers that this layer writes itself, and no class, id or other scheme.
_WALL: Final = _cleaner(pictures=False)
_WALL_WITH_PICTURES: Final = _cleaner(pictures=True)


def escape(text: str) -> str:
    """Return `text` so that HTML shows it, in a text or in an attribute with double quotes."""
    return standard.escape(text)


def to_html(nodes: Iterable[Node]) -> str:
    """Return nodes as HTML with inline styles; what is not in the allowlist is left out."""
    pieces: list[str] = []
    for node in nodes:
        _write(node, pieces, 1)
    return wall("".join(pieces))


def wall(html: str, *, pictures: bool = False) -> str:
    """Return HTML of this layer with everything taken out that it never writes.

    With `pictures` an image may show a PNG that stands in the page itself; nothing is ever loaded.
    """
    return (_WALL_WITH_PICTURES if pictures else _WALL).clean(html)


def without_math(html: str) -> str:
    """Return HTML in which no text has two dollars: Jupyter would set what is between as a formula."""
    return _TEXT.sub(lambda match: match[0].replace("$", "<span>$</span>"), html)


def styled(tag: str, style: str, inner: str, **attributes: str) -> str:
    """Return an element of this layer around `inner`, which is HTML already."""
    more = "".join(f' {name.replace("_", "-")}="{escape(value)}"' for name, value in attributes.items())
    return f'<{tag} style="{style}"{more}>{inner}</{tag}>'


def _write(node: Node, pieces: list[str], depth: int) -> None:
    if isinstance(node, str):
        pieces.append(escape(node))
        return
    tag, children = node["t"], node.get("c", [])
    if tag not in TAGS or depth > MAX_DEPTH:
        return
    pieces.append(f"<{tag}{_attributes(tag, node.get('a', {}))}>")
    if tag in VOID:
        return
    for child in children:
        _write(child, pieces, depth + 1)
    pieces.append(f"</{tag}>")


def _attributes(tag: str, asked: Mapping[str, str | int]) -> str:
    style = _STYLES.get(tag, "")
    written = ""
    for name, value in asked.items():
        if not allowed(tag, name, value):
            continue
        if name == "align":
            style = style.replace("text-align:left", f"text-align:{value}")
        elif name == "class":
            style = _CODE_STYLES[str(value)]
        else:
            written += f' {name}="{escape(str(value))}"' + (' target="_blank"' if name == "href" else "")
    return (f' style="{style}"' if style else "") + written
