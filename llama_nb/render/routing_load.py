"""The load map: which share of the tokens each expert gets, a row a layer, and how uneven that is.

Few experts are a table with figures, many a strip of pixels a layer. Knows shares and names; knows nothing of
how they came about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llama_nb.render.chances import percent
from llama_nb.render.clean import clean_line
from llama_nb.render.colour_maps import DIVERGING, SEQUENTIAL, ColourMap, colour, css, ink
from llama_nb.render.heat_map import legend_html, picture_html, png
from llama_nb.render.html import FIGURES, MUTED, SMALL, escape, styled, wall, without_math
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.tokens import count_text

MOST_COLUMNS: Final = 16  # experts that get a column with figures each
_STRIP: Final = 384  # CSS pixels of a layer's strip, about
_STRIP_HEIGHT: Final = 12
_MOST_DEAD: Final = 4  # that are named
_BUSIEST: Final = 3

_TABLE: Final = f"border-collapse:collapse;color:inherit;{SMALL};margin:0;white-space:nowrap;{FIGURES}"
_NAME: Final = f"padding:2px 8px 2px 0;text-align:left;font-weight:normal;{MUTED}"
_HEAD: Final = f"padding:2px 4px;text-align:center;font-weight:normal;{MUTED}"
_SIDE_HEAD: Final = f"padding:2px 0 2px 14px;text-align:right;font-weight:normal;{MUTED}"
_SIDE: Final = "padding:2px 0 2px 14px;text-align:right"
_CELL: Final = "padding:3px 5px;text-align:center;min-width:1.7em"
_PIXELS: Final = "padding:1px 4px;min-width:260px"
_FRAME: Final = "overflow:auto;max-width:100%;max-height:420px"
_NOTE: Final = f"{SMALL};{MUTED};margin:0.2em 0"
_SIDES: Final = ("CV", "max/even", "balance", "dead")


@dataclass(frozen=True, slots=True)
class LoadLook:
    """What is shown of a load; see `interpret.routing_load.Load`, whose names these are.

    Attributes
    ----------
    difference
        The share of each expert less its share in all other domains; None where no domain is looked at.
    dead
        The experts that were never chosen, layer by layer.
    """

    layers: tuple[int, ...]
    shares: Sequence[Sequence[float]]
    difference: Sequence[Sequence[float]] | None
    cv: Sequence[float]
    max_over_mean: Sequence[float]
    dead: tuple[tuple[int, ...], ...]
    balance: Sequence[float] | None
    tokens: int
    domain: str = ""

    @property
    def experts(self) -> int:
        """How many experts a layer has."""
        return len(self.shares[0]) if self.shares else 0


def bundle(look: LoadLook, *, watched: bool) -> dict[str, str]:
    """Return the load map as a mime bundle: text/plain and text/html."""
    title = title_of(look)
    html = styled("div", "font-weight:bold", escape(title)) + load_html(look, watched=watched)
    page = without_math(wall(styled("div", FIGURES, html), pictures=True))
    return {"text/plain": f"{title}\n\n{load_text(look, watched=watched)}", "text/html": page}


def title_of(look: LoadLook) -> str:
    """Say whose load it is."""
    of = f" of {clean_line(look.domain)}" if look.domain else ""
    return f"Load of the experts: {count_text(look.tokens)}{of}"


def load_text(look: LoadLook, *, watched: bool) -> str:
    """Return the load map as a text table: of few experts all shares, of many the largest."""
    wide = look.experts > MOST_COLUMNS
    names = ["busiest"] if wide else [f"E{expert}" for expert in range(look.experts)]
    rows = []
    for at, layer in enumerate(look.layers):
        shares = look.shares[at]
        cells = [_busiest(shares, watched)] if wide else _cells(look, at)
        rows.append([f"L{layer}", *cells, *_sides(look, at)])
    note = "" if wide else f"\n\n{_meaning(look)}"
    return to_text([table_node(("layer", *names, *_SIDES), rows)]) + note


def load_html(look: LoadLook, *, watched: bool) -> str:
    """Return the load map as HTML; the caller passes it through `wall`, with pictures."""
    values = look.shares if look.difference is None else look.difference
    reach = max((abs(value) for row in values for value in row), default=0.0)
    even = 1 / look.experts if look.experts else 0.0
    if look.difference is None:
        colours, low, high = SEQUENTIAL, 0.0, max(reach, 2 * even)
    else:
        colours, low, high = DIVERGING, -(reach or 1.0), reach or 1.0
    wide = look.experts > MOST_COLUMNS
    heads = [f"E0 \u2013 E{look.experts - 1}"] if wide else [f"E{expert}" for expert in range(look.experts)]
    head = styled("th", _NAME, "") + "".join(styled("th", _HEAD, escape(name)) for name in heads)
    head += "".join(styled("th", _SIDE_HEAD, escape(name)) for name in _SIDES)
    body = [styled("tr", "", head)]
    for at, layer in enumerate(look.layers):
        shown = [(value - low) / (high - low) for value in values[at]]
        cells = styled("th", _NAME, f"L{layer}")
        cells += (
            _strip(look, at, shown, colours, watched) if wide else _figures(look, at, shown, colours, watched)
        )
        cells += "".join(styled("td", _SIDE, escape(text)) for text in _sides(look, at))
        body.append(styled("tr", "", cells))
    table = styled("table", _TABLE, "".join(body), aria_label=title_of(look))
    return styled("div", _FRAME, table) + _legend(look, colours, high, watched)


def _figures(look: LoadLook, at: int, shown: Sequence[float], colours: ColourMap, watched: bool) -> str:
    cells = []
    for expert, (place, text) in enumerate(zip(shown, _cells(look, at), strict=True)):
        value = look.shares[at][expert]
        style = f"{_CELL};background-color:{css(colours, place)};color:{ink(colour(colours, place))}"
        title = f"L{look.layers[at]} E{expert}: {percent(value, watched=watched)}"
        cells.append(styled("td", style, escape(text), title=title))
    return "".join(cells)


def _strip(look: LoadLook, at: int, shown: Sequence[float], colours: ColourMap, watched: bool) -> str:
    """A layer's experts as pixels; where nobody watches in words, since bytes of pictures differ."""
    words = _busiest(look.shares[at], watched)
    if not watched:
        return styled("td", f"{_CELL};text-align:left", escape(words))
    import numpy as np

    values = np.rint(255 * np.clip(np.array(shown), 0, 1)).astype(np.uint8)
    scale = max(1, _STRIP // look.experts)
    pixels = np.tile(values.repeat(scale), (_STRIP_HEIGHT, 1))
    alt = f"L{look.layers[at]}, busiest: {words}"
    picture = picture_html(png(pixels, colours), alt, pixels.shape[1], _STRIP_HEIGHT)
    return styled("td", _PIXELS, picture, title=alt)


def _sides(look: LoadLook, at: int) -> list[str]:
    dead = look.dead[at]
    named = (
        ", ".join(f"E{expert}" for expert in dead)
        if len(dead) <= _MOST_DEAD
        else f"{len(dead)} of {look.experts}"
    )
    return [
        f"{look.cv[at]:.2f}",
        f"{look.max_over_mean[at]:.1f}\u00d7",
        "\u2013" if look.balance is None else f"{look.balance[at]:.2f}",
        named or "\u2013",
    ]


def _busiest(shares: Sequence[float], watched: bool) -> str:
    order = sorted(range(len(shares)), key=lambda expert: (-shares[expert], expert))[:_BUSIEST]
    return ", ".join(f"E{expert} {percent(shares[expert], watched=watched)}" for expert in order)


def _legend(look: LoadLook, colours: ColourMap, high: float, watched: bool) -> str:
    if look.difference is None:
        legend = legend_html("0", percent(high, watched=watched), colours=colours)
    else:
        legend = legend_html(f"\u2212{100 * high:.0f}", f"+{100 * high:.0f} points", colours=colours)
    return legend + styled("div", _NOTE, escape(f"{_meaning(look)} {_MEANINGS}"))


_MEANINGS: Final = (
    "CV is the coefficient of variation of a layer\u2019s shares, balance the loss of the Switch Transformer "
    "(1 is even); dead experts got no token."
)


def _cells(look: LoadLook, at: int) -> list[str]:
    """A layer's shares, or of a domain how they differ from all others'."""
    if look.difference is None:
        return [points(share) for share in look.shares[at]]
    return [_signed(difference) for difference in look.difference[at]]


def _meaning(look: LoadLook) -> str:
    if look.difference is None:
        return f"Percent of the tokens that an expert gets; even would be {_even(look)}."
    return "Percentage points more or fewer of these tokens than of all others."


def _even(look: LoadLook) -> str:
    return percent(1 / look.experts, watched=True) if look.experts else "\u2013"


def points(share: float) -> str:
    """A share as a whole percentage; what is there but below one is not called nothing."""
    return "0" if share <= 0 else "<1" if share < 0.005 else f"{100 * share:.0f}"


def _signed(difference: float) -> str:
    points = round(100 * difference)
    return "0" if points == 0 else f"+{points}" if points > 0 else f"\u2212{-points}"
