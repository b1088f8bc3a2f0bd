"""Scores of attention heads as a map of layers and heads with a ranking; needs no scripts.

It takes the record of `interpret.head_scores.HeadScores` (JSON values). One kind of score is shown as a table
of all heads, several as small pictures. Figures have two digits, so that stored pages can be compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from llama_nb.render.bars import bar
from llama_nb.render.clean import clean_line
from llama_nb.render.heat_map import legend_html, picture_html, png, table_html, two_digits
from llama_nb.render.html import FIGURES, LINE, MUTED, SMALL, escape, styled, wall, without_math
from llama_nb.render.table import Cell, table_node
from llama_nb.render.text import to_text

MOST_CELLS: Final = 1_100  # of a table: 32 layers of 32 heads are 0.1 MB
_IN_OVERVIEW: Final = 3  # heads of each kind
_PICTURE: Final = 96  # pixels that a small picture is wide, about: six in a row

_MAPS: Final = (
    "A row is a layer, the first one on top, and a square a head; the brighter, the larger. "
    "All figures of one score: %llama heads --kind induction"
)

_TABLE: Final = f"border-collapse:collapse;color:inherit;font-size:inherit;margin:0.4em 0;{FIGURES}"
_CELL: Final = f"border-bottom:1px solid {LINE};padding:2px 12px 2px 0;text-align:left;vertical-align:top"
_NOTE: Final = f"{SMALL};{MUTED};margin:0.2em 0"
_SMALL_MAP: Final = "display:inline-block;vertical-align:top;margin:0.4em 0.6em 0.4em 0"

Kind = Mapping[str, Any]


def bundle(record: Mapping[str, Any], *, watched: bool) -> dict[str, str]:
    """Return the scores as a mime bundle: text/plain and text/html."""
    kinds = record["kinds"]
    text, html = (_one if len(kinds) == 1 else _several)(record, kinds, pictures=watched)
    notes = [_read(record), *([f"Meanwhile {record['off']}."] if record["off"] else [])]
    note = " ".join(notes)
    page = styled("div", FIGURES, html + styled("div", _NOTE, escape(note)))
    return {"text/plain": f"{text}\n\n{note}", "text/html": without_math(wall(page, pictures=True))}


def _one(record: Mapping[str, Any], kinds: Sequence[Kind], *, pictures: bool) -> tuple[str, str]:
    """All heads of one kind of score, and the ranking."""
    kind = kinds[0]
    title = f"{kind['label'].capitalize()}: {_extent(record)}"
    meaning = f"{kind['meaning'].capitalize()} ({kind['source']})."
    ranking = _ranking(kind)
    layers, heads = _names(record)
    high = _high(kind)
    html = [styled("div", "font-weight:bold", escape(title)), styled("div", _NOTE, escape(meaning))]
    if len(layers) * len(heads) <= MOST_CELLS:
        texts, corner = _figures(kind), "layer / head"
        html.append(
            table_html(kind["values"], layers, heads, high=high, texts=texts, corner=corner, label=title)
        )
    elif pictures:
        html.append(_picture(record, kind, 512))
    html += [legend_html("0", _figure(kind, high)), _ranking_html(kind, ranking)]
    rows: list[list[Cell]] = [[number, name, figure] for number, (name, figure, _) in enumerate(ranking, 1)]
    nodes = [table_node(("#", "head", kind["label"]), rows)]
    return "\n\n".join((title, meaning, to_text(nodes))), "".join(html)


def _several(record: Mapping[str, Any], kinds: Sequence[Kind], *, pictures: bool) -> tuple[str, str]:
    """A small picture and the strongest heads of each kind of score."""
    title = f"What the heads do: {_extent(record)}"
    headings = ("score", "strongest heads", "a large score says")
    html = [styled("div", "font-weight:bold", escape(title))]
    if pictures:
        for kind in kinds:
            label = styled("div", SMALL, escape(kind["label"]))
            html.append(styled("div", _SMALL_MAP, label + _picture(record, kind, _PICTURE)))
        html.append(styled("div", _NOTE, escape(_MAPS)))
    body = [_row("th", map(escape, headings))]
    rows = []
    for kind in kinds:
        best = _strongest(kind)
        rows.append([kind["label"], ", ".join(best), kind["meaning"]])
        whole = ", ".join(styled("span", "white-space:nowrap", escape(name)) for name in best)
        body.append(_row("td", (escape(kind["label"]), whole, escape(kind["meaning"]))))
    html.append(styled("table", _TABLE, "".join(body)))
    return "\n\n".join((title, to_text([table_node(headings, rows)]))), "".join(html)


def _extent(record: Mapping[str, Any]) -> str:
    layers = len(record["layers"])
    counted = f"{layers} {'layer' if layers == 1 else 'layers'} of {record['heads']} heads"
    return f"{counted} in {clean_line(record['model'])}"


def _read(record: Mapping[str, Any]) -> str:
    return f"Read: {clean_line(record['title'])}, {record['tokens']:,} tokens."


def _names(record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    return [f"L{layer}" for layer in record["layers"]], [f"H{head}" for head in range(record["heads"])]


def _high(kind: Kind) -> float:
    """The value of the brightest colour: shares are all drawn on one scale."""
    known = [value for row in kind["values"] for value in row if value is not None]
    return 1.0 if kind["share"] else max(known, default=0.0) or 1.0


def _figure(kind: Kind, value: float) -> str:
    return f"{value:.2f}" if kind["share"] else f"{value:.1f}"


def _figures(kind: Kind) -> list[list[str]]:
    write = two_digits if kind["share"] else "{:.1f}".format
    return [["\u2013" if value is None else write(value) for value in row] for row in kind["values"]]


def _ranking(kind: Kind) -> list[tuple[str, str, float]]:
    """The strongest heads: name, figure, value as exact as the figure."""
    return [
        (f"L{layer} H{head}", _figure(kind, value), float(f"{value:.2f}"))
        for layer, head, value in kind["top"]
    ]


def _strongest(kind: Kind) -> list[str]:
    found = [f"{name} {figure}" for name, figure, _ in _ranking(kind)[:_IN_OVERVIEW]]
    return found or ["\u2013 (nothing that was read calls for it)"]


def _ranking_html(kind: Kind, ranking: Sequence[tuple[str, str, float]]) -> str:
    high = _high(kind)
    rows = [_row("th", ("#", "head", escape(kind["label"]), ""))]
    for number, (name, figure, value) in enumerate(ranking, 1):
        drawn = styled("div", "min-width:160px", bar([value], high, f"{name}: {figure}"))
        rows.append(_row("td", (str(number), escape(name), escape(figure), drawn)))
    return styled("table", _TABLE, "".join(rows))


def _row(tag: str, cells: Iterable[str]) -> str:
    """A row of cells, each HTML already."""
    return styled("tr", "", "".join(styled(tag, _CELL, cell) for cell in cells))


def _picture(record: Mapping[str, Any], kind: Kind, width: int) -> str:
    """All heads as squares, about so many pixels wide."""
    import numpy as np

    high = _high(kind)
    shares = [[min(max((value or 0.0) / high, 0.0), 1.0) for value in row] for row in kind["values"]]
    scale = max(2, width // max(record["heads"], len(shares)))
    values = np.rint(255 * np.array(shares)).astype(np.uint8)
    alt = f"{kind['label']} of {_extent(record)}; strongest: {', '.join(_strongest(kind))}"
    return picture_html(png(values, scale=scale), alt, scale * values.shape[1], scale * values.shape[0])
