"""The adapters of a model as a table: text and HTML. Names come from files and people: they are cleaned."""

from collections.abc import Mapping
from typing import Any, Final

from llama_nb.render.clean import clean_line
from llama_nb.render.html import to_html
from llama_nb.render.nodes import Node, element
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.units import number

_MOST_TARGETS: Final = 7
_HEADINGS: Final = ("adapter", "now", "method", "rank", "alpha", "layers", "parameters", "from")


def adapters_nodes(record: Mapping[str, Any]) -> list[Node]:
    """Return which adapters a model has, and which answer.

    Parameters
    ----------
    record
        `model`, its name; `label`, what answers now, "" for the base alone; `rows`, each with name, weight
        (None: off), training, method, rank, alpha, target (a list), layers, parameters and from (where it
        comes from, in a few words).
    """
    model = clean_line(str(record["model"]))
    if not record["rows"]:
        return [
            element("p", f"{model} has no adapters."),
            element("p", "Train one: %llama train data.jsonl; or load one: %llama adapter load runs/NAME"),
        ]
    label = clean_line(str(record["label"]))
    answers = f"{model} answers with {label}." if label else f"{model} answers alone: all adapters are off."
    rows = [
        (
            str(row["name"]),
            _state(row),
            str(row["method"]),
            int(row["rank"]),
            f"{row['alpha']:g}",
            f"{row['layers']} ({', '.join(row['target'][:_MOST_TARGETS])})",
            number(row["parameters"]),
            str(row["from"]),
        )
        for row in record["rows"]
    ]
    return [element("p", answers), table_node(_HEADINGS, rows)]


def bundle(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the table as a mime bundle; see `adapters_nodes`."""
    nodes = adapters_nodes(record)
    return {"text/plain": to_text(nodes), "text/html": to_html(nodes)}


def _state(row: Mapping[str, Any]) -> str:
    words = ["in training"] if row["training"] else []
    if row["weight"] is not None:
        words.insert(0, "on" if row["weight"] == 1 else f"on, {row['weight']:g} times")
    return "; ".join(words) or "off"
