"""A colour for each expert of a layer: what the strip of tokens is painted with.

The first eight are Okabe and Ito's, which the colour-blind tell apart (https://jfly.uni-koeln.de/color/),
grey in place of black; from there on hues a golden angle apart, so that neighbours differ. Nobody tells a
hundred colours apart: the expert's number always stands beside them.
"""

import colorsys
from typing import Final

from llama_nb.render.colour_maps import Colour

FIRST: Final[tuple[Colour, ...]] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (153, 153, 153),
)
# Of the page's colour under a token: black and white text can be read on each of them.
FAINT, STRONG = 0.12, 0.34

_ANGLE: Final = 137.508  # degrees: the golden angle
_LIGHTNESS, _SATURATION = 0.5, 0.55


def expert_colour(expert: int) -> Colour:
    """Return the colour of an expert, counted from 0."""
    if expert < len(FIRST):
        return FIRST[expert]
    red, green, blue = colorsys.hls_to_rgb(expert * _ANGLE % 360 / 360, _LIGHTNESS, _SATURATION)
    return round(255 * red), round(255 * green), round(255 * blue)
