"""Pictures of attention: a window of one head's map, or of the difference of two, as a byte a pixel.

A pixel shows the largest weight of its rectangle, so that a single strong link stays visible at any zoom, and
a byte is round(255 sqrt(weight)): the scale is the same everywhere, and small weights can be told apart.
Knows traces and numbers; knows no colours and no page.
"""

import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from llama_nb.core.errors import Stopped, TraceError
from llama_nb.interpret.attention import AttentionTrace
from llama_nb.interpret.shelf import Shelf

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]
Pool = Callable[[Floats, Places, int], Floats]
Window = tuple[int, int]
Stopping = Callable[[], str | None]

SIZE: Final = 512  # pixels a side
SIDE: Final = 64  # of a thumbnail
EQUAL: Final = 128  # the byte of no difference
LEGEND: Final = "each pixel is the largest weight of its rectangle; brightness: square root of the weight"

# Weights that are computed between two looks at `stopped`: about 30 ms on one core.
_BLOCK: Final = 2**21
# A map of more is looked at in samples first: an overview of 8,192 tokens is, one of 4,096 is not.
_AT_ONCE: Final = 2**24
_SAMPLED: Final = 128  # rows of that look
_PAUSE_S: Final = 0.125  # between pictures: 8 a second


@dataclass(frozen=True, slots=True)
class Tile:
    """A window of a map, as bytes.

    Attributes
    ----------
    layer, head
        Whose map.
    rows, cols
        Queries from the first up to the second, and keys likewise.
    values
        uint8 of shape (height, width): round(255 sqrt(weight)), or for a difference
        128 + round(127 sign(d) sqrt(|d|)). A tile of few tokens is small: a pixel is one weight at least.
    peak
        The largest weight, or difference in size, in what was computed so far.
    pool
        Which weight of its rectangle a pixel shows: the "max", or the "furthest" from zero.
    done
        Share of the pixel rows, from the top, that are exact; 0 is a first look at some rows of the map, 1.0
        the last tile.
    """

    layer: int
    head: int
    rows: Window
    cols: Window
    values: Bytes
    peak: float
    pool: Literal["max", "furthest"] = "max"
    done: float = 1.0

    @property
    def signed(self) -> bool:
        """Whether it is a difference."""
        return self.pool == "furthest"


_SHELF: Final = Shelf[Tile](most_bytes=32_000_000, size_of=lambda made: made.values.nbytes)


def tile(
    trace: AttentionTrace,
    layer: int,
    head: int,
    rows: Window,
    cols: Window,
    size: int = SIZE,
    *,
    stopped: Stopping = lambda: None,
    progressive: bool = True,
) -> Iterator[Tile]:
    """Yield pictures of a window of one head's map; the last is exact.

    Parameters
    ----------
    rows, cols
        Queries and keys, each from the first up to the second.
    size
        The most pixels a side.
    stopped
        Asked several times in 0.1 s; a reason ends the work.
    progressive
        Of a map that takes long first a look at some of its rows, then the exact map as it grows from the
        top, 8 times a second at most; else the last picture only.

    Raises
    ------
    TraceError
        If there are no such tokens, layer or head.
    Stopped
        If it was stopped.
    """
    key = (weakref.ref(trace), trace.length, layer, head, rows, cols, size)
    if (known := _SHELF.get(key)) is not None:
        yield known
        return

    def weights(start: int, stop: int) -> Floats:
        return trace.rows(layer, [head], start, stop, keys=cols)[0]

    picture = _Picture(weights, trace.length, rows, cols, size, _pool_max)
    for values, peak, done in picture.grow(stopped, progressive):
        made = Tile(layer, head, rows, cols, _as_bytes(values), peak, "max", done)
        if done >= 1:
            _SHELF.put(key, made)
        yield made


def difference_tile(
    trace: AttentionTrace,
    place: tuple[int, int],
    other: AttentionTrace,
    other_place: tuple[int, int],
    rows: Window,
    cols: Window,
    size: int = SIZE,
    *,
    stopped: Stopping = lambda: None,
) -> Tile:
    """Return the exact picture of `difference_tiles`."""
    given = trace, place, other, other_place, rows, cols, size
    *_, last = difference_tiles(*given, stopped=stopped, progressive=False)
    return last


def difference_tiles(
    trace: AttentionTrace,
    place: tuple[int, int],
    other: AttentionTrace,
    other_place: tuple[int, int],
    rows: Window,
    cols: Window,
    size: int = SIZE,
    *,
    stopped: Stopping = lambda: None,
    progressive: bool = True,
) -> Iterator[Tile]:
    """Yield pictures of how much more one head reads than another, as `tile` does.

    Parameters
    ----------
    place, other_place
        Layer and head in each trace; a pixel is above 128 where the first reads more.
    rows, cols
        Positions in both; the window must lie in the shorter of the two.
    """

    def weights(start: int, stop: int) -> Floats:
        mine = trace.rows(place[0], [place[1]], start, stop, keys=cols)[0]
        mine -= other.rows(other_place[0], [other_place[1]], start, stop, keys=cols)[0]
        return mine

    length = min(trace.length, other.length)
    picture = _Picture(weights, length, rows, cols, size, _pool_furthest)
    for values, peak, done in picture.grow(stopped, progressive):
        yield Tile(*place, rows, cols, _as_signed_bytes(values), peak, "furthest", done)


def thumbnails(
    trace: AttentionTrace,
    layer: int,
    side: int = SIDE,
    rows: int = SIDE,
    *,
    stopped: Stopping = lambda: None,
) -> Bytes:
    """Return a small picture of each head of a layer, uint8 of shape (H, side, side).

    Parameters
    ----------
    rows
        How many queries are looked at, evenly spread: one for each row of pixels, or several where it is a
        multiple of `side`. Fewer tokens than pixels are each several pixels wide.

    Raises
    ------
    Stopped
        If `stopped`, asked between queries, gave a reason.
    """
    length, heads = trace.length, list(range(trace.heads))
    queries = _last_of_each(length, min(length, side * max(1, rows // side)))
    found = np.empty((len(heads), len(queries), side), np.float32)
    across = _starts(length, side)
    for place, query in enumerate(queries):
        _ask(stopped)
        found[:, place] = _pool_max(trace.rows(layer, heads, query, query + 1)[:, 0], across, 1)
    return _as_bytes(_pool_max(found, _starts(len(queries), side), 1))


class _Picture:
    """A window of a map, pooled as its rows are computed.

    Parameters
    ----------
    weights
        Gives the window's columns of some rows, float32 (n, columns).
    length
        T, of which a whole row is computed to know any part of it.
    pool
        Which weight of its rectangle a pixel shows.
    """

    def __init__(
        self,
        weights: Callable[[int, int], Floats],
        length: int,
        rows: Window,
        cols: Window,
        size: int,
        pool: Pool,
    ) -> None:
        for name, (first, last) in (("queries", rows), ("keys", cols)):
            if not 0 <= first < last <= length:
                raise TraceError(f"There are no {name} from {first} up to {last}; there are {length:,}.")
        self._weights, self._length, self._pool = weights, length, pool
        self._rows, self._cols = rows, cols
        self._height, self._width = (min(size, last - first) for first, last in (rows, cols))
        self._peak = 0.0

    def grow(self, stopped: Stopping, progressive: bool) -> Iterator[tuple[Floats, float, float]]:
        """Yield pictures (height, width), the peak so far, and the share of pixel rows that are exact."""
        first, last = self._rows
        shown = np.zeros((self._height, self._width), np.float32)
        if progressive and (last - first) * self._length > _AT_ONCE:
            shown = self._look(stopped)
            yield shown, self._peak, 0.0
        exact = np.zeros_like(shown)
        told = time.monotonic()
        step = max(1, _BLOCK // self._length)
        for start in range(first, last, step):
            _ask(stopped)
            stop = min(start + step, last)
            self._add(exact, start, stop)
            done = ((stop - first + 1) * self._height - 1) // (last - first)
            if progressive and stop < last and time.monotonic() - told >= _PAUSE_S:
                told = time.monotonic()
                yield np.concatenate((exact[:done], shown[done:])), self._peak, done / self._height
        yield exact, self._peak, 1.0

    def _look(self, stopped: Stopping) -> Floats:
        """A picture of some rows, evenly spread, each as high as what it stands for."""
        first, last = self._rows
        queries = _last_of_each(last - first, min(_SAMPLED, self._height))
        found = np.empty((len(queries), self._width), np.float32)
        for place, query in enumerate(queries):
            _ask(stopped)
            found[place] = self._across(first + query, first + query + 1)[0]
        return self._pool(found, _starts(len(queries), self._height), 0)

    def _add(self, exact: Floats, start: int, stop: int) -> None:
        """Pool rows into the pixel rows that they belong to, of which the first may have some already."""
        first, last = self._rows
        pixels = ((np.arange(start - first, stop - first) + 1) * self._height - 1) // (last - first)
        top, bottom = int(pixels[0]), int(pixels[-1]) + 1
        # Zero changes neither pool, so what the first pixel row has so far is one row more of it.
        block = np.concatenate((exact[top : top + 1], self._across(start, stop)))
        starts = np.searchsorted(pixels, np.arange(top, bottom)) + 1
        starts[0] = 0
        exact[top:bottom] = self._pool(block, starts, 0)

    def _across(self, start: int, stop: int) -> Floats:
        weights = self._weights(start, stop)
        pooled = self._pool(weights, _starts(weights.shape[1], self._width), 1)
        self._peak = max(self._peak, float(np.abs(pooled).max()))
        return pooled


def _starts(count: int, pixels: int) -> Places:
    """Where the rectangle of each pixel begins; of fewer values than pixels several begin at one."""
    return (np.arange(pixels) * count) // pixels


def _last_of_each(count: int, parts: int) -> list[int]:
    """The last of each of `parts` even parts: what it reads of its own part is seen, too."""
    return [(part + 1) * count // parts - 1 for part in range(parts)]


# Where two rectangles begin at one value, `reduceat` gives that value to both.
def _pool_max(values: Floats, starts: Places, axis: int) -> Floats:
    pooled: Floats = np.maximum.reduceat(values, starts, axis=axis)
    return pooled


def _pool_furthest(values: Floats, starts: Places, axis: int) -> Floats:
    most = np.maximum.reduceat(values, starts, axis=axis)
    least = np.minimum.reduceat(values, starts, axis=axis)
    return np.where(most >= -least, most, least)


def _as_bytes(weights: Floats) -> Bytes:
    return np.rint(255 * np.sqrt(np.clip(weights, 0, 1))).astype(np.uint8)


def _as_signed_bytes(differences: Floats) -> Bytes:
    size = np.sqrt(np.clip(np.abs(differences), 0, 1))
    return (EQUAL + np.rint(127 * np.copysign(size, differences))).astype(np.uint8)


def _ask(stopped: Stopping) -> None:
    if (reason := stopped()) is not None:
        raise Stopped(f"The picture of the attention was stopped: {reason}.")
