"""What a whole map of attention comes to: means, entropy, rollout, the links that weigh most.

Everything is made from blocks of rows, so that only what is handed out stands in memory. Knows weights; knows
no tokens' texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from llama_nb.core.errors import TraceError
from llama_nb.interpret.attention_layer import Floats
from llama_nb.interpret.attention_weights import AttentionWeights, refuse_large

MOST_ROLLED: Final = 4096  # tokens: beyond, the product of T x T matrices takes minutes
MOST_LINKS: Final = 2_000_000

Found = tuple[int, int, npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]


@dataclass(frozen=True, slots=True)
class Pair:
    """One weight by its places."""

    layer: int
    head: int
    other: int
    weight: float


def mean(trace: AttentionWeights, layers: Sequence[int]) -> Floats:
    """Return the mean map of all heads of some layers, float32 of shape (T, T).

    Raises
    ------
    TraceError
        If that is more than 2 GB.
    """
    length = trace.length
    refuse_large(length, "A map")
    found = np.zeros((length, length), dtype=np.float32)
    for layer in layers:
        for start, stop, weights in trace.blocks(layer, range(trace.heads)):
            found[start:stop] += weights.mean(axis=0)
    return found / np.float32(len(layers))


def entropy(trace: AttentionWeights, layer: int, head: int) -> Floats:
    """Return the entropy of each row in nats, shape (T,)."""
    found = np.empty(trace.length, dtype=np.float32)
    for start, stop, weights in trace.blocks(layer, head):
        logs = np.log(weights[0], out=np.zeros_like(weights[0]), where=weights[0] > 0)
        found[start:stop] = (weights[0] * -logs).sum(axis=1)
    return found


def rollout(trace: AttentionWeights, query: int | None) -> Floats:
    """Return the attention rollout of all tokens (T, T), or of one (T,).

    Raises
    ------
    TraceError
        If layers below the last captured one are missing, or the text is too long for all tokens at once.

    Notes
    -----
    Abnar & Zuidema (2020), "Quantifying Attention Flow in Transformers", section 3: with A the mean of a
    layer's heads, A' = (A + I) / 2 counts the residual stream, its rows normalised to 1, and the rollout is
    A'(L) ... A'(1) A'(0).
    """
    layers = trace.layers
    if layers != tuple(range(len(layers))):
        raise TraceError(
            "The rollout needs every layer from 0 on, and some were not captured.",
            'Capture them all: layers="all".',
        )
    if query is not None:
        return _rolled_row(trace, query)
    if trace.length > MOST_ROLLED:
        raise TraceError(
            f"The rollout of all {trace.length:,} tokens would multiply matrices of that size for minutes.",
            "Take that of one token: trace.rollout(-1).",
        )
    found = np.eye(trace.length, dtype=np.float32)
    for layer in layers:
        flow = _with_residual(mean(trace, [layer]), 0)
        found = flow @ found
    return found


def links(
    trace: AttentionWeights, layers: Sequence[int], heads: Sequence[int], threshold: float
) -> Iterator[Found]:
    """Yield (layer, head, queries, keys, weights) of all weights above 0 that reach a threshold.

    Raises
    ------
    TraceError
        If there are more than two million.
    """
    count = 0
    for layer in layers:
        for head in heads:
            for start, _, weights in trace.blocks(layer, head):
                queries, keys = np.nonzero((weights[0] >= threshold) & (weights[0] > 0))
                count += len(queries)
                if count > MOST_LINKS:
                    raise TraceError(
                        f"More than {MOST_LINKS:,} weights reach {threshold:g}.",
                        "Name a layer and a head, or a higher threshold: trace.to_frame(3, 5, threshold=0.1)",
                    )
                yield layer, head, queries + start, keys, weights[0][queries, keys]


def strongest(
    trace: AttentionWeights,
    at: int,
    layers: Sequence[int],
    heads: Sequence[int],
    count: int,
    *,
    read_by: bool,
) -> list[Pair]:
    """Return the links of one token that weigh most: what it reads, or with `read_by` who reads it."""
    found: list[Pair] = []
    for layer in layers:
        if read_by:
            weights = np.stack([trace.column(layer, head, at) for head in heads])
        else:
            weights = trace.rows(layer, heads, at, at + 1)[:, 0]
        best = np.argsort(-weights, axis=None, kind="stable")[:count]
        places = zip(*(axis.tolist() for axis in np.unravel_index(best, weights.shape)), strict=True)
        found += [Pair(layer, heads[row], other, float(weights[row, other])) for row, other in places]
    found = [pair for pair in found if pair.weight > 0]
    return sorted(found, key=lambda pair: (-pair.weight, pair.layer, pair.head, pair.other))[:count]


def _rolled_row(trace: AttentionWeights, query: int) -> Floats:
    row = np.zeros(trace.length, dtype=np.float32)
    row[query] = 1.0
    for layer in reversed(trace.layers):
        below = np.zeros_like(row)
        for start, stop, weights in trace.blocks(layer, range(trace.heads)):
            if start > query:  # no later token is read
                break
            below += row[start:stop] @ _with_residual(weights.mean(axis=0), start)
        row = below
    return row


def _with_residual(rows: Floats, start: int) -> Floats:
    """Add what each token keeps of itself to mean weights (n, T) of those from `start` on; normalise."""
    places = np.arange(len(rows))
    rows[places, places + start] += 1.0
    rows /= rows.sum(axis=1, keepdims=True)
    return rows
