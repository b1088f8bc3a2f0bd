"""How many GPUs a job needs, and how many tokens a second they can give at most: bounds, no forecasts.

Fits by the plan's bytes. Tokens come from the makers' figures, which no server reaches: decoding reads the
weights once for a whole batch and each sequence's cache once; a prompt costs operations.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from llama_nb.catalog.gpus import GpuSet
from llama_nb.core.errors import FitError
from llama_nb.planner.fit import gigabytes
from llama_nb.planner.job import Job, Target
from llama_nb.planner.plan import part_bytes
from llama_nb.planner.speed import prefill_flops, step_bytes

# Tensor parallelism splits heads: servers take powers of two.
_COUNTS: Final = (1, 2, 4, 8, 16, 32, 64)


def memory(job: Job, gpus: GpuSet, count: int) -> Mapping[str, int]:
    """Return the bytes of each part of a plan on `count` of these GPUs together."""
    return part_bytes(job, Target(gpus.name, gpus.memory, count, gpus.bandwidth, gpus.flops))


def fits(job: Job, gpus: GpuSet, count: int) -> bool:
    """Whether `count` of these GPUs hold it."""
    return sum(memory(job, gpus, count).values()) <= count * gpus.memory


def gpus_needed(job: Job, gpus: GpuSet) -> int:
    """Return how many of these GPUs hold `job`: a power of two, or the number that was asked for.

    Raises
    ------
    FitError
        If it does not fit into the number asked for, or into 64 of them.
    """
    asked = (gpus.count,) if gpus.count > 1 else _COUNTS
    for count in asked:
        if fits(job, gpus, count):
            return count
    most, one = asked[-1], gpus.name.removeprefix(f"{gpus.count}x ")
    parts = memory(job, gpus, most)
    enough = next((count for count in _COUNTS if count > most and fits(job, gpus, count)), None)
    more = f"{enough} of them hold it; a" if enough else "A"
    raise FitError(
        f"This does not fit into {most}x {one}: weights {gigabytes(parts['weights'])}, "
        f"{job.batch} caches of {job.context:,} tokens {gigabytes(parts['kv_cache'])}, "
        f"working memory {gigabytes(parts['activations'])}, "
        f"the driver's context {gigabytes(parts['overhead'])}; {gigabytes(most * gpus.memory)} are there.",
        f"{more} smaller `quant`, `batch` or `context` needs less.",
    )


def largest_batch(job: Job, count: int, gpus: GpuSet, most: int) -> int:
    """Return how many sequences `count` GPUs can decode together, from 1 to `most`."""
    batches = range(most, 1, -1)
    return next((batch for batch in batches if fits(replace(job, batch=batch), gpus, count)), 1)


def tokens_per_second(job: Job, count: int, gpus: GpuSet, input_share: float) -> float:
    """Return the most tokens a second, prompts and answers together, that `count` GPUs can give.

    Parameters
    ----------
    input_share
        Share of prompt tokens among all tokens.

    Notes
    -----
    Seconds of an answer's token: the larger of bytes read / bandwidth and 2 x active parameters / FLOPs.
    Seconds of a prompt's token: its operations / FLOPs. Where the maker states no FLOPs, a prompt's token is
    counted like an answer's, which is too slow.
    """
    assert gpus.bandwidth is not None
    decode = step_bytes(job, count) / (count * gpus.bandwidth) / job.batch
    if gpus.flops is None:
        return 1 / decode
    flops = count * gpus.flops
    prefill = prefill_flops(job) / flops
    answer = max(decode, 2 * job.shape.active_parameters / flops)
    return 1 / (input_share * prefill + (1 - input_share) * answer)
