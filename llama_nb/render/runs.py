"""Training runs beside each other: a table, their losses in one picture, and where their recipes differ.

Takes the records that a run's panel gets. Texts in them may come from anywhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.clean import clean_line
from llama_nb.render.html import escape, styled, to_html, wall, without_math
from llama_nb.render.line_chart import COLOURS, Line, chart_html
from llama_nb.render.nodes import Element
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.training import STATES, duration, loss_text

Record = Mapping[str, Any]

MOST: Final = len(COLOURS)  # runs in a picture


def table(heads: Sequence[Record], *, watched: bool) -> Element:
    """Return a table with a row a run."""
    headings = ["run", "base", "method", "state", "step", "of", "loss", "validation", "best"]
    rows = [
        [
            clean_line(str(head["name"])),
            clean_line(str(head.get("model", ""))),
            _method(head),
            STATES.get(str(head["state"]), "unknown"),
            head.get("step"),
            head.get("steps"),
            _loss(head.get("smoothed"), watched),
            _loss(head.get("validation"), watched),
            _loss(head.get("best"), watched),
            *([_time(head)] if watched else []),
        ]
        for head in heads
    ]
    return table_node([*headings, *(["time"] if watched else [])], rows)


def comparison(
    heads: Sequence[Record], curves: Sequence[Record], recipes: Sequence[Record], *, watched: bool
) -> dict[str, str]:
    """Return runs beside each other as a mime bundle: text/plain and text/html.

    Parameters
    ----------
    curves
        Of each run, as its panel gets them.
    recipes
        Of each run, the values of its parameters as texts, by name.
    """
    names = [clean_line(str(head["name"])) for head in heads]
    tables = [table(heads, watched=watched)]
    differing = _differing(names, recipes)
    if differing is not None:
        tables.append(differing)
    pictures: list[tuple[str, list[list[tuple[float, float | None]]]]] = [
        ("Smoothed loss", [list(zip(one["steps"], one["smoothed"], strict=True)) for one in curves]),
        ("Validation loss", [[(step, loss) for step, loss in one["validation"]] for one in curves]),
    ]
    html = [styled("div", "font-weight:bold", escape(f"Runs beside each other: {', '.join(names)}"))]
    for title, ways in pictures:
        lines = [
            Line(name, way, COLOURS[number % MOST])
            for number, (name, way) in enumerate(zip(names, ways, strict=True))
            if way
        ]
        chart = chart_html(lines, f"{title} by step of {', '.join(line.label for line in lines)}")
        html += [styled("div", "margin:0.6em 0 0", escape(title)), chart] if chart else []
    page = wall("".join(html), pictures=True) + to_html(tables)
    return {"text/plain": to_text(tables), "text/html": without_math(page)}


def _differing(names: Sequence[str], recipes: Sequence[Record]) -> Element | None:
    """Return a table of the parameters that are not the same in all runs; None where all are."""
    known = dict.fromkeys(name for recipe in recipes for name in recipe)
    rows = [
        [parameter, *(clean_line(str(recipe.get(parameter, ""))) for recipe in recipes)]
        for parameter in known
        if len({recipe.get(parameter) for recipe in recipes}) > 1
    ]
    return table_node(["parameter", *names], rows) if rows else None


def _method(head: Record) -> str:
    rank = f" r={head['rank']}" if head.get("rank") else ""
    return clean_line(str(head.get("method") or "")) + rank


def _loss(value: float | None, watched: bool) -> str:
    return "" if value is None else loss_text(value, watched=watched)


def _time(head: Record) -> str:
    return "" if head.get("spent_s") is None else duration(head["spent_s"])
