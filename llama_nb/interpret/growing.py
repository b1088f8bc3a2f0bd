"""An AttentionTrace that grows: one row more with each token that a running reply hands back to its model.

Rows are added on the thread that owns the model; whoever reads meanwhile sees whole rows only, since what
stands at a moment is one value that the next one replaces. Knows modules; knows no chats and no pages.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch

from llama_nb.interpret.attention import AttentionTrace
from llama_nb.interpret.attention_layer import AttentionLayer, CapturedAttention
from llama_nb.interpret.attention_mask import Allowed, Places, compact
from llama_nb.interpret.capture import capturing

_ROOM: Final = 256  # rows that are made room for at first; then twice as many each time

Described = Callable[[Sequence[int]], tuple[Sequence[str], Sequence[bool]]]


class GrowingTrace(AttentionTrace):
    """A trace to which `grow` adds rows. Every method of a trace works at any time, from any thread."""

    growing = True

    def now(self) -> AttentionTrace:
        """Return a trace that stays as this one is now; it shares the queries and keys."""
        captured = self._captured
        return AttentionTrace(
            captured,
            model=self.model,
            fingerprint=self.fingerprint,
            title=self.title,
            ids=self.ids[: captured.length],
            texts=self.texts[: captured.length],
            special=self.special[: captured.length],
            prompt=self.prompt,
            off=self.off,
        )

    def add(self, captured: CapturedAttention, ids: Sequence[int], described: Described) -> None:
        """Take what is captured now, with the tokens that it has more than before."""
        texts, special = described(ids)
        # The tokens first: a row without its text would be one too many.
        self.ids, self.texts = (*self.ids, *ids), (*self.texts, *texts)
        self.special = (*self.special, *special)
        self._captured = captured

    def finish(self) -> None:
        """Say that no more rows come."""
        self.growing = False


@contextlib.contextmanager
def grow(
    module: Any, trace: GrowingTrace, described: Described, on_row: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Add the rows of all tokens that `module` reads inside the block and that the trace does not have yet.

    Parameters
    ----------
    module
        A causal language model; it must read one sequence, with a cache, in order.
    trace
        Has the rows of the tokens before, for the layers that are wanted.
    described
        Says what tokens show as, and which are control tokens.
    on_row
        Called after each row, on the thread that runs the model.
    """
    recorder = _Steps(trace, described, on_row)

    def begins(_module: Any, _inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        recorder.begin(named["input_ids"], named["past_key_values"])

    hook = module.base_model.register_forward_pre_hook(begins, with_kwargs=True)
    try:
        with capturing(module, recorder):
            yield
    finally:
        hook.remove()
        trace.finish()


class _Steps:
    """Gets the queries and keys of a sequence as it is decoded, a few tokens in each forward pass."""

    def __init__(self, trace: GrowingTrace, described: Described, on_row: Callable[[], None]) -> None:
        self._trace, self._described, self._on_row = trace, described, on_row
        captured = trace.captured()
        self._layers = {number: _Rows(layer) for number, layer in captured.layers.items()}
        self._last = max(captured.layers)
        self._ids: list[int] = []
        self._start = 0

    def begin(self, ids: torch.Tensor, cache: Any) -> None:
        """Learn which tokens the pass that begins reads, (1, n), and where the first of them stands."""
        self._ids, self._start = ids[0].tolist(), int(cache.get_seq_length())

    def keep(
        self,
        attention: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        mask: torch.Tensor | None,
        _options: dict[str, Any],
    ) -> None:
        """Add the rows that are new; behind the last layer they are there for all to see."""
        layer = getattr(attention, "layer_idx", None)
        rows = self._layers.get(layer) if layer is not None else None
        new = self._start + len(self._ids) - self._trace.length
        if rows is None or not 0 < new <= len(self._ids):
            return  # a layer that nobody wants, or the prompt, which is there already
        rows.add(query[0], key[0], mask, self._start, new)
        if layer == self._last:
            before = self._trace.captured()
            layers = {number: each.snapshot() for number, each in self._layers.items()}
            grown = CapturedAttention(
                layers, before.kinds, before.heads, before.kv_heads, before.length + new, before.dtype
            )
            self._trace.add(grown, self._ids[-new:], self._described)
            self._on_row()


class _Rows:
    """The queries, keys and masks of one layer, with room for more."""

    def __init__(self, layer: AttentionLayer) -> None:
        self._layer = layer
        self._length = layer.q.shape[1]
        self._q, self._k = layer.q, layer.k
        self._first, self._last = layer.allowed.first, layer.allowed.last

    @torch.inference_mode()
    def add(
        self, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, start: int, new: int
    ) -> None:
        """Append the last `new` queries (H, n, d) and keys (Hkv, m, d); the first query stands at `start`."""
        count, seen = query.shape[1], key.shape[1]
        offset = start + count - seen  # where the first key stands: a sliding window's cache has no older one
        first, last = _allowed(mask, count, seen)
        self._reserve(new)
        at = slice(self._length, self._length + new)
        self._q[:, at], self._k[:, at] = query[:, -new:], key[:, -new:]
        self._first[at], self._last[at] = first[-new:] + offset, last[-new:] + offset
        self._length += new

    def snapshot(self) -> AttentionLayer:
        """Return what stands now; it never changes any more."""
        length = self._length
        allowed = Allowed(self._first[:length], self._last[:length])
        layer = self._layer
        q, k = self._q[:, :length], self._k[:, :length]
        return AttentionLayer(q, k, allowed, layer.scaling, layer.softcap, layer.sinks)

    def _reserve(self, new: int) -> None:
        needed = self._length + new
        if needed <= len(self._first):
            return
        room = max(needed + _ROOM, 2 * self._length)
        self._q, self._k = _larger(self._q, room), _larger(self._k, room)
        self._first, self._last = (
            np.concatenate([places, np.zeros(room - len(places), np.int32)])
            for places in (self._first, self._last)
        )


def _larger(tensor: torch.Tensor, room: int) -> torch.Tensor:
    larger = tensor.new_zeros((tensor.shape[0], room, tensor.shape[2]))
    larger[:, : tensor.shape[1]] = tensor
    return larger


def _allowed(mask: torch.Tensor | None, count: int, seen: int) -> tuple[Places, Places]:
    """First and last key that each of `count` queries reads, among the `seen` keys that there are."""
    if mask is None:
        return np.zeros(count, np.int32), np.arange(seen - count, seen, dtype=np.int32)
    found = compact(mask[0, 0])
    return found.first, found.last
