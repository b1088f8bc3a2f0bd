"""What each layer would say, for pages without widgets: a table of layers and positions, coloured.

It takes the record of `session.lens.LensTrace` (JSON values) and knows no models. The ground of a cell
repeats what its title says in figures.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.chances import nats, percent
from llama_nb.render.clean import clean_line
from llama_nb.render.heat_map import legend_html, table_html
from llama_nb.render.html import FIGURES, MUTED, SMALL, escape, styled, wall, without_math
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.tokens import visible_text

MOST_ROWS: Final = 33
KL_END: Final = 10.0  # nats from which on a divergence has the last colour
_IN_TEXT: Final = 6  # columns of the text twin
_LONGEST: Final = 10  # characters of a token in a cell
_SAYS: Final = "Each row says what would come next if the model ended there."
# What a cell's ground can mean: how it is named, and its ends.
GROUNDS: Final[Mapping[str, str]] = {
    "probability": "probability of that token",
    "entropy": "entropy in nats",
    "kl": "KL divergence of what the model says from that, in nats",
}


def bundle(record: Mapping[str, Any], *, watched: bool, by: str = "probability") -> dict[str, str]:
    """Return a lens as a mime bundle: text/plain and text/html; `by` is one of `GROUNDS`."""
    return {
        "text/plain": _text(record, watched),
        "text/html": without_math(wall(styled("div", FIGURES, _html(record, watched, by)))),
    }


def title(record: Mapping[str, Any]) -> str:
    """Return what is looked at: "Logit lens: text of cria"."""
    kind = "Logit lens" if record["tuned"] is None else f"Tuned lens {record['tuned']}"
    off = f", {record['off']}" if record["off"] else ""
    return clean_line(f"{kind}: {record['title']} of {record['model']}{off}")


def high_end(record: Mapping[str, Any], by: str) -> float:
    """Return the value that has the last colour."""
    if by == "probability":
        return 1.0
    largest = max(cell[by] for column in record["columns"] for cell in column["cells"])
    return min(largest, KL_END) if by == "kl" else float(largest)


def _notes(record: Mapping[str, Any]) -> list[str]:
    notes = [clean_line(note) for note in record["notes"]]
    columns, rows = record["columns"], rows_shown(len(record["layers"]))
    if len(columns) < record["positions"]:
        first, last = columns[0]["position"], columns[-1]["position"]
        notes.append(
            f"Shown are positions {first:,} to {last:,}; all {record['positions']:,} are in to_frame()."
        )
    if len(rows) < len(record["layers"]):
        notes.append(f"Shown are {len(rows)} of {len(record['layers'])} rows.")
    return notes


def rows_shown(count: int) -> tuple[int, ...]:
    """Return which of `count` depths stand in a table: all, or some evenly apart, the ends among them."""
    if count <= MOST_ROWS:
        return tuple(range(count))
    return tuple(round(step * (count - 1) / (MOST_ROWS - 1)) for step in range(MOST_ROWS))


def _text(record: Mapping[str, Any], watched: bool) -> str:
    columns = record["columns"][-_IN_TEXT:]
    headings = ["layer", *(f"after {_short(column['token'])}" for column in columns)]
    rows: list[list[str]] = []
    for row in rows_shown(len(record["layers"])):
        said = [column["cells"][row]["top"][0] for column in columns]
        shown = [f"{_short(text)} {percent(chance, watched=watched)}" for text, _, chance in said]
        rows.append([record["layers"][row], *shown])
    rows.append(["in the text", *(_short(column["next"]) for column in columns)])
    return "\n\n".join([title(record), _SAYS, to_text([table_node(headings, rows)]), *_notes(record)])


def _html(record: Mapping[str, Any], watched: bool, by: str) -> str:
    columns, shown = record["columns"], rows_shown(len(record["layers"]))
    end = high_end(record, by)
    cells = [[column["cells"][row] for column in columns] for row in shown]
    values: list[Sequence[float | None]] = [[_value(cell, by) for cell in row] for row in cells]
    texts = [[_short(cell["top"][0][0]) for cell in row] for row in cells]
    titles = [[_cell_title(record["layers"][row], column, watched) for column in columns] for row in shown]
    values.append([None] * len(columns))
    texts.append([_short(column["next"]) for column in columns])
    titles.append([f"what comes after {_short(column['token'])} in the text" for column in columns])
    table = table_html(
        values,
        [*(record["layers"][row] for row in shown), "in the text"],
        [_short(column["token"]) for column in columns],
        high=end,
        texts=texts,
        titles=titles,
        corner="after",
        label=title(record),
    )
    ends = ("0", "1") if by == "probability" else ("0", f"{end:.3g}" + (" or more" if end == KL_END else ""))
    said = f"{_SAYS} The ground is the {GROUNDS[by]}; point at a cell for more."
    return "".join(
        [
            styled("div", "font-weight:bold", escape(title(record))),
            styled("div", f"{SMALL};{MUTED}", escape(said)),
            table,
            legend_html(*ends),
            *(styled("div", f"{SMALL};{MUTED}", escape(note)) for note in _notes(record)),
        ]
    )


def _value(cell: Mapping[str, Any], by: str) -> float:
    return float(cell["top"][0][2] if by == "probability" else cell[by])


def _cell_title(layer: str, column: Mapping[str, Any], watched: bool) -> str:
    cell = column["cells"][_depth(layer)]
    said = ", ".join(f"{_short(text)} {percent(chance, watched=watched)}" for text, _, chance in cell["top"])
    parts = [
        f"{layer} after {_short(column['token'])} at {column['position']}: {said}",
        f"the model's {_ranked(column['final'], cell['final'], cell['final_rank'], watched)}",
    ]
    if column["next"] is not None:
        parts.append(f"the text's {_ranked(column['next'], cell['next'], cell['next_rank'], watched)}")
    parts.append(
        f"entropy {nats(cell['entropy'], watched=watched)}, KL {nats(cell['kl'], watched=watched)} nats"
    )
    return "; ".join(parts)


def _ranked(text: str, chance: float, rank: int, watched: bool) -> str:
    return f"{_short(text)} {percent(chance, watched=watched)}, rank {rank:,}"


def _depth(layer: str) -> int:
    return int(layer[1:]) + 1 if layer[1:].isdigit() else 0


def _short(text: str | None) -> str:
    if text is None:
        return "\u2013"
    shown = clean_line(visible_text(text))
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "\u2026"
