"""A colour for each expert of a layer: what the strip of tokens is painted with.

Up to eight are Okabe and Ito's, which the colour-blind tell apart (https://jfly.uni-koeln.de/color/), grey in
place of black; more get hues that lie far apart for neighbours. Nobody tells a hundred colours apart: the
expert's number always stands beside them. The page has the same ones (`colourOf` in routing_page.ts).
"""

import colorsys
from typing import Final

from llama_nb.render.colour_maps import Colour

EIGHT: Final[tuple[Colour, ...]] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (138, 143, 152),
)
# How much of it stands under a token, by how clear the choice was: black and white text can be read on each.
FAINT, STRONG = 0.12, 0.34

_ANGLE: Final = 137.508  # degrees: the golden angle
_SATURATION: Final = 0.55
_LIGHTNESS: Final = (0.52, 0.40, 0.62)


def expert_colour(expert: int, experts: int) -> Colour:
    """Return the colour of an expert, counted from 0, where there are so many."""
    if experts <= len(EIGHT):
        return EIGHT[expert]
    hue = int(expert * _ANGLE + 0.5) % 360 / 360
    red, green, blue = colorsys.hls_to_rgb(hue, _LIGHTNESS[expert % 3], _SATURATION)
    return round(255 * red), round(255 * green), round(255 * blue)
