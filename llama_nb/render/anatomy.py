"""The anatomy of a model as text and as static HTML: its blocks with shapes, parameters and bytes.

Takes the record of an Anatomy (JSON values); where a text was read, statistics layer by layer stand below.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.bars import bar, swatch
from llama_nb.render.clean import clean, clean_line
from llama_nb.render.html import (
    FIGURES,
    LINE,
    MONO,
    MUTED,
    SMALL,
    escape,
    styled,
    to_html,
    wall,
    without_math,
)
from llama_nb.render.nodes import Element
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.units import number, size

_CELL: Final = f"padding:2px 12px 2px 0;border:0;border-bottom:1px solid {LINE};vertical-align:top"
_TABLE: Final = f"color:inherit;font-size:inherit;border-collapse:collapse;margin:0.4em 0;{FIGURES}"
_NAME: Final = "white-space:nowrap"
_HEADS: Final = ("block", "shapes", "parameters", "bytes")
# What is told of each layer: the heading, the kind of place and the column of its statistics.
_DEPTHS: Final = (
    ("x (norm)", None, 0),
    ("attention adds (rms)", "attention", 2),
    ("feed-forward adds (rms)", "feed-forward", 2),
    ("gates < 0", "gate_proj", 5),
)
_MOST_LAYERS: Final = 200


def bundle(record: Mapping[str, Any], *, watched: bool) -> dict[str, str]:
    """Return an anatomy as a mime bundle: text/plain and text/html."""
    return {"text/plain": to_plain(record, watched=watched), "text/html": to_static(record, watched=watched)}


def to_plain(record: Mapping[str, Any], *, watched: bool) -> str:
    """Return it as text."""
    pieces = [title(record), to_text([table_node(_HEADS, _rows(record))]), _cache(record)]
    if record["measured"]:
        pieces += [_read(record["measured"]), to_text([_depth_table(record, watched)])]
    return "\n\n".join(filter(None, pieces))


def to_static(record: Mapping[str, Any], *, watched: bool) -> str:
    """Return it as HTML with inline styles; a block's formula is its title."""
    small = f"{SMALL};{MUTED};margin:0.3em 0"
    pieces = [
        styled("div", "font-weight:600", escape(title(record))),
        _parts(record),
        _blocks_html(record),
        styled("div", small, escape(_cache(record))),
    ]
    if record["measured"]:
        pieces += [
            styled("div", "margin:0.6em 0 0", escape(_read(record["measured"]))),
            to_html([_depth_table(record, watched)]),
        ]
    return without_math(wall(styled("div", f"max-width:760px;{FIGURES}", "".join(pieces))))


def title(record: Mapping[str, Any]) -> str:
    """Return the first line: the model, its layers, parameters and bytes."""
    stored = record["quant"] or record["dtype"]
    return (
        f"Anatomy of {clean_line(record['model'])}: {record['architecture']}, {record['depth']} layers, "
        f"{record['parameters']:,} parameters, {size(record['bytes'])} in {stored}"
    )


def depth_rows(record: Mapping[str, Any]) -> list[list[float | None]]:
    """Return, for each layer, the norm of the residual stream behind it and the figures beside it."""
    measured = record["measured"]
    kinds = {block["name"]: block["kind"] for block in record["blocks"] if block["group"] is not None}
    columns = [measured["residual"]["others"][1:]]
    for _, wanted, column in _DEPTHS[1:]:
        columns.append(_column(measured["sites"], kinds, str(wanted), column, record["depth"]))
    return [list(row) for row in zip(*columns, strict=True)]


def _column(
    sites: Sequence[Mapping[str, Any]], kinds: Mapping[str, str], wanted: str, column: int, depth: int
) -> list[float | None]:
    """A statistic of one kind of place by layer; layers may have it under different names."""
    found: list[float | None] = [None] * depth
    for site in sites:
        kind = kinds.get(site["place"], "")
        same = wanted in (kind, site["place"].rpartition(".")[2])
        if same or (wanted == "feed-forward" and kind == "experts"):
            found = [
                old if row is None else row[column] for old, row in zip(found, site["rows"], strict=True)
            ]
    return found


def _rows(record: Mapping[str, Any]) -> list[list[str]]:
    rows, before = [], None
    for block in record["blocks"]:
        if block["group"] is not None and block["group"] != before:
            rows.append([_layers(record["groups"][block["group"]]), "", "", ""])
        before = block["group"]
        indent = "  " if block["group"] is not None else ""
        rows.append([f"{indent}{_name(block)}", _shapes(block), _count(block), size(block["bytes"])])
    return rows


def _layers(group: Mapping[str, Any]) -> str:
    count = len(group["layers"])
    return f"{count} × (layers {group['text']}), each:" if count > 1 else f"layer {group['text']}:"


def _name(block: Mapping[str, Any]) -> str:
    return f"{block['title']} ({block['summary']})" if block["summary"] else str(block["title"])


def _shapes(block: Mapping[str, Any]) -> str:
    if block["tied"]:
        return "tied"
    shown = [(name.removesuffix(".weight"), shape) for name, shape, *_ in block["tensors"]]
    if len(shown) == 1:
        return str(shown[0][1])
    return ", ".join(f"{clean_line(name)} {shape}" for name, shape in shown)


def _count(block: Mapping[str, Any]) -> str:
    return f"{block['parameters']:,}" if block["parameters"] else "0"


def _cache(record: Mapping[str, Any]) -> str:
    cache = record["cache"]
    if cache["token"] == cache["ungrouped"]:
        return f"KV cache: {size(cache['token'])} a token."
    times = cache["ungrouped"] / cache["token"]
    return (
        f"KV cache: {size(cache['token'])} a token; without grouped queries it would be "
        f"{size(cache['ungrouped'])}, {times:.3g} times as much."
    )


def _read(measured: Mapping[str, Any]) -> str:
    off = f" ({clean_line(measured['off'])})" if measured["off"] else ""
    return f"Activations on {measured['tokens']:,} tokens of the {clean_line(measured['title'])}{off}:"


def _depth_table(record: Mapping[str, Any], watched: bool) -> Element:
    rows = depth_rows(record)
    shown: list[list[str | int | None]] = [
        [layer, *(_figure(value, watched, share=at == 3) for at, value in enumerate(row))]
        for layer, row in enumerate(rows[:_MOST_LAYERS])
    ]
    if len(rows) > _MOST_LAYERS:
        shown.append([f"… {len(rows) - _MOST_LAYERS} more", *[None] * len(_DEPTHS)])
    return table_node(["layer", *(heading for heading, *_ in _DEPTHS)], shown)


def _figure(value: float | None, watched: bool, *, share: bool) -> str | None:
    """Three digits; two where outputs are compared, since sums are rounded otherwise elsewhere."""
    if value is None:
        return None
    rounded = float(f"{100 * value if share else value:.{3 if watched else 2}g}")
    return f"{rounded:g} %" if share else f"{rounded:g}"


def _parts(record: Mapping[str, Any]) -> str:
    """Parameters by part, as one bar with its legend."""
    parts = [(name, count) for name, count, _ in record["parts"] if count]
    said = ", ".join(f"{name} {number(count)}" for name, count in parts)
    chart = bar([count for _, count in parts], record["parameters"], f"Parameters: {said}")
    keys = [
        styled("span", "margin-right:12px", swatch(at) + escape(f"{name} {number(count)}"))
        for at, (name, count) in enumerate(parts)
    ]
    return styled("div", "margin:0.4em 0", chart + styled("div", SMALL, "".join(keys)))


def _blocks_html(record: Mapping[str, Any]) -> str:
    rows = [styled("tr", "", "".join(styled("th", f"{_CELL};text-align:left", name) for name in _HEADS))]
    before = None
    for block in record["blocks"]:
        inside = block["group"] is not None
        if inside and block["group"] != before:
            rows.append(
                _row([styled("strong", "", escape(_layers(record["groups"][block["group"]]))), *[""] * 3])
            )
        before = block["group"]
        shapes = styled("span", f"{MONO};{SMALL}", escape(_shapes(block)))
        summary = styled("span", f"{SMALL};{MUTED}", escape(f" {block['summary']}"))
        name = styled(
            "div", f"{_NAME};padding-left:{16 if inside else 0}px", escape(block["title"]) + summary
        )
        figures = [escape(_count(block)), escape(size(block["bytes"]))]
        rows.append(_row([name, shapes, *figures], formula=_formula(block)))
    return styled("table", _TABLE, "".join(rows))


def _formula(block: Mapping[str, Any]) -> str:
    return clean("\n".join(f"{formula}   {shape}".rstrip() for formula, shape in block["formula"]))


def _row(cells: Sequence[str], formula: str = "") -> str:
    made = [
        styled("td", f"{_CELL};text-align:right;white-space:nowrap" if place > 1 else _CELL, cell)
        for place, cell in enumerate(cells)
    ]
    return styled("tr", "", "".join(made), **({"title": formula} if formula else {}))
