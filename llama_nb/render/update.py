"""How large an adapter's update is in each layer, as two maps with their figures; needs no scripts.

Takes the record of `session.update_view.UpdateView` (JSON values). Names in it are untrusted and cleaned.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from llama_nb.render.clean import clean_line
from llama_nb.render.heat_map import legend_html, picture_html, png, table_html
from llama_nb.render.html import FIGURES, MUTED, SMALL, escape, styled, wall, without_math
from llama_nb.render.table import Cell, table_node
from llama_nb.render.text import to_text

MOST_CELLS: Final = 1_100
_STRONGEST: Final = 5
_PICTURE: Final = 420  # pixels that a map is wide where its figures would be too many
_NOTE: Final = f"{SMALL};{MUTED};margin:0.2em 0 0.6em"
_BOLD: Final = "font-weight:bold;margin-top:0.4em"

Values = Sequence[Sequence[float | None]]


def bundle(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the maps as a mime bundle: text/plain and text/html.

    Parameters
    ----------
    record
        `adapter`, `model`, `method`, `rank`, `layers` (numbers), `kinds` (names); `norms`, `relative` (None
        where the base's weights are quantised), `ranks` and `directions`, each layers x kinds with None where
        the adapter is not.
    """
    title = (
        f"The update of {clean_line(record['adapter'])} in {clean_line(record['model'])}: "
        f"{record['method']}, rank {record['rank']}"
    )
    relative = record["relative"]
    sizes: Values = record["norms"] if relative is None else _per_cent(relative)
    size_words = (
        "Size: the update's norm (the base's own weights are quantised: nothing to compare it with)"
        if relative is None
        else "Size: the update's norm in % of the norm of the layer's own weight"
    )
    rank_words = (
        f"how many of the {record['rank']} directions the update really takes. Near 1, a smaller rank would "
        f"have done; near {record['rank']}, a larger one may help."
    )
    strongest = _strongest(record, sizes)
    unit = "" if relative is None else " %"
    rows: list[list[Cell]] = [
        [name, f"{_short(size)}{unit}", f"{rank:.1f}", str(directions)]
        for name, size, rank, directions in strongest
    ]
    nodes = [table_node(("strongest", "size", "effective rank", "directions for 90 %"), rows)]
    text = "\n\n".join((title, f"{size_words}.", to_text(nodes), f"Effective rank: {rank_words}"))
    most = f" Most in {strongest[0][0]}." if strongest else ""
    page = [
        styled("div", _BOLD, escape(title)),
        styled("div", _NOTE, escape(f"{size_words}.{most}")),
        _map(record, sizes, _short, size_words, unit),
        styled("div", _BOLD, "Effective rank"),
        styled("div", _NOTE, escape(f"{rank_words[0].upper()}{rank_words[1:]}")),
        _map(record, record["ranks"], "{:.1f}".format, "Effective rank", "", float(record["rank"])),
    ]
    html = without_math(wall(styled("div", FIGURES, "".join(page)), pictures=True))
    return {"text/plain": text, "text/html": html}


def _strongest(record: Mapping[str, Any], sizes: Values) -> list[tuple[str, float, float, int]]:
    found = [
        (f"layer {layer} {kind}", size, record["ranks"][row][column], record["directions"][row][column])
        for row, layer in enumerate(record["layers"])
        for column, kind in enumerate(record["kinds"])
        if (size := sizes[row][column]) is not None
    ]
    return sorted(found, key=lambda each: -each[1])[:_STRONGEST]


def _map(
    record: Mapping[str, Any],
    values: Values,
    write: Callable[[float], str],
    label: str,
    unit: str,
    high: float = 0.0,
) -> str:
    """Return the values as a table on colours, or as a picture where there are too many, with a legend."""
    known = [value for row in values for value in row if value is not None]
    high = high or max(known, default=0.0) or 1.0
    rows = [f"L{layer}" for layer in record["layers"]]
    columns = [clean_line(kind) for kind in record["kinds"]]
    legend = legend_html("0", f"{write(high)}{unit}")
    if len(rows) * len(columns) <= MOST_CELLS:
        texts = [["\u2013" if value is None else write(value) for value in row] for row in values]
        table = table_html(values, rows, columns, high=high, texts=texts, corner="layer", label=label)
        return table + legend
    import numpy as np

    shares = np.array([[min(max((value or 0.0) / high, 0.0), 1.0) for value in row] for row in values])
    scale = max(2, _PICTURE // max(len(columns), 1))
    pixels = np.rint(255 * shares).astype(np.uint8)
    width, height = scale * pixels.shape[1], scale * pixels.shape[0]
    return picture_html(png(pixels, scale=scale), label, width, height) + legend


def _per_cent(shares: Values) -> Values:
    return [[None if share is None else 100 * share for share in row] for row in shares]


def _short(value: float) -> str:
    """Write a size for a small cell: two significant digits."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"
