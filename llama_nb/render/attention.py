"""One head's attention for pages without widgets: its map as a picture, the tokens, the strongest links.

Knows pictures, tokens and figures; what they are of is `session.attention_twin`'s business. Where nobody
watches figures have two digits and the picture has few shades: those are the same on another processor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from llama_nb.render.chances import percent, token_html
from llama_nb.render.clean import clean_line
from llama_nb.render.heat_map import legend_html, picture_html, png
from llama_nb.render.html import FIGURES, LINE, MONO, MUTED, SMALL, escape, styled, wall, without_math
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.tokens import TokenRow, chips_html, count_text, tokens_line, visible_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST_TOKENS: Final = 100
SIDE: Final = 256  # CSS pixels of the picture
SHADES: Final = {True: 0xF8, False: 0xF0}  # 32 shades are few bytes; of 16 where nobody watches few differ
_LONGEST: Final = 24  # characters of a token in a table
_CELL: Final = f"border-bottom:1px solid {LINE};padding:2px 10px 2px 0;text-align:left;vertical-align:top"
_RIGHT: Final = _CELL.replace("text-align:left", "text-align:right")
_TABLE: Final = f"border-collapse:collapse;color:inherit;font-size:inherit;margin:0;{FIGURES}"
_BESIDE: Final = "display:inline-block;vertical-align:top;margin:0.4em 1.6em 0.4em 0"
_FRAME: Final = f"{MONO};line-height:1.9;overflow-wrap:break-word;margin:0.4em 0"
_HEADS: Final = ("token", "", "reads", "", "weight")
_SCALE: Final = (
    "A row is a token that reads, a column one that is read. Brightness is the square root of the weight."
)
_CLEAR: Final = 0  # where nothing may be read: the page is seen
_LEAST: Final = 8  # the darkest shade of what may be read
_POOLED: Final = "A pixel shows the largest weight of those that it stands for."


@dataclass(frozen=True, slots=True)
class Link:
    """A token that reads another: both positions, and the weight."""

    query: int
    key: int
    weight: float


@dataclass(frozen=True, slots=True)
class AttentionTwin:
    """What the twin says.

    Attributes
    ----------
    title
        "Attention of cria: text".
    facts
        Lines below it: which head is shown, how many there are, how much looks at the first token.
    tokens
        As many as are shown, from the first on; `count` is how many there are.
    prompt
        How many of them the model was given.
    picture
        uint8 of shape (height, width), 255 * sqrt(weight); None before it is computed.
    pooled
        Whether a pixel stands for several weights.
    links
        The strongest ones that say something, and `left_out`, what does not: in words.
    """

    title: str
    facts: tuple[str, ...]
    tokens: tuple[TokenRow, ...]
    count: int
    prompt: int
    picture: "npt.NDArray[np.uint8] | None" = None
    pooled: bool = False
    links: tuple[Link, ...] = ()
    texts: Mapping[int, str] | None = None
    left_out: str = ""


def bundle(twin: AttentionTwin, *, watched: bool) -> dict[str, str]:
    """Return the twin as a mime bundle: text/plain and text/html."""
    return {"text/plain": to_plain(twin, watched=watched), "text/html": to_html(twin, watched=watched)}


def to_plain(twin: AttentionTwin, *, watched: bool) -> str:
    """Return the twin as plain text."""
    parts = [
        clean_line(twin.title),
        "\n".join(map(clean_line, twin.facts)),
        f"{count_text(twin.count)}: {tokens_line(twin.tokens)}{_more(twin)}",
    ]
    if twin.links:
        rows = [_row(twin, link, watched) for link in twin.links]
        heads = ("token", "reads", "weight")
        texts = [[f"{row[0]} {row[1]}", f"{row[2]} {row[3]}", row[4]] for row in rows]
        parts += [_links_title(twin), to_text([table_node(heads, texts)])]
    return "\n\n".join(part for part in parts if part)


def to_html(twin: AttentionTwin, *, watched: bool) -> str:
    """Return the twin as HTML with inline styles and a picture that it holds itself."""
    parts = [styled("div", "font-weight:bold", escape(clean_line(twin.title)))]
    parts += [styled("div", f"{SMALL};{MUTED}", escape(clean_line(fact))) for fact in twin.facts]
    picture = _picture(twin, watched)
    beside = [styled("div", _BESIDE, block) for block in (picture, _links(twin, watched)) if block]
    parts.append(styled("div", "", "".join(beside)))
    chips = chips_html(twin.tokens, most=MOST_TOKENS, ids=False)
    parts.append(styled("div", _FRAME, chips + styled("span", MUTED, escape(_more(twin)))))
    return wall(without_math(styled("div", FIGURES, "".join(parts))), pictures=True)


def _picture(twin: AttentionTwin, watched: bool) -> str:
    values = twin.picture
    if values is None or not values.size:
        return ""
    height, width = values.shape
    shown = _shades(values, twin.count, watched)
    scale = max(1, SIDE // max(height, width))
    side = SIDE / max(height, width)
    picture = picture_html(
        png(shown, scale=scale, clear=_CLEAR),
        f"{twin.title}: a map of {height} by {width} pixels",
        round(width * side),
        round(height * side),
    )
    said = f"{_SCALE} {_POOLED}" if twin.pooled else _SCALE
    legend = legend_html("0", "100 %")
    return picture + styled("div", f"max-width:{SIDE}px", legend + styled("div", f"{SMALL};{MUTED}", said))


def _shades(values: "npt.NDArray[np.uint8]", tokens: int, watched: bool) -> "npt.NDArray[np.uint8]":
    """Return few shades; clear where every token of the columns comes after those of the rows."""
    import numpy as np

    height, width = values.shape
    last_query = np.ceil(np.arange(1, height + 1) * tokens / height) - 1
    first_key = np.floor(np.arange(width) * tokens / width)
    shades = np.maximum(values & SHADES[watched], _LEAST)
    shown: npt.NDArray[np.uint8] = np.where(first_key > last_query[:, None], _CLEAR, shades).astype(np.uint8)
    return shown


def _links(twin: AttentionTwin, watched: bool) -> str:
    if not twin.links:
        return ""
    head = "".join(
        styled("th", _RIGHT if place in (1, 3, 4) else _CELL, escape(name))
        for place, name in enumerate(_HEADS)
    )
    body = [styled("tr", "", head)]
    special = {number for number, row in enumerate(twin.tokens) if row.get("special")}
    for link in twin.links:
        texts = _row(twin, link, watched)
        cells = [
            styled("td", _CELL, _token(twin, link.query, special)),
            styled("td", f"{_RIGHT};{MUTED}", texts[1]),
            styled("td", _CELL, _token(twin, link.key, special)),
            styled("td", f"{_RIGHT};{MUTED}", texts[3]),
            styled("td", _RIGHT, escape(texts[4])),
        ]
        body.append(styled("tr", "", "".join(cells)))
    title = styled("div", f"{SMALL};max-width:19em;margin:0 0 0.3em", escape(_links_title(twin)))
    return title + styled("table", _TABLE, "".join(body))


def _token(twin: AttentionTwin, position: int, special: set[int]) -> str:
    return token_html(_text(twin, position)[:_LONGEST], special=position in special)


def _row(twin: AttentionTwin, link: Link, watched: bool) -> tuple[str, str, str, str, str]:
    return (
        _short(_text(twin, link.query)),
        f"#{link.query}",
        _short(_text(twin, link.key)),
        f"#{link.key}",
        percent(link.weight, watched=watched),
    )


def _text(twin: AttentionTwin, position: int) -> str:
    return (twin.texts or {}).get(position, "")


def _links_title(twin: AttentionTwin) -> str:
    return f"The strongest links{', ' + twin.left_out if twin.left_out else ''}:"


def _more(twin: AttentionTwin) -> str:
    more = twin.count - len(twin.tokens)
    return f" \u2026 {more:,} more" if more > 0 else ""


def _short(text: str) -> str:
    shown = clean_line(visible_text(text))
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "\u2026"
