"""A plan as text and as static HTML: verdict, parts as a stacked bar with figures, formats, what else fits.

Takes the record of a Plan; it computes nothing but the lengths of bars.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.bars import COLOURS, bar, swatch
from llama_nb.render.clean import clean, clean_line
from llama_nb.render.html import FIGURES, LINE, MONO, MUTED, SMALL, escape, styled, to_html, wall
from llama_nb.render.memory import LOOKS
from llama_nb.render.nodes import Element
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.units import size

_TEXT_BAR: Final = 40
_ROOM: Final = "max-width:720px;margin:0.6em 0"
_MARKS: Final[Mapping[str, str]] = {"fits": "\u2713", "tight": "!", "does not fit": "\u2717", "unknown": "?"}
_CELL: Final = f"padding:2px 10px 2px 0;border:0;border-bottom:1px solid {LINE};vertical-align:middle"
_TABLE: Final = f"color:inherit;font-size:inherit;border-collapse:collapse;margin:0.4em 0;{FIGURES}"
_WIDE: Final = "min-width:160px"


def plan_bundle(record: Mapping[str, Any]) -> dict[str, str]:
    """Return a Plan's record as a mime bundle of text and HTML."""
    return {"text/plain": plan_text(record), "text/html": plan_html(record)}


def plan_text(record: Mapping[str, Any]) -> str:
    """Return it as text: heading, sentence, parts, what else fits, bounds and notes."""
    stop = record["stops"][record["at"]]
    pieces = [
        f"{clean_line(_heading(record))}\n{_MARKS[record['verdict']]} {clean(record['sentence'])}",
        to_text([_parts(record, stop["bytes"])]),
        _text_bar(record, stop["bytes"], stop["total"]),
    ]
    if record["options"]:
        pieces.append("What fits, cheapest first:\n" + to_text([_options(record)]))
    if record["speed"]:
        pieces.append(to_text([_speeds(record)]))
    return "\n\n".join([*pieces, "\n".join(f"- {clean(note)}" for note in record["notes"])]).rstrip()


def plan_html(record: Mapping[str, Any]) -> str:
    """Return it as HTML with inline styles; the table of formats has a bar for each."""
    stop = record["stops"][record["at"]]
    small = f"{SMALL};{MUTED};margin:0.2em 0"
    pieces = [
        styled("div", "font-weight:600", escape(clean_line(_heading(record)))),
        styled("div", "margin:0.3em 0", escape(f"{_MARKS[record['verdict']]} {clean(record['sentence'])}")),
        bar(stop["bytes"], _full(record, stop["total"]), _spoken(record, stop), colours=_colours(record)),
        _parts_html(record, stop["bytes"]),
    ]
    if record["options"]:
        pieces += [
            styled("div", "margin:0.4em 0 0", "What fits, cheapest first:"),
            to_html([_options(record)]),
        ]
    if record["speed"]:
        pieces.append(to_html([_speeds(record)]))
    if len(record["quants"]) > 1:
        pieces.append(_quants_html(record))
    pieces += [styled("div", small, escape(clean(note))) for note in record["notes"]]
    return wall(styled("div", f"{_ROOM};{FIGURES}", "".join(pieces)))


def quants_text(record: Mapping[str, Any]) -> str:
    """Return the table of all formats as text."""
    return f"{clean_line(_heading(record))}\n\n{to_text([_quants(record)])}"


def quants_html(record: Mapping[str, Any]) -> str:
    """Return the table of all formats, each with its bar, as HTML."""
    heading = styled("div", "font-weight:600", escape(clean_line(_heading(record))))
    return wall(styled("div", f"{_ROOM};{FIGURES}", heading + _quants_html(record)))


def _heading(record: Mapping[str, Any]) -> str:
    work = f"{record['train']} training, " if record["train"] else ""
    batch = f", {record['batch']:,} sequences" if record["batch"] > 1 else ""
    where = f" on {record['device']['name']}" if record["device"]["name"] else ""
    return f"{record['name']}: {work}{record['quant_label']}, {record['context']:,} tokens{batch}{where}"


def _parts(record: Mapping[str, Any], amounts: Sequence[int]) -> Element:
    rows = [
        [clean(part["label"]), size(count), clean(part["detail"])]
        for part, count in zip(record["parts"], amounts, strict=True)
    ]
    return table_node(["part", "bytes", "what it holds"], [*rows, ["total", size(sum(amounts)), ""]])


def _parts_html(record: Mapping[str, Any], amounts: Sequence[int]) -> str:
    colours, rows = _colours(record), []
    for number, (part, count) in enumerate(zip(record["parts"], amounts, strict=True)):
        label = swatch(number, colours=colours) + escape(clean(part["label"]))
        rows.append(_row([label, escape(size(count)), styled("span", SMALL, escape(clean(part["detail"])))]))
    rows.append(_row(["total", escape(size(sum(amounts))), ""]))
    return styled("table", _TABLE, "<tbody>" + "".join(rows) + "</tbody>")


def _quants(record: Mapping[str, Any]) -> Element:
    weights = [part["key"] for part in record["parts"]].index("weights")
    rows = [
        [
            one["quant"],
            f"{one['bits']:.4g}",
            size(one["bytes"][weights]),
            size(one["total"]),
            f"{_MARKS[one['verdict']]} {one['verdict']}",
        ]
        for one in record["quants"]
    ]
    return table_node(["quant", "bits", "weights", "total", "verdict"], rows)


def _quants_html(record: Mapping[str, Any]) -> str:
    most = max([one["total"] for one in record["quants"]])
    full, colours = _full(record, most), _colours(record)
    rows = [
        _row(
            [
                styled("span", MONO, escape(clean(one["quant"]))),
                escape(f"{one['bits']:.4g} bits"),
                escape(size(one["total"])),
                styled("div", _WIDE, bar(one["bytes"], full, size(one["total"]), colours=colours)),
                escape(f"{_MARKS[one['verdict']]} {one['verdict']}"),
            ]
        )
        for one in record["quants"]
    ]
    return styled("table", _TABLE, "<tbody>" + "".join(rows) + "</tbody>")


def _options(record: Mapping[str, Any]) -> Element:
    rows = [
        [clean(one["what"]), size(one["bytes"]) if one["bytes"] is not None else "", clean(one["command"])]
        for one in record["options"]
    ]
    return table_node(["", "needs", "command"], rows)


def _speeds(record: Mapping[str, Any]) -> Element:
    rows = [[clean(one["label"]), clean(one["value"]), clean(one["detail"])] for one in record["speed"]]
    return table_node(["bound", "tokens/s", "from"], rows)


def _text_bar(record: Mapping[str, Any], amounts: Sequence[int], total: int) -> str:
    """A bar of letters, one for each part, against the device's memory where it is known."""
    full = max(_full(record, total), 1)
    letters, place = "", 0.0
    for part, count in zip(record["parts"], amounts, strict=True):
        place += count
        letters += part["key"][0] * (round(_TEXT_BAR * place / full) - len(letters))
    drawn = letters[:_TEXT_BAR].ljust(_TEXT_BAR, ".")
    keys = ", ".join(f"{part['key'][0]} {part['label']}" for part in record["parts"])
    return f"[{drawn}] {size(total)}{_of(record)}\n {keys}"


def _of(record: Mapping[str, Any]) -> str:
    memory = record["device"]["memory"]
    return f" of {size(memory)}" if memory else ""


def _full(record: Mapping[str, Any], total: int) -> int:
    return max(record["device"]["memory"] or 0, total)


def _spoken(record: Mapping[str, Any], stop: Mapping[str, Any]) -> str:
    pairs = zip(record["parts"], stop["bytes"], strict=True)
    said = ", ".join(f"{part['label']} {size(count)}" for part, count in pairs)
    return clean(f"{said}; {size(stop['total'])}{_of(record)}")


def _colours(record: Mapping[str, Any]) -> list[str]:
    return [COLOURS[LOOKS.index(part["key"])] for part in record["parts"]]


def _row(cells: Sequence[str]) -> str:
    return "<tr>" + "".join(styled("td", _CELL, cell) for cell in cells) + "</tr>"
