"""A map of activation patching: a layer a row, a token (or a head) a column, and what each place brings back.

It takes the record of `session.patching.PatchMap` (JSON values) and knows no models. Rows run from the last
layer down to the first, as the states rise through the model.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.clean import clean_line
from llama_nb.render.colour_maps import DIVERGING
from llama_nb.render.heat_map import legend_html, table_html, two_digits
from llama_nb.render.html import FIGURES, MUTED, SMALL, escape, styled, wall, without_math
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.tokens import visible_text

MOST_COLUMNS: Final = 64
_MOST_IN_TEXT: Final = 8
_LONGEST: Final = 14  # characters of a token above its column
_PARTS: Final = {
    "layer": "the residual stream behind a layer",
    "attention": "what a layer's attention adds",
    "mlp": "what a layer's MLP adds",
    "head": "what a head mixed, at all positions",
}


def bundle(record: Mapping[str, Any], *, watched: bool) -> dict[str, str]:
    """Return a map as a mime bundle: text/plain and text/html."""
    columns = _columns(record)
    title, facts = _title(record), _facts(record, watched)
    left_out = len(record["values"][0]) - len(columns)
    if left_out:
        facts.append(
            f"Shown are the {len(columns):,} strongest columns; {left_out:,} more are in to_frame()."
        )
    text = [title, _text(record, columns, watched), *facts]
    html = [
        styled("div", "font-weight:bold", escape(title)),
        _table(record, columns, watched),
        legend_html("-1: farther away", "1: the clean answer is back", colours=DIVERGING),
        *(styled("div", f"{SMALL};{MUTED}", escape(fact)) for fact in facts),
    ]
    page = wall(styled("div", FIGURES, "".join(html)))
    return {"text/plain": "\n\n".join(text), "text/html": without_math(page)}


def _title(record: Mapping[str, Any]) -> str:
    answer, wrong = (clean_line(visible_text(record[name])) for name in ("answer", "wrong"))
    off = f" with {record['off']}" if record["off"] else ""
    return f"{clean_line(record['model'])}{off}: what brings {answer} back in place of {wrong}"


def _facts(record: Mapping[str, Any], watched: bool) -> list[str]:
    digits = 2 if watched else 1
    clean, corrupt = (f"{record[name]:.{digits}f}" for name in ("clean_difference", "corrupt_difference"))
    return [
        f"Patched: {_PARTS[record['site']]}. Difference of the two logits: {clean} in the clean run, "
        f"{corrupt} in the corrupt one; 1 is all of that way, 0 nothing."
    ]


def _columns(record: Mapping[str, Any]) -> list[int]:
    """Return which columns are shown, in order: where there are too many, those with the strongest values."""
    values = record["values"]
    strength = [max(abs(row[column]) for row in values) for column in range(len(values[0]))]
    if len(strength) <= MOST_COLUMNS:
        return list(range(len(strength)))
    strongest = sorted(range(len(strength)), key=lambda column: -strength[column])
    return sorted(strongest[:MOST_COLUMNS])


def _names(record: Mapping[str, Any], columns: Sequence[int]) -> list[str]:
    """Return what stands above the columns: a head's name, or the clean token and what it was made."""
    if record["site"] == "head":
        return [f"H{column}" for column in columns]
    named = []
    for column in columns:
        at = record["positions"][column]
        clean, corrupt = (_short(record[name][at]) for name in ("clean", "corrupt"))
        named.append(clean if clean == corrupt else f"{clean} / {corrupt}")
    return named


def _table(record: Mapping[str, Any], columns: Sequence[int], watched: bool) -> str:
    names = _names(record, columns)
    layers = list(range(len(record["values"])))[::-1]
    rows = [[_rounded(record["values"][layer][column], watched) for column in columns] for layer in layers]
    titles = [
        [_tip(record, layer, column, name, watched) for column, name in zip(columns, names, strict=True)]
        for layer in layers
    ]
    corner = "layer / head" if record["site"] == "head" else "layer / token"
    return table_html(
        rows,
        [f"L{layer}" for layer in layers],
        names,
        colours=DIVERGING,
        low=-1.0,
        titles=titles,
        corner=corner,
        label="recovered difference of the logits by layer and place",
    )


def _tip(record: Mapping[str, Any], layer: int, column: int, name: str, watched: bool) -> str:
    value = two_digits(_rounded(record["values"][layer][column], watched))
    where = name if record["site"] == "head" else f"token {record['positions'][column]} {name}"
    return f"layer {layer}, {where}: {value} of the difference comes back"


def _rounded(value: float, watched: bool) -> float:
    """Where outputs are compared one digit is shown: the second is another one on another processor."""
    return value if watched else round(value, 1) + 0.0


def _text(record: Mapping[str, Any], columns: Sequence[int], watched: bool) -> str:
    """Return the strongest columns as a table of text."""
    values = record["values"]
    if len(columns) > _MOST_IN_TEXT:
        strongest = sorted(columns, key=lambda column: -max(abs(row[column]) for row in values))
        columns = sorted(strongest[:_MOST_IN_TEXT])
    layers = range(len(values))[::-1]
    rows = [
        [f"L{layer}", *(two_digits(_rounded(values[layer][column], watched)) for column in columns)]
        for layer in layers
    ]
    return to_text([table_node(["layer", *_names(record, columns)], rows)])


def _short(text: str) -> str:
    shown = clean_line(visible_text(text))
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "\u2026"
