"""Heat maps without scripts: a picture of many values, or a table of a few with names for rows and columns.

A cell's text stands on a ground of ours, so it is black or white, whichever can be read there; without styles
(GitHub takes them off) the figures remain. Knows colours and sizes; knows nothing of what the values mean.
"""

import base64
import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from llama_nb.render.clean import clean_line
from llama_nb.render.colour_maps import SEQUENTIAL, ColourMap, colour, css, ink
from llama_nb.render.html import FIGURES, MUTED, SMALL, escape, styled

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Row = Sequence[float | None]

_TABLE: Final = f"border-collapse:collapse;color:inherit;font-size:0.8em;white-space:nowrap;{FIGURES}"
_NAME: Final = f"padding:1px 6px;text-align:right;font-weight:normal;{MUTED}"
_HEAD: Final = f"padding:1px 4px;text-align:center;font-weight:normal;{MUTED}"
# JupyterLab aligns cells to the right; the rest they take from their table, since there may be a thousand.
_CELL: Final = "padding:2px 4px;text-align:center"
_EMPTY: Final = f"{_CELL};{MUTED}"
_STEP: Final = "display:inline-block;width:6px;height:10px"
_LEGEND_STEPS: Final = 24


def png(
    values: "npt.NDArray[np.uint8]",
    colours: ColourMap = SEQUENTIAL,
    scale: int = 1,
    *,
    clear: int | None = None,
) -> bytes:
    """Return values as a PNG with a palette.

    Parameters
    ----------
    values
        Shape (height, width); each is an index into `colours`.
    colours
        256 colours.
    scale
        Each value becomes a square of so many pixels.
    clear
        A value through which the page is seen.
    """
    from PIL import Image

    if values.ndim != 2 or values.dtype.name != "uint8":
        raise ValueError(
            f"A picture is made of uint8 (height, width), not {values.dtype.name} {values.shape}."
        )
    picture = Image.frombytes("P", values.shape[::-1], values.tobytes())
    picture.putpalette([part for entry in colours for part in entry])
    if scale > 1:
        picture = picture.resize((scale * values.shape[1], scale * values.shape[0]), Image.Resampling.NEAREST)
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True, **({} if clear is None else {"transparency": clear}))
    return written.getvalue()


def picture_html(picture: bytes, alt: str, width: int, height: int) -> str:
    """Return a PNG of ours as an element that holds it; `wall(html, pictures=True)` lets it through.

    Parameters
    ----------
    alt
        What it shows, for those who do not see it.
    width, height
        In CSS pixels.
    """
    data = base64.b64encode(picture).decode("ascii")
    style = "max-width:100%;display:block"
    return (
        f'<img src="data:image/png;base64,{data}" alt="{escape(clean_line(alt))}" width="{width}"'
        f' height="{height}" style="{style}">'
    )


def two_digits(value: float) -> str:
    """Write a share for a small cell: ".87", "1", "0"; a dash where there is none."""
    if math.isnan(value):
        return "\u2013"
    sign, text = "-" if value <= -0.005 else "", f"{abs(value):.2f}".rstrip("0").rstrip(".")
    return sign + (text[1:] if text.startswith("0.") else text)


def table_html(
    values: Sequence[Row],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    colours: ColourMap = SEQUENTIAL,
    low: float = 0.0,
    high: float = 1.0,
    texts: Sequence[Sequence[str]] | None = None,
    titles: Sequence[Sequence[str]] | None = None,
    write: Callable[[float], str] = two_digits,
    corner: str = "",
    label: str = "",
) -> str:
    """Return a labelled heat map as a table; the caller passes it through `wall` (and `without_math`).

    Parameters
    ----------
    values
        A row a name in `rows`; None or NaN is a cell without colour.
    rows, columns
        Names; whatever they are, they stay text.
    low, high
        The values of the first and the last colour; what is outside takes the end that is nearer.
    texts
        What stands in the cells; default the values as `write` writes them.
    titles
        What a cell says when it is pointed at; default its row, its column and its value.
    corner
        What stands above the names of the rows and before those of the columns: "layer / head".
    label
        What the table is called by screen readers.
    """
    head = styled("th", _NAME, escape(clean_line(corner)))
    head += "".join(styled("th", _HEAD, escape(clean_line(name))) for name in columns)
    body = [styled("tr", "", head)]
    for y, (name, row) in enumerate(zip(rows, values, strict=True)):
        cells = [styled("th", _NAME, escape(clean_line(name)))]
        for x, (column, value) in enumerate(zip(columns, row, strict=True)):
            text = texts[y][x] if texts is not None else write(math.nan if value is None else value)
            title = titles[y][x] if titles is not None else _title(name, column, text)
            cells.append(_cell(value, clean_line(text), clean_line(title), colours, low, high))
        body.append(styled("tr", "", "".join(cells)))
    named = {"aria_label": clean_line(label)} if label else {}
    table = styled("table", _TABLE, "".join(body), **named)
    return styled("div", "overflow:auto;max-width:100%", table)


def legend_html(low: str, high: str, *, colours: ColourMap = SEQUENTIAL, middle: str = "") -> str:
    """Return the scale of a heat map: its colours in a row, between what the ends mean."""
    shares = (index / (_LEGEND_STEPS - 1) for index in range(_LEGEND_STEPS))
    steps = "".join(styled("span", f"{_STEP};background-color:{css(colours, share)}", "") for share in shares)
    between = f" {escape(middle)} " if middle else " "
    return styled("div", f"{SMALL};margin:0.3em 0", f"{escape(low)} {steps}{between}{escape(high)}")


def _cell(value: float | None, text: str, title: str, colours: ColourMap, low: float, high: float) -> str:
    if value is None or math.isnan(value):
        return styled("td", _EMPTY, escape(text), title=title)
    share = (value - low) / (high - low) if high > low else 0.0
    ground = colour(colours, share)
    style = f"{_CELL};background-color:{css(colours, share)};color:{ink(ground)}"
    return styled("td", style, escape(text), title=title)


def _title(row: str, column: str, text: str) -> str:
    return f"{row}, {column}: {text}"
