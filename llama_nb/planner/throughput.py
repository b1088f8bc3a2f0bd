"""How many GPUs a model needs, and how many tokens a second they can give at most: bounds, no forecasts.

Decoding reads the weights once for a whole batch and each sequence's cache once; a prompt costs two
operations for each active parameter and token. Both come from the makers' figures, which no server reaches.
"""

import math
from dataclasses import dataclass

from llama_nb.catalog.gpus import GpuSet
from llama_nb.core.errors import FitError
from llama_nb.planner.fit import gigabytes, margin
from llama_nb.planner.formats import find_format
from llama_nb.planner.memory import group_bytes, kv_cache_bytes, quantised_bytes
from llama_nb.planner.shape import Shape

# Tensor parallelism splits heads: servers take powers of two.
_COUNTS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Load:
    """What a server holds while it works.

    Attributes
    ----------
    shape
        The model.
    quant, dtype
        How its weights are kept, and what its cache is in.
    batch
        Sequences that decode together.
    context
        Tokens of each in the cache.
    """

    shape: Shape
    quant: str
    dtype: str
    batch: int
    context: int

    @property
    def weights(self) -> int:
        """Bytes of the weights."""
        return quantised_bytes(self.shape, self.quant, self.dtype)

    @property
    def cache(self) -> int:
        """Bytes of the KV cache of one sequence."""
        return kv_cache_bytes(self.shape, self.context, self.dtype)

    def caches(self, count: int) -> int:
        """Return the bytes of all caches on `count` GPUs: where GPUs outnumber key heads, each keeps one."""
        return self.batch * self.cache * max(count, self.shape.kv_heads) // self.shape.kv_heads

    def memory(self, count: int) -> int:
        """Return the bytes that `count` GPUs need together: weights, caches and working memory."""
        return self.weights + self.caches(count) + margin(self.weights)


def gpus_needed(load: Load, gpus: GpuSet) -> int:
    """Return how many of these GPUs hold `load`: a power of two, or the number that was asked for.

    Raises
    ------
    FitError
        If it does not fit into the number asked for, or into 64 of them.
    """
    asked = (gpus.count,) if gpus.count > 1 else _COUNTS
    for count in asked:
        if load.memory(count) <= count * gpus.memory:
            return count
    least = math.ceil(load.memory(1) / gpus.memory)
    one = gpus.gpu.name if gpus.gpu else gpus.name
    raise FitError(
        f"This does not fit into {asked[-1]}x {one}: weights {gigabytes(load.weights)}, "
        f"{load.batch} caches of {load.context:,} tokens {gigabytes(load.caches(asked[-1]))}, "
        f"working memory {gigabytes(margin(load.weights))}; {gigabytes(asked[-1] * gpus.memory)} are there.",
        f"At least {least} of them hold it; a smaller `quant`, `batch` or `context` needs less.",
    )


def largest_batch(load: Load, count: int, gpus: GpuSet, most: int) -> int:
    """Return how many sequences `count` GPUs can decode together, at most `most`."""
    left = count * gpus.memory - load.weights - margin(load.weights)
    return max(1, min(most, left * load.batch // load.caches(count)))


def tokens_per_second(load: Load, count: int, gpus: GpuSet, input_share: float) -> float:
    """Return the most tokens a second, prompts and answers together, that `count` GPUs can give.

    Parameters
    ----------
    input_share
        Share of prompt tokens among all tokens.

    Notes
    -----
    Seconds of an answer's token: the larger of bytes read / bandwidth and 2 x active parameters / FLOPs.
    Seconds of a prompt's token: 2 x active parameters / FLOPs. Where the maker states no FLOPs, a prompt's
    token is counted like an answer's, which is too slow.
    """
    assert gpus.bandwidth is not None
    bandwidth = count * gpus.bandwidth
    decode = _step_bytes(load, count) / bandwidth / load.batch
    if gpus.flops is None:
        return 1 / decode
    prefill = 2 * load.shape.active_parameters / (count * gpus.flops)
    return 1 / (input_share * prefill + (1 - input_share) * max(decode, prefill))


def _step_bytes(load: Load, count: int) -> float:
    """Return the bytes that one decoding step of the whole batch reads.

    Of an embedding that is not the head too, one row a sequence is read. With few sequences a mixture reads
    few experts: never more than each sequence's own.
    """
    chosen = find_format(load.quant, load.dtype)
    weights = sum(
        min(1.0, load.batch * group.active) * group_bytes(group, chosen, load.dtype)
        for group in load.shape.groups()
        if group.part != "embedding" or load.shape.tied
    )
    return weights + load.caches(count)
