"""A reply's tokens shaded by how sure the model was, with the alternatives; needs no scripts.

It takes the record of `session.why.WhyView` (JSON values). The shade is one of five classes, each with an
underline of its own, so that colour says nothing alone; pointing at a token shows its figures and what could
have stood there, and a table holds the most surprising ones for those who cannot point. Colours are cividis
(Nunez et al. 2018, https://doi.org/10.1371/journal.pone.0199239), thin enough for black and for white text.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.chances import nats, percent, percent_of, token_html
from llama_nb.render.clean import clean_line
from llama_nb.render.html import FIGURES, LINE, MONO, MUTED, SMALL, escape, styled, wall
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.tokens import PILL, visible_text

MOST_SHOWN: Final = 800  # tokens; with alternatives each takes about half a kilobyte
MOST_LISTED: Final = 8
_IN_TITLE: Final = 5  # alternatives
_IN_TABLE: Final = 3
_LONGEST: Final = 40  # characters of a token in a table
_HELD: Final = 0.5  # from this share of the probability on a token is marked as the grammar's choice

COLOURS: Final = ("0,34,78", "66,77,107", "124,123,120", "188,175,111", "254,232,56")
UNDERLINES: Final = ("none", "dotted", "dashed", "solid", "double")
ALPHA: Final = 0.35
# Class k holds what is at least EDGES[k]; of the last one everything below.
PROBABILITIES: Final = (0.9, 0.5, 0.2, 0.05)
ENTROPIES: Final = (0.5, 1.0, 2.0, 3.0)  # nats: class k holds what is below

_CELL: Final = f"border-bottom:1px solid {LINE};padding:2px 10px 2px 0;text-align:left;vertical-align:top"
_TABLE: Final = f"border-collapse:collapse;color:inherit;font-size:inherit;margin:0.3em 0;{FIGURES}"
_REPLY: Final = f"{MONO};line-height:1.9;overflow-wrap:break-word;margin:0.4em 0"
_COULD: Final = "could have been (before \u2192 after sampling)"
_FORBADE: Final = "forbidden"
_RIGHT: Final = ("#", "probability", "entropy", _FORBADE)
_CAPTION: Final = {
    "probability": "The most surprising tokens:",
    "entropy": "Where the model was least sure:",
}


def bundle(record: Mapping[str, Any], *, watched: bool) -> dict[str, str]:
    """Return the view as a mime bundle: text/plain and text/html."""
    rows = record["tokens"]
    title = _title(record, watched)
    listed = _listed(record, watched)
    caption = _CAPTION[record["by"]]
    legend = _legend(record["by"])
    if any(row["forbidden"] is not None for row in rows):
        share = f"before a token: {100 * _HELD:g} % of the probability or more"
        legend.append((_OUT, f"ruled out by the grammar ({share})"))
    parts = [title, _line(record), " \u00b7 ".join(f"{mark} {text}" for mark, text in legend)]
    html = [styled("div", "font-weight:bold", escape(title)), styled("div", _REPLY, _chips(record, watched))]
    html.append(_legend_html(legend))
    if listed:
        texts = [[str(number), *_figures(row, watched)] for number, row in listed]
        headings = _headings(listed)
        parts += [caption, to_text([table_node(headings, texts)])]
        html += [
            styled("div", f"{SMALL};margin:0.6em 0 0", escape(caption)),
            _table(headings, listed, watched),
        ]
    if len(rows) > MOST_SHOWN:
        note = f"Of {len(rows):,} tokens the first {MOST_SHOWN:,} are shaded; all are in to_frame()."
        parts.append(note)
        html.append(styled("div", f"{SMALL};{MUTED}", escape(note)))
    return {"text/plain": "\n\n".join(parts), "text/html": wall(styled("div", FIGURES, "".join(html)))}


def shade(row: Mapping[str, Any], by: str) -> int | None:
    """Return the class of a token, 0 (sure) to 4; None where it has no figure."""
    if by == "entropy":
        entropy = row["entropy"]
        return None if entropy is None else sum(entropy >= edge for edge in ENTROPIES)
    if row["logprob"] is None:
        return None
    return sum(math.exp(row["logprob"]) < edge for edge in PROBABILITIES)


def _title(record: Mapping[str, Any], watched: bool) -> str:
    rows = [row for row in record["tokens"] if row["logprob"] is not None]
    count = len(record["tokens"])
    title = f"{count:,} {'token' if count == 1 else 'tokens'} by {record['by']}"
    if not rows:
        return title
    first = sum(row["rank"] == 1 for row in rows)
    mean = sum(row["logprob"] for row in rows) / len(rows)
    typical = percent(math.exp(mean), watched=watched)
    return f"{title}: {first:,} were the likeliest one; the geometric mean of the probabilities is {typical}"


def _legend(by: str) -> list[tuple[str, str]]:
    """The classes: how each is marked in a text, and what it holds."""
    if by == "entropy":
        edges = [f"{edge:g}" for edge in ENTROPIES]
        names = [f"below {edges[0]} nats", *(f"from {edge}" for edge in edges)]
    else:
        edges = [f"{100 * edge:g} %" for edge in PROBABILITIES]
        names = [*(f"from {edge}" for edge in edges), f"below {edges[-1]}"]
    return list(zip(_MARKS, names, strict=True))


# Superscript digits stand behind tokens in a text; the surest have none.
_MARKS: Final = ("\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074")
_OUT: Final = "\u2298"


def _held(row: Mapping[str, Any]) -> bool:
    """Whether it was the grammar more than the model that chose a token."""
    return (row["forbidden"] or 0.0) >= _HELD


def _line(record: Mapping[str, Any]) -> str:
    pieces = []
    for row in record["tokens"][:MOST_SHOWN]:
        level = shade(row, record["by"])
        mark = _OUT if _held(row) else ""
        pieces.append(mark + visible_text(row["text"]) + (_MARKS[level] if level else ""))
    return "|".join(pieces)


def _chips(record: Mapping[str, Any], watched: bool) -> str:
    chips = []
    for number, row in enumerate(record["tokens"][:MOST_SHOWN]):
        level = shade(row, record["by"])
        style = look(level)
        if row["special"]:
            style = f"{PILL};{style}"
        shown = (_OUT if _held(row) else "") + visible_text(row["text"])
        chip = styled("code", style, escape(shown), title=_tip(number, row, watched))
        chips.append(chip + ("<br>" if row["text"].endswith("\n") else ""))
    return "\u200b".join(chips)  # a line may break between tokens


def look(level: int | None) -> str:
    """Return the style of a token of this class, 0 to 4; None for one without a figure."""
    frame = "padding:1px 0;white-space:pre-wrap"
    if level is None:
        return frame
    ground = f"background-color:rgba({COLOURS[level]},{ALPHA})"
    line = UNDERLINES[level]
    under = "" if line == "none" else f";border-bottom:3px {line} rgba(128,128,128,0.9)"
    return f"{ground};{frame}{under}"


def _tip(number: int, row: Mapping[str, Any], watched: bool) -> str:
    """What pointing at a token shows."""
    lines = [
        f"token {number}, id {row['id']}: probability {percent_of(row['logprob'], watched=watched)}, "
        f"entropy {nats(row['entropy'], watched=watched)} nats"
    ]
    if row["forbidden"] is not None:
        lines.append(f"ruled out by the grammar: {percent(row['forbidden'], watched=watched)}")
    lines += [_alternative(other, watched) for other in row["alternatives"][:_IN_TITLE]]
    return "\n".join(lines)


def _alternative(other: Mapping[str, Any], watched: bool) -> str:
    """One token that could have come: `sun 43 % -> 61 %`."""
    after = percent_of(other["sampled"], watched=watched)
    if other["sampled"] is None:
        after = f"{_OUT} ruled out" if other["forbidden"] else "ruled out"
    name = _short(other["text"])
    return f"{name} {percent_of(other['logprob'], watched=watched)} \u2192 {after}"


def _legend_html(legend: Sequence[tuple[str, str]]) -> str:
    items = [
        styled("span", f"{look(_MARKS.index(mark))};padding:1px 4px", escape(name))
        if mark in _MARKS
        else styled("span", "padding:1px 4px", escape(f"{mark} {name}"))
        for mark, name in legend
    ]
    tip = "Point at a token for its alternatives."
    return styled("div", SMALL, " ".join([*items, styled("span", MUTED, escape(tip))]))


def _listed(record: Mapping[str, Any], watched: bool) -> list[tuple[int, Mapping[str, Any]]]:
    """The tokens with the least probability, or the most entropy, in the order of the reply."""
    del watched
    by = record["by"]
    numbered = [(n, row) for n, row in enumerate(record["tokens"]) if (shade(row, by) or 0) > 0]
    key = "entropy" if by == "entropy" else "logprob"
    numbered.sort(key=lambda pair: -pair[1][key] if by == "entropy" else pair[1][key])
    return sorted(numbered[:MOST_LISTED], key=lambda pair: pair[0])


def _headings(listed: Sequence[tuple[int, Mapping[str, Any]]]) -> tuple[str, ...]:
    forbade = (_FORBADE,) if any(row["forbidden"] is not None for _, row in listed) else ()
    return ("#", "token", "probability", "entropy", *forbade, _COULD)


def _figures(row: Mapping[str, Any], watched: bool) -> list[str]:
    """The cells of a token's row: the token, its figures, and the likeliest others."""
    forbade = () if row["forbidden"] is None else (percent(row["forbidden"], watched=watched),)
    return [
        _short(row["text"]),
        percent_of(row["logprob"], watched=watched),
        nats(row["entropy"], watched=watched),
        *forbade,
        ", ".join(_alternative(other, watched) for other in _others(row)),
    ]


def _others(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [other for other in row["alternatives"] if other["id"] != row["id"]][:_IN_TABLE]


def _table(headings: Sequence[str], listed: Sequence[tuple[int, Mapping[str, Any]]], watched: bool) -> str:
    right = _CELL.replace("text-align:left", "text-align:right")
    heads = (styled("th", right if name in _RIGHT else _CELL, escape(name)) for name in headings)
    body = [styled("tr", "", "".join(heads))]
    for number, row in listed:
        _, *figures, _ = _figures(row, watched)
        cells = [
            styled("td", right, str(number)),
            styled("td", _CELL, token_html(row["text"][:_LONGEST], special=row["special"])),
            *(styled("td", right, escape(figure)) for figure in figures),
            styled("td", _CELL, ", ".join(_alternative_html(other, watched) for other in _others(row))),
        ]
        body.append(styled("tr", "", "".join(cells)))
    return styled("table", _TABLE, "".join(body))


def _alternative_html(other: Mapping[str, Any], watched: bool) -> str:
    name = token_html(other["text"][:_LONGEST], special=other["special"])
    return name + escape(_alternative(other, watched).removeprefix(_short(other["text"])))


def _short(text: str) -> str:
    shown = clean_line(visible_text(text))
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "\u2026"
