"""Bars made of boxes with inline styles: charts that are read where neither scripts nor SVG are allowed.

Colours are Okabe and Ito's, which the colour-blind tell apart (https://jfly.uni-koeln.de/color/). A bar never
says anything by colour alone: its text label says all of it, and what it shows stands beside it as figures.
"""

from collections.abc import Sequence
from typing import Final

from llama_nb.render.html import LINE, SHADE, styled

COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999")
_THINNEST: Final = 0.4  # percent: what is there can be seen


def bar(parts: Sequence[float], full: float, label: str, *, colours: Sequence[str] = COLOURS) -> str:
    """Return a horizontal bar as HTML.

    Parameters
    ----------
    parts
        Lengths from left to right; what goes beyond `full` is cut off.
    full
        The length of the whole bar, in the unit of `parts`.
    label
        What the bar says, for those who do not see it.
    """
    left, pieces = 100.0, []
    for number, part in enumerate(parts):
        share = min(left, max(100 * part / full, _THINNEST)) if full > 0 and part > 0 else 0.0
        if share > 0:
            colour = colours[number % len(colours)]
            style = f"display:inline-block;height:12px;width:{share:.2f}%;background-color:{colour}"
            pieces.append(styled("span", style, ""))
            left -= share
    frame = (
        "height:12px;min-width:80px;overflow:hidden;white-space:nowrap;line-height:0;text-align:left;border-radius:2px;"
        f"background-color:{SHADE};border:1px solid {LINE}"
    )
    return styled("div", frame, "".join(pieces), role="img", aria_label=label)


def swatch(number: int, *, colours: Sequence[str] = COLOURS) -> str:
    """Return the small square that stands for part `number` in a legend."""
    style = (
        "display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:5px;"
        f"background-color:{colours[number % len(colours)]}"
    )
    return styled("span", style, "")
