"""What the routers of a model said about a stretch of tokens, as arrays that lie in memory or in a file.

Knows numbers only: no tokens, no model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_ROOM: Final = 256  # tokens that are made room for at first; then twice as many each time

Floats = npt.NDArray[np.float32]
Experts = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """What L routers said about N tokens, in order.

    Attributes
    ----------
    chosen
        The experts that each token goes through, (N, L, k), by falling weight: uint8, or uint16 where a layer
        has more than 256.
    weights
        What the layer multiplies with, (N, L, k).
    margin
        The smallest score of a chosen expert minus the largest of one that was not, (N, L), in the scores
        that the choice is made by. Negative where the choice was changed.
    entropy
        Of the scores of all experts, made to sum to 1, in nats: (N, L).
    logits
        Of all experts, (N, L, E), or None where they were not kept.
    """

    chosen: Experts
    weights: Floats
    margin: Floats
    entropy: Floats
    logits: Floats | None

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, rows: slice) -> "Routes":
        return _each(lambda arrays: arrays[0][rows], [self])

    @property
    def nbytes(self) -> int:
        """How many bytes the arrays are."""
        logits = 0 if self.logits is None else self.logits.nbytes
        return self.chosen.nbytes + self.weights.nbytes + self.margin.nbytes + self.entropy.nbytes + logits


def joined(parts: Sequence[Routes]) -> Routes:
    """Return the routes of tokens that follow each other, as one; logits where all have them."""
    return parts[0] if len(parts) == 1 else _each(np.concatenate, parts)


def narrow(experts: int) -> "np.dtype[np.unsignedinteger[Any]]":
    """Return the type that numbers of so many experts are kept in."""
    return np.dtype(np.uint8 if experts <= 256 else np.uint16)


def _each(make: Callable[[list[Any]], Any], parts: Sequence[Routes]) -> Routes:
    """Return what is made of the parts' arrays, one kind after the other."""
    logits = [part.logits for part in parts]
    return Routes(
        make([part.chosen for part in parts]),
        make([part.weights for part in parts]),
        make([part.margin for part in parts]),
        make([part.entropy for part in parts]),
        None if any(each is None for each in logits) else make(logits),
    )


class RoutesRoom:
    """Routes with room for more behind them: what was handed out stays as it was."""

    def __init__(self, routes: Routes) -> None:
        self._held, self._length = routes, len(routes)

    def add(self, routes: Routes) -> Routes:
        """Append routes and return all that there are."""
        needed = self._length + len(routes)
        if needed > len(self._held):
            room = max(_ROOM, 2 * needed)
            self._held = _each(lambda arrays: _larger(arrays[0], room), [self._held])
        for name in ("chosen", "weights", "margin", "entropy", "logits"):
            held = getattr(self._held, name)
            if held is not None:
                held[self._length : needed] = getattr(routes, name)
        self._length = needed
        return self._held[:needed]


def _larger(array: npt.NDArray[Any], room: int) -> npt.NDArray[Any]:
    larger = np.zeros((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
