"""What quantising costs, as a table with bars: a row a method, the layers' errors below.

Takes the session's report as it is (its attributes, by name) and knows nothing of how it was measured.
Where nobody watches, no speeds are shown and figures have two digits: those hold on other processors, too.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from llama_nb.render.bars import COLOURS, bar
from llama_nb.render.clean import clean_line
from llama_nb.render.html import FIGURES, LINE, MUTED, SMALL, escape, styled, to_html, wall
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text

_CELL: Final = f"border-bottom:1px solid {LINE};padding:3px 10px 3px 0;text-align:left;vertical-align:top"
_RIGHT: Final = _CELL.replace("text-align:left", "text-align:right")
_TABLE: Final = f"border-collapse:collapse;color:inherit;font-size:inherit;margin:0.3em 0;{FIGURES}"
_SCROLL: Final = "max-height:320px;overflow:auto"
# Layers of a large model are many; a table of more rows than this scrolls anyway.
_MOST_LAYERS: Final = 200

Rows: TypeAlias = Sequence[Sequence[str]]

_WORDS: Final = ("method", "greedy text differs")  # columns of words; the others are figures
_PARTINGS: Final = "Where greedy decoding leaves the path of the reference:"
_PARTING_HEADINGS: Final = ("method", "it goes on", "the reference goes on")
_LAYERS: Final = (
    "Relative error of the weights by layer (the mean of its matrices), and the largest weight before, in "
    "standard deviations: one large weight makes the steps of its whole block coarse."
)


def bundle(report: Any, *, watched: bool) -> dict[str, Any]:
    """Return a QuantisationReport as a mime bundle: text/plain and text/html."""
    digits = _digits if watched else _two_digits
    headings, rows = _overview(report, digits, watched=watched)
    notes = _notes(report)
    tables = [(_PARTINGS, _PARTING_HEADINGS, _partings(report)), (_LAYERS, *_layers(report, digits))]
    parts = [_title(report), to_text([table_node(headings, rows)]), *notes]
    html = [
        styled("div", "font-weight:bold", escape(_title(report))),
        _overview_html(report, headings, rows),
        *(styled("div", f"{SMALL};{MUTED}", escape(note)) for note in notes),
    ]
    for caption, names, body in tables:
        if body:
            parts += [caption, to_text([table_node(names, body)])]
            html += [
                styled("div", f"{SMALL};margin:0.8em 0 0", escape(caption)),
                styled("div", _SCROLL, to_html([table_node(names, body)])),
            ]
    return {"text/plain": "\n\n".join(parts), "text/html": wall(styled("div", FIGURES, "".join(html)))}


def _title(report: Any) -> str:
    name = clean_line(report.model)
    return f"{name}: each method beside {report.reference}, on a text of {report.tokens:,} tokens"


def _overview(report: Any, digits: Callable[[float], str], *, watched: bool) -> tuple[list[str], Rows]:
    headings = ["method", "weights", "of reference", "tokens/s", "perplexity", "KL (nats)", "same top token"]
    headings.append("greedy text differs")
    whole = report.rows[0].bytes
    rows = []
    for row in report.rows:
        quality = row.quality
        rows.append(
            [
                row.method,
                _megabytes(row.bytes),
                f"{row.bytes / whole:.0%}",
                _digits(row.tokens_per_s) if row.tokens_per_s and watched else "",
                digits(quality.perplexity),
                "reference" if row is report.rows[0] else digits(quality.mean_kl),
                "" if row is report.rows[0] else f"{quality.agreement:.0%}",
                _difference(report, row),
            ]
        )
    if not watched:
        headings, rows = _without(headings, rows, "tokens/s")
    return headings, rows


def _without(headings: list[str], rows: list[list[str]], name: str) -> tuple[list[str], list[list[str]]]:
    place = headings.index(name)
    return headings[:place] + headings[place + 1 :], [row[:place] + row[place + 1 :] for row in rows]


def _difference(report: Any, row: Any) -> str:
    if row is report.rows[0]:
        return ""
    if row.difference is None:
        return f"nowhere in {report.continuation} tokens"
    return f"at token {row.difference.place + 1}"


def _overview_html(report: Any, headings: Sequence[str], rows: Rows) -> str:
    """The table, with a bar of memory and one of divergence after their figures."""
    whole = max((row.bytes for row in report.rows), default=0)
    worst = max((row.quality.mean_kl for row in report.rows), default=0.0)
    body = []
    for row, texts in zip(report.rows, rows, strict=True):
        memory = bar([row.bytes], whole, f"{texts[1]} of weights")
        distance = bar(
            [row.quality.mean_kl], worst, f"divergence {row.quality.mean_kl:.2g} nats", colours=COLOURS[1:]
        )
        cells = []
        for heading, text in zip(headings, texts, strict=True):
            chart = {"of reference": memory, "KL (nats)": distance}.get(heading, "")
            cells.append(styled("td", _style(heading), escape(text) + (chart if text != "reference" else "")))
        body.append(styled("tr", "", "".join(cells)))
    return styled("table", _TABLE, _head(headings) + "".join(body))


def _partings(report: Any) -> Rows:
    """The method, and what both write where greedy decoding leaves the reference."""
    return [
        [row.method, clean_line(row.difference.text), clean_line(row.difference.reference)]
        for row in report.rows
        if row.difference is not None
    ]


def _layers(report: Any, digits: Callable[[float], str]) -> tuple[list[str], Rows]:
    """Rows of layers: the mean error of each method, and the largest weight of the original."""
    methods = [row.method for row in report.rows if row.matrices]
    errors: defaultdict[int | None, dict[str, list[float]]] = defaultdict(dict)
    largest: dict[int | None, float] = {}
    for row in report.rows:
        for matrix in row.matrices:
            errors[matrix.layer].setdefault(row.method, []).append(matrix.error)
            largest[matrix.layer] = max(largest.get(matrix.layer, 0.0), matrix.largest)
    rows = []
    for layer in sorted(errors, key=lambda layer: -1 if layer is None else layer)[:_MOST_LAYERS]:
        means = [errors[layer].get(method, []) for method in methods]
        shown = [digits(100 * sum(values) / len(values)) + " %" if values else "" for values in means]
        rows.append(["others" if layer is None else f"layer {layer}", *shown, digits(largest[layer])])
    return ["", *methods, "largest weight (\u03c3)"], rows


def _notes(report: Any) -> list[str]:
    notes = [f"{row.method}: {note}" for row in report.rows for note in row.notes]
    notes += [f"{method} was not measured: {reason}" for method, reason in report.refused]
    if report.stopped:
        notes.append("Stopped: the methods that follow were not measured.")
    return [clean_line(note) for note in notes]


def _style(heading: str) -> str:
    return _CELL if heading in _WORDS else _RIGHT


def _head(headings: Sequence[str]) -> str:
    cells = "".join(styled("th", _style(heading), escape(heading)) for heading in headings)
    return styled("tr", "", cells)


def _megabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _digits(value: float) -> str:
    """Three significant digits, without exponents for what people read."""
    if value == 0:
        return "0"
    return (
        f"{value:.3g}" if 1e-4 <= abs(value) < 1e4 else f"{value:.2e}" if abs(value) < 1 else f"{value:,.0f}"
    )


def _two_digits(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}"
