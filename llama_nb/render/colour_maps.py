"""The two colour maps of every heat map: one from little to much, one from less through equal to more.

The first is cividis (Nunez et al. 2018, https://doi.org/10.1371/journal.pone.0199239), which people with and
without colour-blindness see alike; the second goes from blue through a light grey to orange. Both are tables
of 256 colours between a few anchors. `python -m tools.colour_maps` writes the same tables for the page.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

Colour: TypeAlias = tuple[int, int, int]
ColourMap: TypeAlias = Sequence[Colour]

STEPS: Final = 256
ANCHORS: Final = {
    "cividis": "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838",
    # Lightness falls evenly to both sides, so that what is as far from equal looks as strong.
    "diverging": "063465 1f63a8 5c97cf a5c5e4 ebebeb f0bf8f dd8536 a05106 552801",
}


def table(anchors: str) -> tuple[Colour, ...]:
    """Return 256 colours, evenly spread between anchors (hexadecimal, apart by spaces)."""
    points = [tuple(bytes.fromhex(anchor)) for anchor in anchors.split()]
    return tuple(_between(points, step) for step in range(STEPS))


def _between(points: Sequence[tuple[int, ...]], step: int) -> Colour:
    # Whole numbers only, so that the page's table is the same to the last digit.
    last = STEPS - 1
    place, part = divmod(step * (len(points) - 1), last)
    ahead = points[min(place + 1, len(points) - 1)]
    red, green, blue = (
        (2 * (one * (last - part) + other * part) + last) // (2 * last)
        for one, other in zip(points[place], ahead, strict=True)
    )
    return red, green, blue


SEQUENTIAL: Final = table(ANCHORS["cividis"])
DIVERGING: Final = table(ANCHORS["diverging"])


def colour(colours: ColourMap, share: float) -> Colour:
    """Return the colour of a share; what is outside 0 to 1 (or no number) gets the end that is nearer."""
    inside = min(max(share, 0.0), 1.0) if share == share else 0.0
    return colours[round(inside * (len(colours) - 1))]


def css(colours: ColourMap, share: float) -> str:
    """Return the colour of a share as CSS writes it: "#00224e"."""
    return f"#{bytes(colour(colours, share)).hex()}"


def ink(ground: Colour) -> str:
    """Return which of black and white text has more contrast on a ground; at least 4.5 on any."""
    return "#000" if luminance(ground) > _EQUAL else "#fff"


def luminance(of: Colour) -> float:
    """Return the relative luminance of WCAG 2.2, 0 to 1."""
    red, green, blue = (
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in of
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# On a ground of this luminance black and white text have the same contrast.
_EQUAL: Final = (1.05 * 0.05) ** 0.5 - 0.05
