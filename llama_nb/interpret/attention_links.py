"""The few links of a trace that say something: the strongest ones, and the head to look at first.

Knows rows of weights; knows no page. Long texts are sampled: nobody waits for a pass over all of them.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from llama_nb.interpret.attention import AttentionTrace

Window = tuple[int, int]
Link = tuple[int, int, float]

SAMPLED: Final = 512  # rows that are looked at in a longer window
_BLOCK: Final = 4_000_000  # weights at once: 16 MB
_FIRST_ROWS: Final = 8


def first_head(trace: "AttentionTrace", layer: int) -> int:
    """Return a head worth a first look: its last rows read most elsewhere than at the usual places.

    Many heads of a trained model do little but look at the first token, their own or the one before.
    """
    length = trace.length
    start = max(0, length - _FIRST_ROWS)
    rows = trace.rows(layer, list(range(trace.heads)), start, length)
    queries = np.arange(start, length)
    for keys in (np.zeros_like(queries), queries, np.maximum(queries - 1, 0)):
        rows[:, queries - start, keys] = 0
    return int(rows.sum(axis=(1, 2)).argmax())


def strongest(
    trace: "AttentionTrace",
    layer: int,
    head: int,
    count: int,
    *,
    rows: Window | None = None,
    cols: Window | None = None,
    stopped: Callable[[], str | None] = lambda: None,
) -> list[Link]:
    """Return the largest weights of a window as (query, key, weight), the largest first.

    Parameters
    ----------
    rows, cols
        The tokens that read, and those that are read; default all. Of more than 512 rows so many are looked
        at, evenly spread.
    """
    first, last = cols or (0, trace.length)
    found: list[Link] = []
    for start, weights in _blocks(trace, layer, head, rows or (0, trace.length)):
        if stopped() is not None:
            break
        found = _merged(found, _largest(weights[:, first:last], count, start, first), count)
    return found


def telling(trace: "AttentionTrace", layer: int, head: int, count: int) -> tuple[list[Link], float]:
    """Return the strongest links to other tokens than the first and the own, and what the first one gets.

    The second is the mean weight that later tokens give to the first one; 0 where there are none.
    """
    found: list[Link] = []
    on_first = [np.zeros(0, np.float32)]
    for start, weights in _blocks(trace, layer, head, (0, trace.length)):
        on_first.append(weights[1 if start == 0 else 0 :, 0].copy())
        weights[:, 0] = 0
        own = np.arange(len(weights))
        weights[own, own + start] = 0
        found = _merged(found, _largest(weights, count, start, 0), count)
    shares = np.concatenate(on_first)
    return found, float(shares.mean()) if shares.size else 0.0


def _blocks(
    trace: "AttentionTrace", layer: int, head: int, rows: Window
) -> "Iterator[tuple[int, npt.NDArray[np.float32]]]":
    """Yield (first row, weights of shape (rows, T))."""
    start, end = rows
    if end - start > SAMPLED:
        for row in np.linspace(start, end - 1, SAMPLED).astype(int).tolist():
            yield row, trace.rows(layer, [head], row, row + 1)[0]
        return
    block = max(1, _BLOCK // max(1, trace.length))
    for first in range(start, end, block):
        yield first, trace.rows(layer, [head], first, min(end, first + block))[0]


def _merged(found: list[Link], new: Iterator[Link], count: int) -> list[Link]:
    return sorted([*found, *new], key=lambda link: (-link[2], link[0], link[1]))[:count]


def _largest(weights: "npt.NDArray[np.float32]", count: int, row: int, col: int) -> Iterator[Link]:
    most = min(count, weights.size)
    if not most:
        return
    best = np.argpartition(weights, weights.size - most, axis=None)[weights.size - most :]
    at_rows, at_cols = np.unravel_index(best, weights.shape)
    for y, x in zip(at_rows.tolist(), at_cols.tolist(), strict=True):
        if weights[y, x] > 0:
            yield y + row, x + col, float(weights[y, x])
