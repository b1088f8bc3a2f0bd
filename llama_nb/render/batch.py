"""The result of a batch: how many rows were answered, and the first of them.

Takes the session's BatchResult as it is (its attributes, by name). Where nobody watches there are no rates
and no file names.
"""

from typing import Any, Final

from llama_nb.render.clean import clean_line
from llama_nb.render.html import to_html
from llama_nb.render.nodes import element
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text

_HEAD: Final = 5
_ERRORS: Final = 3
_PROMPT, _REPLY, _LABEL = 60, 90, 20  # characters shown


def bundle(result: Any, *, watched: bool) -> dict[str, str]:
    """Return a BatchResult as a mime bundle: text/plain and text/html."""
    nodes = [element("p", title(result))]
    nodes += [element("p", line) for line in _lines(result, watched=watched)]
    nodes.append(table_node(("row", "prompt", "reply", "tokens"), _head(result)))
    left = len(result.rows) - _HEAD
    if left > 0:
        nodes.append(element("p", f"{left:,} more: .to_frame() has them all."))
    return {"text/plain": to_text(nodes), "text/html": to_html(nodes)}


def title(result: Any) -> str:
    """Return one sentence that counts the rows."""
    failed = len(result.errors)
    answered = sum(row.reply is not None for row in result.rows)
    counts = [f"{answered:,} of {len(result.rows):,} rows answered"]
    counts += [f"{failed:,} failed"] if failed else []
    counts += [f"{result.missing:,} not computed"] if result.missing else []
    return f"{clean_line(result.model)}: {', '.join(counts)}"


def _lines(result: Any, *, watched: bool) -> list[str]:
    lines = []
    if result.restored:
        place = f"in {clean_line(result.out)}" if watched and result.out else "in the file of results"
        lines.append(f"{result.restored:,} rows were {place} already and were not computed again.")
    if watched and result.tokens_per_s is not None:
        speed = f"{result.tokens_per_s:,.0f} tokens/s"
        lines.append(f"{result.computed_tokens:,} tokens in {result.seconds:.3g} s: {speed}.")
    if result.stopped and result.missing:
        lines.append(
            "Stopped. Run it again to go on: what is in the file is not computed again."
            if result.out
            else "Stopped. With --out FILE (out=...) it can go on where it was stopped."
        )
    failed = list(result.errors.items())
    lines += [f"Row {_label(result, row)}: {_short(why, 150)}" for row, why in failed[:_ERRORS]]
    if len(failed) > _ERRORS:
        lines.append(f"{len(failed) - _ERRORS:,} more failed: .errors has the reasons.")
    return lines


def _head(result: Any) -> list[tuple[str | int | None, ...]]:
    return [
        (
            _label(result, row.row),
            _short(row.prompt, _PROMPT),
            _short(row.reply, _REPLY) if row.reply is not None else row.finish or "not computed",
            row.tokens if row.reply is not None else None,
        )
        for row in result.rows[:_HEAD]
    ]


def _label(result: Any, row: int) -> str:
    return _short(str(result.index[row] if result.index is not None else row), _LABEL)


def _short(text: str, limit: int) -> str:
    line = clean_line(" ".join(text[: 4 * limit].split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"
