"""The ways of tokens through experts for pages without widgets: the largest flows, and one layer's matrix.

Knows shares and numbers of experts; how they are counted is `interpret.routing_paths`' business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from llama_nb.render.bars import bar
from llama_nb.render.chances import percent
from llama_nb.render.clean import clean_line
from llama_nb.render.heat_map import legend_html, picture_html, png, table_html
from llama_nb.render.html import FIGURES, LINE, MUTED, SMALL, escape, styled, wall, without_math
from llama_nb.render.nodes import Element
from llama_nb.render.routing_load import points
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.tokens import count_text, visible_text

MOST_FIGURES: Final = 16  # experts whose matrix is a table
MOST_FLOWS: Final = 12
_PICTURE: Final = 256  # CSS pixels

_TABLE: Final = f"border-collapse:collapse;color:inherit;font-size:0.85em;margin:0;{FIGURES}"
_CELL: Final = f"border-bottom:1px solid {LINE};padding:2px 12px 2px 0;text-align:left;white-space:nowrap"
_RIGHT: Final = _CELL.replace("text-align:left", "text-align:right")
_BESIDE: Final = "display:inline-block;vertical-align:top;margin:0.4em 2em 0.4em 0"
_TITLE: Final = "margin:0 0 0.3em"
_NOTE: Final = f"{SMALL};{MUTED};margin:0.2em 0;max-width:34em"


@dataclass(frozen=True, slots=True)
class PathsLook:
    """What is shown of paths; see `interpret.routing_paths.Paths`.

    Attributes
    ----------
    flows
        The largest, at most `MOST_FLOWS`: layer, expert, next layer, its expert, share of the tokens. `rest`
        is the share of all flows that is not among them.
    kind, matrix
        "transition": a row is P(expert of `next` | expert of `layer`). "together": the share of the tokens
        that go through both. None behind the last layer.
    """

    of: str
    tokens: int
    asked: int
    flows: Sequence[tuple[int, int, int, int, float]]
    rest: float
    kind: Literal["transition", "together"]
    layer: int
    next: int | None
    matrix: Sequence[Sequence[float]] | None


def bundle(look: PathsLook, *, watched: bool) -> dict[str, str]:
    """Return paths as a mime bundle: text/plain and text/html."""
    of = f" of {clean_line(visible_text(look.of))}" if look.of else ""
    title = f"Paths through the experts: {count_text(look.asked)}{of}"
    if look.tokens < look.asked:
        title += f"; {look.tokens:,} of them, evenly spread, are counted"
    rows = [(*_names(flow), percent(flow[4], watched=watched)) for flow in look.flows]
    text = [title, to_text([table_node(("from", "to", "tokens"), rows)]), *([_left(look)] if rows else [])]
    if look.matrix is not None and len(look.matrix) <= MOST_FIGURES:
        text += [_meaning(look), to_text([_matrix_node(look.matrix)])]
    beside = [_flows_html(look, rows), _matrix_html(look, watched)]
    html = styled("div", "font-weight:bold", escape(title))
    html += "".join(styled("div", _BESIDE, block) for block in beside if block)
    page = without_math(wall(styled("div", FIGURES, html), pictures=True))
    return {"text/plain": "\n\n".join(text), "text/html": page}


def _names(flow: tuple[int, int, int, int, float]) -> tuple[str, str]:
    layer, source, onward, target, _ = flow
    return f"L{layer} E{source}", f"L{onward} E{target}"


def _flows_html(look: PathsLook, rows: Sequence[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    most = look.flows[0][4]
    heads = (("from", _CELL), ("to", _CELL), ("tokens", _RIGHT), ("", _CELL))
    body = [styled("tr", "", "".join(styled("th", style, name) for name, style in heads))]
    for (_, _, _, _, share), (source, target, figure) in zip(look.flows, rows, strict=True):
        cells = [styled("td", _CELL, source), styled("td", _CELL, target), styled("td", _RIGHT, figure)]
        cells.append(styled("td", _CELL, bar([share], most, f"{source} to {target}: {figure}")))
        body.append(styled("tr", "", "".join(cells)))
    title = styled("div", _TITLE, "The largest flows:")
    return title + styled("table", _TABLE, "".join(body)) + styled("div", _NOTE, escape(_left(look)))


def _left(look: PathsLook) -> str:
    return f"These are {100 * (1 - look.rest):.0f} % of all steps from layer to layer."


def _matrix_html(look: PathsLook, watched: bool) -> str:
    if look.matrix is None or not len(look.matrix):
        return ""
    most = max(max(row) for row in look.matrix) or 1.0
    title = styled("div", f"{_TITLE};max-width:34em", escape(_meaning(look)))
    names = [f"E{expert}" for expert in range(len(look.matrix))]
    if len(names) <= MOST_FIGURES:
        texts = [[points(value) for value in row] for row in look.matrix]
        corner = f"L{look.layer}" + (f" / L{look.next}" if look.kind == "transition" else "")
        label = _meaning(look)
        table = table_html(look.matrix, names, names, high=most, texts=texts, corner=corner, label=label)
        return title + table
    if not watched:  # the bytes of a picture differ from one library to the next
        return ""
    import numpy as np

    values = np.rint(255 * np.sqrt(np.clip(np.array(look.matrix) / most, 0, 1))).astype(np.uint8)
    scale = max(1, _PICTURE // len(names))
    side = scale * len(names)
    picture = picture_html(png(values, scale=scale), _meaning(look), side, side)
    note = f"A row is an expert of L{look.layer}, E0 on top. Brightness is the square root of the share."
    legend = legend_html("0", percent(most, watched=watched))
    return title + picture + legend + styled("div", _NOTE, escape(note))


def _matrix_node(matrix: Sequence[Sequence[float]]) -> Element:
    names = [f"E{expert}" for expert in range(len(matrix))]
    rows = [[name, *map(points, row)] for name, row in zip(names, matrix, strict=True)]
    return table_node(("", *names), rows)


def _meaning(look: PathsLook) -> str:
    if look.kind == "together":
        return f"Percent of the tokens that go through both experts of L{look.layer}:"
    return f"Of the tokens of an expert of L{look.layer} (a row), percent that go on to one of L{look.next}:"
