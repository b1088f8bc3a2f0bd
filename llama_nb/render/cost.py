"""What a volume of tokens costs, as text and as static HTML with bars: sentence, table, chart, assumptions.

Takes the record of a Cost; it computes nothing but the lengths of bars and the words of amounts.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from llama_nb.render.bars import bar, swatch
from llama_nb.render.clean import clean
from llama_nb.render.html import FIGURES, LINE, MUTED, SMALL, escape, styled, to_html, wall, without_math
from llama_nb.render.nodes import Element
from llama_nb.render.reply import ACCENT, SLATE
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text

_CELL: Final = "padding:2px 10px 2px 0;text-align:right;vertical-align:middle;white-space:nowrap;border:0"
_BAR: Final = "padding:2px 10px 2px 0;text-align:left;vertical-align:middle;border:0"
_TABLE: Final = f"color:inherit;font-size:inherit;border-collapse:collapse;margin:0.4em 0;{FIGURES}"
_CHART_HEAD: Final = f"{_BAR};font-weight:600;border-bottom:1px solid {LINE}"
# Providers and rented GPUs; both are seen on white and on black.
COLOURS: Final = (SLATE, ACCENT)
# Bars are logarithmic: below a cent there is no length left.
_LEAST: Final = 0.01


def cost_bundle(record: Mapping[str, Any]) -> dict[str, str]:
    """Return a Cost's record as a mime bundle of text and HTML."""
    return {"text/plain": cost_text(record), "text/html": cost_html(record)}


def cost_text(record: Mapping[str, Any]) -> str:
    """Return it as text: the sentence, both tables, assumptions and notes."""
    parts = [
        clean(_heading(record)),
        clean(sentence(record)),
        to_text([_offers(record)]),
        to_text([_volumes(record)]),
        "\n".join(["Assumptions: " + "; ".join(_assumptions(record["assumptions"])), *_notes(record)]),
    ]
    return "\n\n".join(parts)


def cost_html(record: Mapping[str, Any]) -> str:
    """Return it as HTML with inline styles."""
    small = f"{SMALL};{MUTED};margin:0.2em 0"
    pieces = [
        styled("div", "font-weight:600", escape(clean(_heading(record)))),
        styled("div", "margin:0.3em 0", escape(clean(sentence(record)))),
        to_html([_offers(record)]),
        _chart(record),
        styled("div", small, escape("Assumptions: " + "; ".join(_assumptions(record["assumptions"])))),
        *(styled("div", small, escape(note)) for note in _notes(record)),
    ]
    return without_math(wall(styled("div", FIGURES, "".join(pieces))))


def sentence(record: Mapping[str, Any]) -> str:
    """Return the answer in one or two sentences."""
    rows, api = record["rows"], record["api"]
    if not rows:
        return f"No sourced price for {record['model']}. To add one: {record['edit']}"
    best = f"Cheapest at this volume: {rows[0]['offer']}, {dollars(rows[0]['usd_per_month'])} a month."
    if api is None:
        return f"{best} No provider of it has a sourced price."
    if record["level"] is not None:
        level, volume = record["level"], tokens(record["break_even"])
        return (
            f"{best} A rented {level['name']} ({level['provider']}) costs no more than {api['provider']} "
            f"from {volume} tokens a month on; it is full at {tokens(level['capacity'])}."
        )
    if record["cheapest_full"] is None:
        return best
    return (
        f"{best} Renting never draws level: per million tokens the cheapest server, always full, costs "
        f"{dollars(record['cheapest_full'])}, {api['provider']} {dollars(api['per_million'])}."
    )


def tokens(count: float) -> str:
    """Write a number of tokens: "50 M", "1.5 B"."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size * 0.9995:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"


def dollars(amount: float) -> str:
    """Write dollars: "$0.64", "$3,650", "under $0.001"."""
    if 0 < amount < 0.001:
        return "under $0.001"
    return f"${amount:.3f}" if 0 < amount < 0.1 else f"${amount:,.2f}" if amount < 100 else f"${amount:,.0f}"


def _heading(record: Mapping[str, Any]) -> str:
    return f"{tokens(record['assumptions']['tokens_per_month'])} tokens a month through {record['model']}"


def _offers(record: Mapping[str, Any]) -> Element:
    headings = ["", "$ a month", "$ per M tokens", "GPUs level from", "price", "date"]
    rows = [
        [
            row["offer"],
            _figure(row["usd_per_month"]),
            _figure(row["usd_per_million"]),
            _level(row, rented=record["cheapest_full"] is not None),
            row["price"] + _speed(row["tokens_per_s"]),
            row["date"],
        ]
        for row in record["rows"]
    ]
    return table_node(headings, rows)


def _figure(amount: float) -> str:
    """Write dollars under a heading that has their sign, so that the column is one of numbers."""
    return dollars(amount).replace("$", "")


def _level(row: Mapping[str, Any], *, rented: bool) -> str:
    """Write from which volume on renting costs no more; nothing where nothing can be rented."""
    if row["kind"] != "api" or not rented:
        return ""
    return "never" if row["break_even"] is None else tokens(row["break_even"])


def _speed(rate: float | None) -> str:
    return "" if rate is None else f", at most {rate:,.0f} tokens/s"


def _volumes(record: Mapping[str, Any]) -> Element:
    rows = [
        [
            _volume(point),
            *("" if point[kind] is None else _figure(point[kind]) for kind in ("api", "own")),
            _cheaper(point),
        ]
        for point in record["curve"]
    ]
    return table_node(["tokens a month", "$: cheapest provider", "$: cheapest rented GPUs", "cheaper"], rows)


def _volume(point: Mapping[str, Any]) -> str:
    return tokens(point["tokens"]) + (f" ({point['mark']})" if point["mark"] else "")


def _cheaper(point: Mapping[str, Any]) -> str:
    if point["api"] is None or point["own"] is None:
        return ""
    if point["mark"] == "level":
        return "both cost the same"
    return "GPUs" if point["own"] <= point["api"] else "provider"


def _chart(record: Mapping[str, Any]) -> str:
    curve: Sequence[Mapping[str, Any]] = record["curve"]
    kinds = [
        (number, kind, name)
        for number, (kind, name) in enumerate((("api", "cheapest provider"), ("own", "cheapest rented GPUs")))
        if any(point[kind] is not None for point in curve)
    ]
    if not kinds:
        return ""
    most = max(point[kind] for point in curve for _, kind, _ in kinds if point[kind] is not None)
    full = _length(most)
    heads = [styled("th", f"{_CHART_HEAD};text-align:right", "tokens a month")]
    for number, _, name in kinds:
        heads.append(
            styled("th", _CHART_HEAD, swatch(number, colours=COLOURS) + escape(f"{name}, dollars a month"))
        )
        heads.append(styled("th", _CHART_HEAD, ""))
    heads.append(styled("th", _CHART_HEAD, "cheaper"))
    rows = [styled("tr", "", "".join(heads))]
    rows += [styled("tr", "", "".join(_chart_cells(point, kinds, full))) for point in curve]
    table = styled("table", _TABLE, styled("tbody", "", "".join(rows)))
    return table + styled(
        "div", f"{SMALL};{MUTED}", "Bars are logarithmic: each tenfold sum is as much longer."
    )


def _chart_cells(
    point: Mapping[str, Any], kinds: Iterable[tuple[int, str, str]], full: float
) -> Iterable[str]:
    weight = ";font-weight:700" if point["mark"] else ""
    volume = _volume(point)
    yield styled("td", _CELL + weight, escape(volume))
    for number, kind, name in kinds:
        amount = point[kind]
        if amount is None:
            yield from (styled("td", _CELL, ""), styled("td", _CELL, ""))
            continue
        label = f"{name} at {volume} tokens a month: {dollars(amount)}"
        drawn = bar([_length(amount)], full, label, colours=COLOURS[number:])
        yield styled("td", f"{_BAR};width:180px", drawn)
        yield styled("td", _CELL + weight, escape(dollars(amount)))
    yield styled("td", _BAR + weight, escape(_cheaper(point)))


def _length(amount: float) -> float:
    return math.log10(max(amount, _LEAST) / _LEAST)


def _assumptions(assumed: Mapping[str, Any]) -> list[str]:
    batch = "as many as fit, 16 to 64," if assumed["batch"] is None else assumed["batch"]
    speed = assumed["tokens_per_s"]
    return [
        f"{assumed['input_share']:.0%} of the tokens are prompts (input_share)",
        f"{assumed['utilisation']:.0%} of "
        + ("the makers' bound" if speed is None else f"{speed:,.0f} tokens/s")
        + " is reached over the rented hours (utilisation)",
        f"{assumed['hours']:g} rented hours a month (hours)",
        f"{batch} sequences at once (batch) of {assumed['context']:,} tokens each (context)",
        f"weights in {'bfloat16' if assumed['quant'] == 'none' else assumed['quant']} (quant)",
    ]


def _notes(record: Mapping[str, Any]) -> list[str]:
    dates = record["dates"]
    span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}" if dates else "no date"
    own = " with your own over them" if record["own_prices"] else ""
    return [
        f"Prices of {span}{own}, not of today; edit with {record['edit']}.",
        *(clean(note) for note in record["notes"]),
    ]
