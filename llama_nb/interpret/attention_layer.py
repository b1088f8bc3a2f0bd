"""The attention of one layer over one sequence, from its queries and keys: any weight when it is asked for.

Knows torch; knows no model, no tokens' texts and no other layer.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch

from llama_nb.interpret.attention_mask import Allowed

# Multiplications that one thread does in some 30 ms. With the default threads of a busy machine 0.6 ms of
# work took 140 ms: each step waits for the thread that has no core.
_ONE_THREAD: Final = 10**9

Kind = Literal["full", "sliding", "chunked"]
Floats = npt.NDArray[np.float32]


@contextlib.contextmanager
def threads_for(multiplications: int) -> Iterator[None]:
    """Compute with one thread inside the block if there is little to do."""
    before = torch.get_num_threads()
    if multiplications > _ONE_THREAD or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """What decides the attention of one layer.

    Attributes
    ----------
    q, k
        Queries (H, T, d) and keys (Hkv, T, d) behind the rotary embedding, in the model's dtype.
    allowed
        What each query may read.
    scaling
        Factor of the scores q k'.
    softcap
        Bound c of the scores, c tanh(s / c), in the models that have one.
    sinks
        A score for each head that takes its share of the softmax and is read by nobody, float32 (H,).
    """

    q: torch.Tensor
    k: torch.Tensor
    allowed: Allowed
    scaling: float
    softcap: float | None = None
    sinks: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the queries and keys."""
        return int(self.q.nbytes + self.k.nbytes)

    def group(self, head: int) -> int:
        """Return the key/value head that a query head reads."""
        return head // (self.q.shape[0] // self.k.shape[0])

    @torch.inference_mode()
    def rows(self, heads: Sequence[int], start: int, stop: int) -> tuple[Floats, Floats]:
        """Return softmax rows (n, rows, T) and the logarithms of their normalisers, (n, rows).

        Both are computed in float32, whatever the dtype of queries and keys.
        """
        low, high = self.allowed.span(start, stop)
        with threads_for(len(heads) * (stop - start) * (high - low) * self.q.shape[2]):
            return self._rows(heads, start, stop, low, high)

    def _rows(
        self, heads: Sequence[int], start: int, stop: int, low: int, high: int
    ) -> tuple[Floats, Floats]:
        found = torch.zeros((len(heads), stop - start, self.k.shape[1]), device=self.q.device)
        log_sums = torch.full((len(heads), stop - start), -torch.inf, device=self.q.device)
        for places in self._by_group(heads) if high else ():
            group = [heads[place] for place in places]
            scores = self._scores(group, start, stop, low, high)
            self.allowed.hide(scores, start, low, -torch.inf)
            log_sums[places] = self._normalise(scores, group)
            for place, weights in zip(places, scores, strict=True):
                found[place, :, low:high] = weights
        return found.cpu().numpy(), log_sums.cpu().numpy()

    @torch.inference_mode()
    def window(self, head: int, start: int, stop: int, low: int, high: int, log_sums: Floats) -> Floats:
        """Return some weights of one head, (stop - start, high - low), given the rows' normalisers."""
        with threads_for((stop - start) * (high - low) * self.q.shape[2]):
            scores = self._scores([head], start, stop, low, high)[0]
            weights = scores.sub_(torch.from_numpy(log_sums).to(scores.device)[:, None]).exp_()
            self.allowed.hide(weights, start, low, 0.0)
            found: Floats = weights.cpu().numpy()
            return found

    def _scores(self, heads: Sequence[int], start: int, stop: int, low: int, high: int) -> torch.Tensor:
        """Scores of heads that share their keys, float32 (n, stop - start, high - low)."""
        first = heads[0]
        consecutive = list(heads) == list(range(first, first + len(heads)))
        chosen = self.q[first : first + len(heads)] if consecutive else self.q[list(heads)]
        queries = chosen[:, start:stop].float() * self.scaling
        keys = self.k[self.group(first), low:high].float()
        scores = queries.reshape(-1, queries.shape[-1]) @ keys.T
        if self.softcap is not None:
            scores.div_(self.softcap).tanh_().mul_(self.softcap)
        return scores.view(len(heads), stop - start, high - low)

    def _normalise(self, scores: torch.Tensor, heads: Sequence[int]) -> torch.Tensor:
        """Turn scores (n, rows, keys) into weights in place; return their log normalisers, (n, rows)."""
        # A row that reads nothing has no largest score; any number makes its weights 0 instead of NaN.
        largest = scores.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
        sinks = self.sinks[list(heads), None, None].to(scores.device) if self.sinks is not None else None
        if sinks is not None:
            largest = torch.maximum(largest, sinks)
        sums = scores.sub_(largest).exp_().sum(dim=-1, keepdim=True)
        if sinks is not None:
            sums += (sinks - largest).exp()
        scores.div_(sums.clamp(min=torch.finfo(sums.dtype).tiny))
        return (largest + sums.log())[..., 0]

    def _by_group(self, heads: Sequence[int]) -> list[list[int]]:
        """Places in `heads`, those with the same keys together: their scores are one product of matrices."""
        groups: dict[int, list[int]] = {}
        for place, head in enumerate(heads):
            groups.setdefault(self.group(head), []).append(place)
        return list(groups.values())


@dataclass(frozen=True, slots=True)
class CapturedAttention:
    """The layers of one sequence that were kept of a forward pass.

    Attributes
    ----------
    layers
        By number; all have the same T.
    kinds
        What each layer of the model does: reads all before it, a sliding window, or chunks.
    heads, kv_heads
        Query heads, and the key/value heads that they share.
    length
        T, in tokens.
    dtype
        That of queries and keys: "float32".
    """

    layers: Mapping[int, AttentionLayer]
    kinds: Mapping[int, Kind]
    heads: int
    kv_heads: int
    length: int
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of all queries and keys, and of what stands of the masks."""
        masks = {id(layer.allowed): layer.allowed.nbytes for layer in self.layers.values()}
        return sum(layer.nbytes for layer in self.layers.values()) + sum(masks.values())
