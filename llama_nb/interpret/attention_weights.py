"""The weights of captured attention, computed when they are asked for, layer by layer and head by head.

Knows queries, keys and masks; knows no tokens' texts and no models.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any, Final

import numpy as np

from llama_nb.core.errors import Stopped, TraceError
from llama_nb.interpret.attention_layer import AttentionLayer, CapturedAttention, Floats, Kind

MOST_BYTES: Final = 2_000_000_000  # of one array that is handed out
_BLOCK: Final = 2**24  # weights that are computed together in a pass over all rows: 64 MB in float32

Blocks = Iterator[tuple[int, int, Floats]]
Stopping = Callable[[], str | None]


class AttentionWeights:
    """The attention weights of one sequence. Made of what `interpret.capture` kept."""

    def __init__(self, captured: CapturedAttention) -> None:
        self._captured = captured
        self._log_sums: dict[tuple[int, int], Floats] = {}
        self._lock = threading.Lock()

    # --- what it is -----------------------------------------------------------------------------------

    @property
    def length(self) -> int:
        """How many tokens were read, T."""
        return self._captured.length

    @property
    def layers(self) -> tuple[int, ...]:
        """The numbers of the captured layers."""
        return tuple(sorted(self._captured.layers))

    @property
    def heads(self) -> int:
        """Query heads of each layer."""
        return self._captured.heads

    @property
    def kv_heads(self) -> int:
        """Key/value heads of each layer; several query heads share one where they are fewer."""
        return self._captured.kv_heads

    @property
    def dtype(self) -> str:
        """The number format of the queries and keys, as the model computed them."""
        return self._captured.dtype

    @property
    def nbytes(self) -> int:
        """Bytes that the queries, keys and masks take, in memory or in files."""
        return self._captured.nbytes

    def kind(self, layer: int) -> Kind:
        """Return what a layer reads: "full" (all before), "sliding" (a window) or "chunked"."""
        self._layer(layer)
        return self._captured.kinds[layer]

    def group(self, head: int) -> int:
        """Return the key/value head that a query head reads."""
        self._check_heads((head,))
        return head // (self.heads // self.kv_heads)

    def captured(self) -> CapturedAttention:
        """Return the queries, keys and masks as they are now."""
        return self._captured

    # --- weights --------------------------------------------------------------------------------------

    def rows(
        self,
        layer: int,
        heads: int | Sequence[int],
        start: int,
        stop: int,
        *,
        keys: tuple[int, int] | None = None,
    ) -> Floats:
        """Return the weights of the queries from `start` up to `stop`, on which everything else is built.

        Parameters
        ----------
        heads
            One head or several.
        keys
            A range of keys: only their columns are returned. The rows' sums run over all keys all the same.

        Returns
        -------
        numpy.ndarray
            Float32 of shape (heads, stop - start, T), or as many columns as `keys` has.
        """
        found = self._layer(layer)
        chosen = [heads] if isinstance(heads, int) else list(heads)
        self._check_heads(chosen)
        length = found.k.shape[1]
        _check_range(start, stop, length, "queries")
        low, high = keys if keys is not None else (0, length)
        _check_range(low, high, length, "keys")
        known = self._known(layer, chosen, start, stop) if keys is not None else None
        if known is not None:
            pieces = [
                found.window(head, start, stop, low, high, sums)
                for head, sums in zip(chosen, known, strict=True)
            ]
            return np.stack(pieces)
        weights = self._rows(found, layer, chosen, start, stop)
        return weights if keys is None else weights[:, :, low:high]

    def row(self, layer: int, head: int, query: int) -> Floats:
        """Return what one token reads, shape (T,)."""
        at = self._place(query)
        return self.rows(layer, head, at, at + 1)[0, 0]

    def value(self, layer: int, head: int, query: int, key: int) -> float:
        """Return one weight."""
        at, other = self._place(query), self._place(key)
        return float(self.rows(layer, head, at, at + 1, keys=(other, other + 1))[0, 0, 0])

    def column(self, layer: int, head: int, key: int, *, stopped: Stopping = lambda: None) -> Floats:
        """Return how much each token reads of one token, shape (T,); the first time a pass over all rows."""
        found = self._layer(layer)
        at = self._place(key)
        sums = self.log_sums(layer, head, stopped=stopped)[: found.k.shape[1]]
        return found.window(head, 0, len(sums), at, at + 1, sums)[:, 0]

    def log_sums(self, layer: int, head: int, *, stopped: Stopping = lambda: None) -> Floats:
        """Return the logarithm of each row's normaliser, shape (T,); kept, and learnt from all rows computed.

        Raises
        ------
        Stopped
            If `stopped`, asked between blocks of rows, gave a reason.
        """
        found = self._layer(layer)
        self._check_heads((head,))
        length = found.k.shape[1]
        known = self._known(layer, [head], 0, length)
        if known is None:
            for _ in self._blocks(found, layer, [head], stopped):
                pass
            known = self._known(layer, [head], 0, length)
            assert known is not None
        return known[0].copy()

    def blocks(self, layer: int, heads: int | Sequence[int], *, stopped: Stopping = lambda: None) -> Blocks:
        """Yield all rows, block by block, as (start, stop, weights of shape (heads, stop - start, T)).

        A block has at most 16 million weights. Between blocks `stopped` is asked: a reason raises Stopped.
        """
        chosen = [heads] if isinstance(heads, int) else list(heads)
        self._check_heads(chosen)
        return self._blocks(self._layer(layer), layer, chosen, stopped)

    def matrix(self, layer: int, head: int) -> Floats:
        """Return the whole map of one head, float32 of shape (T, T).

        Raises
        ------
        TraceError
            If that is more than 2 GB.
        """
        taken = self._layer(layer)
        self._check_heads((head,))
        length = taken.k.shape[1]
        refuse_large(length, "A map")
        found = np.empty((length, length), dtype=np.float32)
        for start, stop, weights in self._blocks(taken, layer, [head], lambda: None):
            found[start:stop] = weights[0]
        return found

    # --- what is computed, checked and kept -------------------------------------------------------------

    def _rows(self, found: AttentionLayer, layer: int, heads: Sequence[int], start: int, stop: int) -> Floats:
        """Compute rows of a layer as it stood when `found` was taken: it may have grown since."""
        weights, log_sums = found.rows(heads, start, stop)
        self._learn(layer, heads, start, log_sums, found.k.shape[1])
        return weights

    def _blocks(self, found: AttentionLayer, layer: int, heads: Sequence[int], stopped: Stopping) -> Blocks:
        length = found.k.shape[1]
        step = max(1, _BLOCK // max(1, length * len(heads)))
        for start in range(0, length, step):
            if (reason := stopped()) is not None:
                raise Stopped(f"Computing the attention was stopped: {reason}.")
            stop = min(start + step, length)
            yield start, stop, self._rows(found, layer, heads, start, stop)

    def _layer(self, layer: int) -> AttentionLayer:
        layers = self._captured.layers
        if layer not in layers:
            raise TraceError(
                f"Layer {layer!r} was not captured; {number_ranges(sorted(layers))} were.",
                "Capture it with layers=[...], counted from 0.",
            )
        return layers[layer]

    def _check_heads(self, heads: Sequence[int]) -> None:
        for head in heads:
            if not _whole(head) or not 0 <= head < self.heads:
                raise TraceError(f"There is no head {head!r}: from 0 to {self.heads - 1}.")
        if not heads:
            raise TraceError("No head is named.")

    def _place(self, position: int) -> int:
        length = self.length
        if not _whole(position) or not -length <= position < length:
            raise TraceError(
                f"There is no token {position!r}: from 0 to {length - 1:,}.",
                "Negative positions count from the end.",
            )
        return position % length

    def _known(self, layer: int, heads: Sequence[int], start: int, stop: int) -> list[Floats] | None:
        """The normalisers of some rows if all of them are known."""
        with self._lock:
            kept = [self._log_sums.get((layer, head)) for head in heads]
        found = [sums[start:stop] for sums in kept if sums is not None and len(sums) >= stop]
        if len(found) < len(kept) or any(np.isnan(sums).any() for sums in found):
            return None
        return found

    def _learn(self, layer: int, heads: Sequence[int], start: int, log_sums: Floats, length: int) -> None:
        with self._lock:
            for head, sums in zip(heads, log_sums, strict=True):
                kept = self._log_sums.get((layer, head))
                if kept is None or len(kept) < length:
                    grown = np.full(length, np.nan, dtype=np.float32)
                    grown[: len(kept) if kept is not None else 0] = kept if kept is not None else ()
                    kept = self._log_sums[layer, head] = grown
                kept[start : start + len(sums)] = sums


def refuse_large(length: int, what: str) -> None:
    """Raise TraceError if an array of shape (length, length) is too large to hand out."""
    if (size := 4 * length * length) > MOST_BYTES:
        raise TraceError(
            f"{what} of {length:,} tokens is {size / 1e9:,.1f} GB; the most is {MOST_BYTES / 1e9:.0f} GB.",
            "Take some rows: trace.rows(layer, head, 0, 512), or one: trace.row(layer, head, 5).",
        )


def number_ranges(layers: Sequence[int]) -> str:
    """Return layers in words: "0 to 15", "0, 3"."""
    first, last = layers[0], layers[-1]
    if len(layers) > 2 and list(layers) == list(range(first, last + 1)):
        return f"{first} to {last}"
    return ", ".join(map(str, layers))


def _whole(given: Any) -> bool:
    return isinstance(given, Integral) and not isinstance(given, bool)


def _check_range(start: int, stop: int, length: int, what: str) -> None:
    if not (_whole(start) and _whole(stop) and 0 <= start < stop <= length):
        raise TraceError(f"There are no {what} from {start} up to {stop}: there are {length:,}, from 0.")
