"""Line charts without scripts: a picture of lines on a clear ground, for light and dark, and labels as text.

Knows points and colours; knows nothing of what they mean. The labels are HTML, since no colour of a text
that stands in a picture can be read on both grounds.
"""

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

from llama_nb.render.clean import clean_line
from llama_nb.render.heat_map import picture_html
from llama_nb.render.html import FIGURES, MUTED, SMALL, escape, styled

Look = Literal["line", "dots", "dashed"]
# Each has a contrast of at least 3 on white and on JupyterLab's dark #111 (tests/render/test_line_chart.py).
COLOURS: Final = ("#2b7fc4", "#d55e00", "#009067", "#b8659a", "#a07400", "#808080")
_GRID: Final = (128, 128, 128, 90)
_FINER: Final = 3  # drawn so much larger, then made smaller: that smooths the lines
_DOT: Final = 1.6  # radius, in CSS pixels
_STROKE: Final = 1.8
_DASH: Final = 5.0
_TICKS: Final = 4
_LABEL: Final = 14  # CSS pixels of height
_BESIDE: Final = "display:inline-block;vertical-align:top"
_NUMBER: Final = f"height:{_LABEL}px;line-height:{_LABEL}px;width:58px;padding:0 6px 0 0;text-align:right"
_PALETTE: Final = 64


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: its points by rising x, and how it looks; dots do not stretch the scale by outliers."""

    label: str
    points: Sequence[tuple[float, float | None]]
    colour: str = COLOURS[0]
    look: Look = "line"


@dataclass(frozen=True, slots=True)
class Frame:
    """The part of the plane that is shown."""

    left: float
    right: float
    low: float
    high: float

    def place(self, x: float, y: float, width: float, height: float) -> tuple[float, float]:
        """Return where a point is in a picture; what is above or below the frame stands at its edge."""
        across = (x - self.left) / (self.right - self.left) if self.right > self.left else 0.5
        up = (y - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return across * width, (1 - min(1.0, max(0.0, up))) * height


def chart_html(lines: Sequence[Line], alt: str, *, width: int = 480, height: int = 150) -> str:
    """Return a chart with its axes and its legend, or an empty text if there is nothing to draw.

    The caller passes it through `wall(html, pictures=True)`.

    Parameters
    ----------
    alt
        What it shows, for those who do not see it.
    width, height
        Of the picture, in CSS pixels.
    """
    shown = frame(lines)
    if shown is None:
        return ""
    marks = ticks(shown.low, shown.high)
    picture = picture_html(chart_png(lines, shown, marks, width, height), alt, width, height)
    # No table: pages give its rows a ground of their own.
    scale = styled("div", f"{_BESIDE};{FIGURES};{SMALL};{MUTED}", _scale(marks, shown, height))
    drawn = styled("div", f"{_BESIDE};width:{width}px", picture + _steps(shown))
    return _legend(lines) + styled("div", "overflow:auto;white-space:nowrap;margin:0.3em 0", scale + drawn)


def chart_png(lines: Sequence[Line], shown: Frame, marks: Sequence[float], width: int, height: int) -> bytes:
    """Return the lines as a PNG on a clear ground, twice as fine as its CSS pixels."""
    from PIL import Image, ImageDraw

    scale = 2 * _FINER
    picture = Image.new("RGBA", (width * scale, height * scale), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    room = (width * scale - 1, height * scale - 1)
    for mark in marks:
        y = shown.place(shown.left, mark, *room)[1]
        draw.line([(0, y), (room[0], y)], fill=_GRID, width=scale // 2)
    for line in lines:
        _draw(draw, line, shown, room, scale)
    made = picture.resize((2 * width, 2 * height), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    # A palette with transparency takes a third of the bytes.
    made.quantize(_PALETTE, method=Image.Quantize.FASTOCTREE).save(written, "PNG", optimize=True)
    return written.getvalue()


def frame(lines: Iterable[Line]) -> Frame | None:
    """Return what holds all points (of dots nearly all), or None if there are none."""
    across: list[float] = []
    up: list[float] = []
    for line in lines:
        known = [(x, y) for x, y in line.points if y is not None and math.isfinite(y)]
        across += [x for x, _ in known]
        heights = sorted(y for _, y in known)
        outside = len(heights) // 50 if line.look == "dots" else 0
        up += heights[outside : len(heights) - outside]
    if not up:
        return None
    low, high = min(up), max(up)
    margin = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return Frame(
        min(across), max(across), low - margin if low < margin or low > 2 * margin else 0.0, high + margin
    )


def ticks(low: float, high: float, count: int = _TICKS) -> list[float]:
    """Return about `count` round numbers between two others, ascending."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.7)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _draw(draw: Any, line: Line, shown: Frame, room: tuple[int, int], scale: int) -> None:
    places = [None if y is None or not math.isfinite(y) else shown.place(x, y, *room) for x, y in line.points]
    if line.look == "dots":
        radius = _DOT * scale
        for place in places:
            if place is not None:
                box = [place[0] - radius, place[1] - radius, place[0] + radius, place[1] + radius]
                draw.ellipse(box, fill=f"{line.colour}a0")
        return
    width = round(_STROKE * scale)
    for begin, end in pairwise(places):
        if begin is not None and end is not None:
            for piece in _dashes(begin, end, _DASH * scale) if line.look == "dashed" else [(begin, end)]:
                draw.line(piece, fill=line.colour, width=width, joint="curve")
    # One point alone is no line, and is seen all the same.
    for index, place in enumerate(places):
        around = (
            places[index - 1] if index else None,
            places[index + 1] if index + 1 < len(places) else None,
        )
        if place is not None and around == (None, None):
            draw.ellipse(
                [place[0] - width, place[1] - width, place[0] + width, place[1] + width], fill=line.colour
            )


def _dashes(
    begin: tuple[float, float], end: tuple[float, float], length: float
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    whole = math.dist(begin, end)
    count = max(1, round(whole / length / 2))

    def at(share: float) -> tuple[float, float]:
        return (begin[0] + share * (end[0] - begin[0]), begin[1] + share * (end[1] - begin[1]))

    return [(at(number / count), at((number + 0.5) / count)) for number in range(count)]


def _scale(marks: Sequence[float], shown: Frame, height: int) -> str:
    """Return the numbers beside the picture, each at the height of its line."""
    pieces, taken = [], 0.0
    for mark in reversed(marks):
        top = shown.place(shown.left, mark, 0, height)[1] - _LABEL / 2
        gap = max(0.0, top - taken)
        style = f"{_NUMBER};margin:{gap:.0f}px 0 0 0"
        pieces.append(styled("div", style, escape(_round(mark, marks))))
        taken += gap + _LABEL
    return "".join(pieces)


def _round(mark: float, marks: Sequence[float]) -> str:
    """Write a number of a scale with as many digits as its neighbours need."""
    step = marks[1] - marks[0] if len(marks) > 1 else abs(mark) or 1.0
    if abs(mark) >= 1e6 or step < 1e-4:
        return f"{mark:.2g}"
    return f"{mark:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _steps(shown: Frame) -> str:
    middle = (shown.left + shown.right) / 2
    words = [
        ("left", f"step {shown.left:,.0f}"),
        ("center", f"{middle:,.0f}"),
        ("right", f"{shown.right:,.0f}"),
    ]
    if shown.right <= shown.left:
        words = words[:1]
    style = "display:inline-block;width:33.3%;text-align:"
    spans = "".join(styled("span", style + align, escape(text)) for align, text in words)
    return styled("div", f"{FIGURES};{SMALL};{MUTED}", spans)


def _legend(lines: Sequence[Line]) -> str:
    items = [
        styled("span", "display:inline-block;margin-right:14px", _mark(line) + escape(clean_line(line.label)))
        for line in lines
    ]
    return styled("div", f"{SMALL};margin:0.3em 0", "".join(items))


def _mark(line: Line) -> str:
    """Return what stands for a line in a legend: a piece of it, made of boxes."""
    box, count = {
        "line": ("18px;height:3px", 1),
        "dots": ("4px;height:4px", 3),
        "dashed": ("6px;height:3px", 2),
    }[line.look]
    style = (
        f"display:inline-block;vertical-align:middle;margin-right:4px;border-radius:2px;width:{box};"
        f"background-color:{line.colour}"
    )
    return styled("span", style, "") * count
