"""Writes labextension/widgets/colour_maps.ts, the colour maps of the page, from those of Python.

Run `python -m tools.colour_maps` after a map changed; a test compares the file with what this would write. It
also writes both tables for the test that compares what the page makes of the anchors.
"""

import json
from pathlib import Path
from typing import Final

from llama_nb.render.colour_maps import ANCHORS, DIVERGING, SEQUENTIAL, ColourMap

_PACKAGE: Final = Path(__file__).parents[1] / "labextension"
TARGET: Final = _PACKAGE / "widgets" / "colour_maps.ts"
TABLES: Final = _PACKAGE / "tests" / "colour_maps.json"

_TEXT: Final = """\
/** Made from render/colour_maps.py by `python -m tools.colour_maps`; do not edit. */

/** 256 colours, three bytes each, evenly spread between anchors. Whole numbers only, as in Python. */
function table(anchors: string): Uint8ClampedArray {
  const points = anchors.split(" ").map((hex) => Number.parseInt(hex, 16));
  const colours = new Uint8ClampedArray(768);
  for (let index = 0; index < 768; index += 1) {
    const step = Math.floor(index / 3) * (points.length - 1);
    const shift = 16 - 8 * (index % 3);
    const part = step % 255;
    const one = ((points[(step - part) / 255] ?? 0) >> shift) & 255;
    const other = ((points[(step - part) / 255 + 1] ?? 0) >> shift) & 255;
    colours[index] = Math.floor((2 * (one * (255 - part) + other * part) + 255) / 510);
  }
  return colours;
}

/** From little to much. */
export const CIVIDIS = table("@cividis@");
/** From less (blue) through equal (128) to more (orange). */
export const DIVERGING = table("@diverging@");

/** Colour one byte a pixel; `values` holds at least as many as the image has pixels, row after row. */
export function colourInto(values: Uint8Array, map: Uint8ClampedArray, image: ImageData): void {
  const pixels = image.data;
  for (let from = 0, to = 0; to < pixels.length; from += 1, to += 4) {
    const colour = 3 * (values[from] ?? 0);
    pixels[to] = map[colour] ?? 0;
    pixels[to + 1] = map[colour + 1] ?? 0;
    pixels[to + 2] = map[colour + 2] ?? 0;
    pixels[to + 3] = 255;
  }
}

/** A colour as CSS writes it; `share` is from 0 to 1. */
export function css(map: Uint8ClampedArray, share: number): string {
  const at = 3 * Math.round(255 * Math.min(1, Math.max(0, share || 0)));
  return `rgb(${map[at]},${map[at + 1]},${map[at + 2]})`;
}

/** The text colour, black or white, that has more contrast on that ground. */
export function ink(map: Uint8ClampedArray, share: number): string {
  const at = 3 * Math.round(255 * Math.min(1, Math.max(0, share || 0)));
  const light = [0.2126, 0.7152, 0.0722].reduce((sum, weight, index) => {
    const part = (map[at + index] ?? 0) / 255;
    return sum + weight * (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  }, 0);
  return (light + 0.05) ** 2 > 1.05 * 0.05 ? "#000" : "#fff";
}
"""


def text() -> str:
    """Return the whole TypeScript file."""
    return _TEXT.replace("@cividis@", ANCHORS["cividis"]).replace("@diverging@", ANCHORS["diverging"])


def tables() -> str:
    """Return both tables as JSON: hexadecimal, three bytes a colour."""
    return json.dumps({"CIVIDIS": _hex(SEQUENTIAL), "DIVERGING": _hex(DIVERGING)}, indent=2) + "\n"


def _hex(colours: ColourMap) -> str:
    return "".join(bytes(colour).hex() for colour in colours)


if __name__ == "__main__":
    TARGET.write_text(text())
    TABLES.write_text(tables())
