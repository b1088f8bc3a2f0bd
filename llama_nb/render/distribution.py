"""A next-token distribution as tables: its likeliest tokens before and after the sampling, and a row a stage.

It takes the record of `session.distribution.Distribution` (JSON values) and knows no models. Bars only repeat
what the figures beside them say.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.bars import COLOURS, bar
from llama_nb.render.chances import nats, percent, token_html
from llama_nb.render.clean import clean_line
from llama_nb.render.html import FIGURES, LINE, MUTED, SMALL, escape, styled, wall
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.tokens import visible_text

_CELL: Final = f"border-bottom:1px solid {LINE};padding:2px 10px 2px 0;text-align:left;vertical-align:top"
_RIGHT: Final = _CELL.replace("text-align:left", "text-align:right")
_TABLE: Final = f"border-collapse:collapse;color:inherit;font-size:inherit;margin:0.3em 0 0.8em;{FIGURES}"
_BEFORE, _AFTER = COLOURS[4:5], COLOURS[:1]
_TOKEN_HEADS: Final = ("token", "before", "", "after", "", "ruled out by")
_STAGE_HEADS: Final = ("stage", "tokens left", "ruled out", "mass left", "", "entropy", "likeliest")


def bundle(record: Mapping[str, Any], *, watched: bool) -> dict[str, str]:
    """Return a distribution as a mime bundle: text/plain and text/html."""
    title, notes = _title(record), _notes(record)
    tokens, stages = _token_rows(record, watched), _stage_rows(record, watched)
    text = [
        title,
        to_text([table_node(_figures(_TOKEN_HEADS), [_figures(row) for row in tokens])]),
        to_text([table_node(_figures(_STAGE_HEADS), [_figures(row) for row in stages])]),
        *notes,
    ]
    html = [
        styled("div", "font-weight:bold", escape(title)),
        _tokens_html(record, tokens, watched),
        _stages_html(record, stages, watched),
        *(styled("div", f"{SMALL};{MUTED}", escape(note)) for note in notes),
    ]
    return {"text/plain": "\n\n".join(text), "text/html": wall(styled("div", FIGURES, "".join(html)))}


def _title(record: Mapping[str, Any]) -> str:
    return f"{clean_line(record['place'])}: {record['vocabulary']:,} tokens before and after the sampling"


def _token_rows(record: Mapping[str, Any], watched: bool) -> list[list[str]]:
    rows = []
    for row in record["tokens"]:
        before, after = (percent(row[key], watched=watched) for key in ("before", "after"))
        rows.append([visible_text(row["text"]), before, "", after, "", row["removed_by"] or ""])
    rest = record["rest"]
    others = record["vocabulary"] - len(rows)
    if others > 0:
        figures = (percent(rest[key], watched=watched) for key in ("before", "after"))
        before, after = figures
        rows.append([f"{others:,} others", before, "", after, "", ""])
    return rows


def _stage_rows(record: Mapping[str, Any], watched: bool) -> list[list[str]]:
    rows = []
    for stage in record["stages"]:
        likeliest = [f"{visible_text(text)} {percent(p, watched=watched)}" for text, p in stage["top"][:3]]
        rows.append(
            [
                stage["name"],
                f"{stage['kept']:,}",
                f"{stage['removed']:,}",
                percent(stage["mass"], watched=watched),
                "",
                nats(stage["entropy"], watched=watched),
                ", ".join(likeliest),
            ]
        )
    return rows


def _notes(record: Mapping[str, Any]) -> list[str]:
    notes = ["Mass left: what the model itself gave the tokens that can still come. Entropy in nats."]
    chosen = record["chosen"]
    if chosen is not None:
        notes.append(f"Chosen there: {visible_text(chosen['text'])} (id {chosen['id']}).")
    xtc = record["sampling"].get("xtc_probability", 0)
    if 0 < xtc < 1:
        notes.append(
            f"XTC is shown as it acts: in {100 * xtc:g} % of the draws, which the column after counts."
        )
    idle = [f"{name} ({why})" for name, why in record["no_effect"].items() if name in record["sampling"]]
    if idle:
        notes.append(f"Without effect: {'; '.join(idle)}.")
    return notes


def _length(share: float, watched: bool) -> float:
    """The length of a bar: as exact as its figure, so that stored pages can be compared."""
    return share if watched else round(share, 2)


def _tokens_html(record: Mapping[str, Any], rows: Sequence[Sequence[str]], watched: bool) -> str:
    body = []
    values = [*record["tokens"], {**record["rest"], "text": None, "special": False}]
    for value, texts in zip(values, rows, strict=False):
        before, after = (_length(value[key], watched) for key in ("before", "after"))
        name = (
            escape(texts[0]) if value["text"] is None else token_html(value["text"], special=value["special"])
        )
        cells = [
            styled("td", _CELL, name, title=f"id {value['id']}")
            if "id" in value
            else styled("td", _CELL, name),
            styled("td", _RIGHT, escape(texts[1])),
            styled("td", _CELL, bar([before], 1, f"before: {texts[1]}", colours=_BEFORE)),
            styled("td", _RIGHT, escape(texts[3])),
            styled("td", _CELL, bar([after], 1, f"after: {texts[3]}", colours=_AFTER)),
            styled("td", _CELL, escape(texts[5])),
        ]
        body.append(styled("tr", "", "".join(cells)))
    return styled("table", _TABLE, _head(_TOKEN_HEADS, (1, 3)) + "".join(body))


def _stages_html(record: Mapping[str, Any], rows: Sequence[Sequence[str]], watched: bool) -> str:
    body = []
    for stage, texts in zip(record["stages"], rows, strict=True):
        chart = bar([_length(stage["mass"], watched)], 1, f"mass left: {texts[3]}", colours=_AFTER)
        cells = [
            styled("td", _RIGHT if place in (1, 2, 3, 5) else _CELL, chart if place == 4 else escape(text))
            for place, text in enumerate(texts)
        ]
        body.append(styled("tr", "", "".join(cells)))
    return styled("table", _TABLE, _head(_STAGE_HEADS, (1, 2, 3, 5)) + "".join(body))


def _head(headings: Sequence[str], right: Sequence[int]) -> str:
    cells = [
        styled("th", _RIGHT if place in right else _CELL, escape(text)) for place, text in enumerate(headings)
    ]
    return styled("tr", "", "".join(cells))


def _figures(row: Sequence[str]) -> list[str]:
    """A row without its places for bars."""
    bars = (2, 4) if len(row) == len(_TOKEN_HEADS) else (4,)
    return [text for place, text in enumerate(row) if place not in bars]
