"""Maps of attention as they go to a page: few bytes, each exact row once.

Knows tiles and rows of weights as numbers; knows no trace, no widget.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from llama_nb.interpret.tiles import Tile

COARSE: Final = 6  # pixels a side that become one in the first look at a map that takes long
_LEAST_ROWS: Final = 16  # of a band: each message has a few hundred bytes beside its pixels
_THUMBS: Final = (64, 48, 32, 24, 16)
_THUMBS_BYTES: Final = 80_000  # for all heads of a layer


@dataclass(frozen=True, slots=True)
class Band:
    """Pixel rows of a map that are new.

    Attributes
    ----------
    info
        What map it is, as `AttentionTile` of the page says.
    values
        uint8 of shape (height, width): all that is known of the map.
    """

    info: dict[str, Any]
    values: "npt.NDArray[np.uint8]"

    @property
    def bytes(self) -> bytes:
        """The rows that are new."""
        first, last = self.info["band"]
        return self.values[first:last].tobytes()

    def complete(self) -> "Band":
        """Return all rows that are known as one band."""
        return Band({**self.info, "band": [0, len(self.values)]}, self.values)


def bands(tiles: "Iterable[Tile]") -> Iterator[Band]:
    """Yield what each tile adds to the ones before.

    The first look at a map that takes long is made coarse, so that all its bands together cost little more
    than the map alone. From then on rows are sent once several are exact, from top to bottom.
    """
    sent = 0
    for tile in tiles:
        height = len(tile.values)
        exact = height if tile.done >= 1 else int(tile.done * height)
        if tile.done <= 0:
            yield _band(tile, _coarse(tile.values), 0, None)
        elif exact - sent >= _LEAST_ROWS or exact == height > sent:
            yield _band(tile, tile.values, sent, exact)
            sent = exact


def _band(tile: "Tile", values: "npt.NDArray[np.uint8]", first: int, last: int | None) -> Band:
    height, width = values.shape
    info = {
        "layer": tile.layer,
        "head": tile.head,
        "rows": list(tile.rows),
        "cols": list(tile.cols),
        "height": height,
        "width": width,
        "band": [first, height if last is None else last],
        "peak": float(f"{tile.peak:.4g}"),
        "pool": tile.pool,
        "done": round(tile.done, 4),
        "signed": bool(getattr(tile, "signed", False)),
    }
    return Band(info, values if last is None else values[:last])


def _coarse(values: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.uint8]":
    """Return a map of a sixth of the height and width; a pixel is the largest of those that it replaces."""
    import numpy as np

    height, width = (-(-count // COARSE) for count in values.shape)
    padded = np.zeros((height * COARSE, width * COARSE), np.uint8)
    padded[: values.shape[0], : values.shape[1]] = values
    pooled: npt.NDArray[np.uint8] = padded.reshape(height, COARSE, width, COARSE).max((1, 3))
    return pooled


def thumbs_side(heads: int) -> int:
    """Return how many pixels a side the small maps of so many heads have."""
    fitting = (side for side in _THUMBS if side * side * heads <= _THUMBS_BYTES)
    return next(fitting, _THUMBS[-1])


def links(weights: "npt.NDArray[np.float32]", most: int) -> dict[str, Any]:
    """Return the largest weights as [position, weight], and the sum of the others."""
    import numpy as np

    count = min(most, int((weights > 0).sum()))
    least = len(weights) - count
    best = np.argpartition(weights, least)[least:].tolist() if count else []
    found = sorted(((at, float(weights[at])) for at in best), key=lambda link: (-link[1], link[0]))
    rest = float(weights.sum(dtype=np.float64)) - sum(weight for _, weight in found)
    return {
        "links": [[at, float(f"{weight:.5g}")] for at, weight in found],
        "rest": float(f"{rest:.4g}") if rest > 1e-6 else 0.0,
    }
