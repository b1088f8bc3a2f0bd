"""A comparison as a table: an answer a cell, the first token that differs marked, KL as shades with values.

It takes the record of `session.comparison.Comparison` (JSON values). What is equal to the reference is dim,
the token that differs is underlined, and in a text it has a mark before it; shades are those of `why`. Where
nobody watches there are no rates, and figures have two digits.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.clean import clean, clean_line
from llama_nb.render.html import FIGURES, LINE, MUTED, SMALL, escape, styled, wall
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.tokens import PILL, visible_text
from llama_nb.render.why import look

MARK: Final = "\u25b8"  # before the first token that differs, in a text
ENDS: Final = "\u25a0 ends here"
MOST_SHOWN: Final = 4_000  # characters of an answer
MOST_SHADED: Final = 400  # tokens of a strip
# Classes of divergence in nats: class k holds what is at least EDGES[k - 1].
EDGES: Final = (0.001, 0.01, 0.1, 1.0)
_LARGEST: Final = 3
_TITLE: Final = 70
_SMALLEST: Final = 1e-4

_CELL: Final = f"border:1px solid {LINE};padding:5px 9px;text-align:left;vertical-align:top;min-width:130px"
_HEAD: Final = f"border:1px solid {LINE};padding:3px 9px;text-align:left;vertical-align:top"
_TABLE: Final = f"border-collapse:collapse;color:inherit;font-size:inherit;margin:0.4em 0;{FIGURES}"
_ANSWER: Final = "white-space:pre-wrap;overflow-wrap:break-word;max-width:60ch"
_DIFFERS: Final = "border-bottom:3px double rgba(128,128,128,0.9);font-weight:600"
_STRIP: Final = "line-height:1.9;overflow-wrap:break-word;margin:0.3em 0"

_ENDS: Final = {
    "length": "max_tokens reached",
    "context": "context full",
    "stopped": "stopped",
    "stop_string": "stop string",
}
_STATES: Final = {
    "waiting": "waits",
    "loading": "is loaded",
    "measuring": "KL is measured",
    "skipped": "not begun",
    "failed": "failed",
}


def bundle(record: Mapping[str, Any], *, watched: bool) -> dict[str, str]:
    """Return a comparison as a mime bundle: text/plain and text/html."""
    return {"text/plain": _text(record, watched), "text/html": _html(record, watched)}


def title(record: Mapping[str, Any]) -> str:
    """Return one line: how many answers to what, of which models."""
    count = len(record["cells"])
    asked = clean_line(record["message"])
    asked = asked if len(asked) <= _TITLE else f"{asked[: _TITLE - 1]}\u2026"
    models = ", ".join(map(clean_line, record["models"]))
    return f"{count} {'answer' if count == 1 else 'answers'} of {models} to \u201c{asked}\u201d"


def progress(record: Mapping[str, Any]) -> str:
    """Return how far it is, or how it ended where that is not as it should be."""
    cells = record["cells"]
    done = sum(cell["state"] in ("done", "measuring") for cell in cells)
    failed = sum(cell["state"] == "failed" for cell in cells)
    parts = [f"{done} of {len(cells)} answered"]
    parts += [f"{failed} failed"] if failed else []
    if record["stopped"]:
        parts.append("stopped: the rest was not begun" if record["done"] else "stopping")
    return ", ".join(parts)


def status(cell: Mapping[str, Any], *, watched: bool) -> str:
    """Return a cell's line: `34 tokens · 45.1 tokens/s · max_tokens reached`."""
    if cell["detail"] and not cell["tokens"]:
        return clean_line(cell["detail"])
    if not cell["tokens"]:
        return _STATES.get(cell["state"], "reads the prompt" if cell["state"] == "writing" else "no tokens")
    parts = [f"{cell['tokens']:,} {'token' if cell['tokens'] == 1 else 'tokens'}"]
    first, total = cell["first_token_s"], cell["total_s"]
    if watched and first is not None and total is not None and total > first and cell["tokens"] > 1:
        parts.append(f"{(cell['tokens'] - 1) / (total - first):,.3g} tokens/s")
    parts += [end] if (end := _ENDS.get(cell["finish"])) else []
    parts += [_STATES["measuring"]] if cell["state"] == "measuring" else []
    return " \u00b7 ".join(parts)


def verdict(cell: Mapping[str, Any], *, watched: bool) -> str:
    """Return how a cell compares with its reference: `differs from 1 at token 7 · mean KL 0.012`."""
    number = cell["reference"]
    if number is None or not cell["tokens"]:
        return ""
    place = cell["place"]
    done = cell["state"] in ("done", "measuring")
    same = f"the same as {number}" if done else f"so far the same as {number}"
    parts = [same if place is None else f"differs from {number} at token {place}"]
    if cell["mean_kl"] is not None:
        parts.append(f"mean KL {nats(cell['mean_kl'], watched=watched)}")
    return " \u00b7 ".join(parts)


def nats(value: float | None, *, watched: bool) -> str:
    """Write a divergence; None is infinite."""
    if value is None:
        return "\u221e"
    if 0 < value < _SMALLEST:
        return "<0.0001"
    return f"{value:.3g}" if watched else f"{value:.2g}"


def shade(value: float | None) -> int:
    """Return the class of a divergence, 0 to 4."""
    return len(EDGES) if value is None else sum(value >= edge for edge in EDGES)


def notes(record: Mapping[str, Any]) -> list[str]:
    """Return the sentences below: those of the comparison, then those of cells, each once."""
    found = list(record["notes"])
    cells = [cell for cell in record["cells"] if cell["reference"] is not None and cell["kl_note"]]
    found += [f"No KL: {note}." for note in dict.fromkeys(cell["kl_note"] for cell in cells)]
    found += dict.fromkeys(note for cell in record["cells"] for note in cell["notes"])
    return [clean_line(note) for note in found]


def _text(record: Mapping[str, Any], watched: bool) -> str:
    measured = any(cell["mean_kl"] is not None for cell in record["cells"])
    headings = ["#", "answer", "tokens", "end", "first difference", *(["mean KL (nats)"] if measured else [])]
    rows = []
    for cell in record["cells"]:
        row: list[str | int | None] = [cell["number"], clean_line(cell["label"]), cell["tokens"] or None]
        row += [_end(cell), _difference(cell)]
        if measured:
            row.append(nats(cell["mean_kl"], watched=watched) if cell["mean_kl"] is not None else "")
        rows.append(row)
    parts = [title(record), to_text([table_node(headings, rows)])]
    if not record["done"] or record["stopped"]:
        parts.insert(1, progress(record))
    begun = [cell for cell in record["cells"] if cell["tokens"] or cell["error"]]
    parts += [_answer_text(cell) for cell in begun]
    parts += [_strip_text(cell, record, watched) for cell in _measured(record)]
    return "\n\n".join([*parts, *notes(record)])


def _end(cell: Mapping[str, Any]) -> str:
    if cell["state"] == "done":
        return _ENDS.get(cell["finish"], "end")
    return _STATES.get(cell["state"], "is written")


def _difference(cell: Mapping[str, Any]) -> str:
    if cell["reference"] is None or not cell["tokens"]:
        return ""
    number, place = cell["reference"], cell["place"]
    return f"same as {number}" if place is None else f"from {number} at token {place}"


def _answer_text(cell: Mapping[str, Any]) -> str:
    head = f"[{cell['number']}] {clean_line(cell['label'])}"
    if cell["error"]:
        head += f": {clean_line(cell['error'])}"
    text = _short(cell["common"])
    if cell["reference"] is not None and cell["place"] is None and cell["tokens"]:
        return f"{head}\n(the same as [{cell['reference']}])"
    if cell["place"] is not None:
        text += f"{MARK}{clean(cell['mark'] + _short(cell['rest']))}" if cell["mark"] else f"{MARK}({ENDS})"
    return f"{head}\n{text}".rstrip()


def _strip_text(cell: Mapping[str, Any], record: Mapping[str, Any], watched: bool) -> str:
    largest = ", ".join(
        f"{nats(value, watched=watched)} at token {place} {visible_text(text)}"
        for place, text, value in _largest(cell, record)
    )
    mean = nats(cell["mean_kl"], watched=watched)
    return (
        f"KL of [{cell['number']}] {clean_line(cell['label'])} from [{cell['reference']}], in nats, along "
        f"the answer of [{cell['reference']}]: mean {mean}, largest {largest}"
    )


def _html(record: Mapping[str, Any], watched: bool) -> str:
    pieces = [styled("div", "font-weight:bold", escape(title(record)))]
    if record["system"]:
        pieces.append(styled("div", f"{SMALL};{MUTED}", escape(f"System: {clean_line(record['system'])}")))
    if not record["done"] or record["stopped"]:
        pieces.append(styled("div", SMALL, escape(progress(record))))
    pieces.append(styled("div", "overflow:auto", _table(record, watched)))
    if any(cell["place"] is not None for cell in record["cells"]):
        mark = styled("span", _DIFFERS, "underlined")
        legend = f"Dim: as in the reference. {mark}: the first token that differs."
        pieces.append(styled("div", SMALL, legend))
    measured = _measured(record)
    if measured:
        pieces.append(_kl_html(measured, record, watched))
    pieces += [styled("div", f"{SMALL};{MUTED};margin:0.3em 0 0", escape(note)) for note in notes(record)]
    return wall(styled("div", FIGURES, "".join(pieces)))


def _table(record: Mapping[str, Any], watched: bool) -> str:
    named = any(record["rows"])
    body = []
    if any(record["columns"]):
        heads = [*([""] if named else []), *record["columns"]]
        body.append(
            styled("tr", "", "".join(styled("th", _HEAD, escape(clean_line(head))) for head in heads))
        )
    for row, name in enumerate(record["rows"]):
        cells = [styled("th", _HEAD, escape(clean_line(name)))] if named else []
        for column in range(len(record["columns"])):
            found = _at(record["cells"], row, column)
            inner = (
                "" if found is None else _as_above(found) if found["row"] != row else _cell(found, watched)
            )
            cells.append(styled("td", _CELL, inner))
        body.append(styled("tr", "", "".join(cells)))
    return styled("table", _TABLE, "".join(body))


def _at(cells: Sequence[Mapping[str, Any]], row: int, column: int) -> Mapping[str, Any] | None:
    for cell in cells:
        if cell["column"] == column and cell["row"] <= row < cell["row"] + cell["span"]:
            return cell
    return None


def _as_above(cell: Mapping[str, Any]) -> str:
    return styled("span", f"{SMALL};{MUTED}", escape(f"as {cell['number']}, whatever the seed"))


def _cell(cell: Mapping[str, Any], watched: bool) -> str:
    number = styled("span", f"{SMALL};{MUTED};margin-right:6px", escape(str(cell["number"])))
    compared = cell["reference"] is not None
    space, word = _spaced(clean(cell["mark"]))
    common = escape(clean(_short(cell["common"])) + space)
    answer = styled("span", MUTED, common) if compared and cell["tokens"] else common
    if cell["place"] is not None:
        answer += (
            styled("span", _DIFFERS, escape(word), title=f"token {cell['place']}")
            if word
            else styled("span", PILL, escape(ENDS))
        )
        answer += escape(clean(_short(cell["rest"])))
    pieces = [styled("div", _ANSWER, number + answer)]
    if cell["error"]:
        pieces.append(styled("div", f"{SMALL};font-weight:600", escape(clean_line(cell["error"]))))
        pieces.append(styled("div", SMALL, escape(clean_line(cell["hint"]))))
    lines = [status(cell, watched=watched), verdict(cell, watched=watched)]
    pieces += [styled("div", f"{SMALL};{MUTED}", escape(line)) for line in lines if line]
    return "".join(pieces)


def _spaced(token: str) -> tuple[str, str]:
    """Return a token's leading space, which is not marked, and a word; white space alone is made visible."""
    word = token.lstrip()
    if not word:
        return "", token and visible_text(token)
    return token[: len(token) - len(word)], word


def _measured(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [cell for cell in record["cells"] if cell["kl"] and _pieces(cell, record)]


def _pieces(cell: Mapping[str, Any], record: Mapping[str, Any]) -> Sequence[tuple[str, bool]]:
    """The tokens of the answer that a cell's divergence goes along."""
    found: Sequence[tuple[str, bool]] = record["cells"][cell["reference"] - 1].get("pieces", ())
    return found


def _largest(cell: Mapping[str, Any], record: Mapping[str, Any]) -> list[tuple[int, str, float | None]]:
    """Place, text and value of the largest divergences, the largest first."""
    pieces = _pieces(cell, record)
    rows = [(place, pieces[place][0], value) for place, value in enumerate(cell["kl"])]
    rows.sort(key=lambda row: -(float("inf") if row[2] is None else row[2]))
    return rows[:_LARGEST]


def _kl_html(cells: Sequence[Mapping[str, Any]], record: Mapping[str, Any], watched: bool) -> str:
    names = ["below 0.001 nats", *(f"from {edge:g}" for edge in EDGES)]
    legend = " ".join(
        styled("span", f"{look(level)};padding:1px 4px", escape(name)) for level, name in enumerate(names)
    )
    head = "KL divergence of each next-token prediction, along the reference's answer; point at a token."
    pieces = [styled("div", f"{SMALL};margin:0.8em 0 0", escape(head)), styled("div", SMALL, legend)]
    for cell in cells:
        chips = []
        for place, ((text, special), value) in enumerate(
            zip(_pieces(cell, record)[:MOST_SHADED], cell["kl"], strict=False)
        ):
            style = f"{PILL};{look(shade(value))}" if special else look(shade(value))
            tip = f"token {place}: {nats(value, watched=watched)} nats"
            chip = styled("code", style, escape(visible_text(text)), title=tip)
            chips.append(chip + ("<br>" if text.endswith("\n") else ""))
        pieces.append(styled("div", f"{SMALL};margin:0.6em 0 0", escape(_strip_text(cell, record, watched))))
        pieces.append(styled("div", _STRIP, "\u200b".join(chips)))
    return "".join(pieces)


def _short(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} \u2026"
