"""How fast a model can be at most: bytes read per token against bandwidth, operations against FLOPs.

Bounds, no forecasts. Decoding reads every active weight and the cache once per token; a prompt costs two
operations per active parameter and token, and four per head dimension, head and earlier token.
"""

from dataclasses import dataclass, replace

from llama_nb.planner.job import Job, Target
from llama_nb.planner.memory import group_bytes, kv_cache_bytes
from llama_nb.planner.split import Split


@dataclass(frozen=True, slots=True)
class Speed:
    """The most tokens per second that a device can give; None where a figure of it is not known.

    Attributes
    ----------
    decode
        One sequence's tokens, one after another, at the job's context.
    prefill
        Tokens of a prompt of that length.
    first_token_s
        Seconds until a prompt of the whole context is read, at least.
    """

    name: str
    decode: float | None
    prefill: float | None
    first_token_s: float | None


def step_bytes(job: Job, count: int = 1) -> float:
    """Return the bytes that `count` GPUs read together to decode one token of each sequence.

    The active weights, and every sequence's cache.
    """
    shape = job.shape
    cache = kv_cache_bytes(shape, job.context, job.cache_dtype or job.dtype, job.batch)
    return read_bytes(job, job.batch) + cache * Split(shape, count).keys


def read_bytes(job: Job, sequences: int = 1) -> float:
    """Return the bytes of weights that are read to decode one token of each of so many sequences.

    Of an embedding that is not the head too, one row a sequence is read. With few sequences a mixture reads
    few experts: never more than each sequence's own.
    """
    shape = job.shape
    return sum(
        min(1.0, sequences * group.active) * group_bytes(group, job.format, job.dtype)
        for group in shape.groups()
        if group.part != "embedding" or shape.tied
    )


def prefill_flops(job: Job) -> float:
    """Return the operations per token of a prompt as long as the context, on average."""
    shape = job.shape
    # A token looks at half of the context on average: two products of two operations each.
    attention = 4 * shape.heads * shape.head_dim * shape.kept_tokens(job.context) / 2
    return 2 * shape.active_parameters + attention


def speed(job: Job, target: Target) -> Speed:
    """Return the bounds of `target`, of all its devices together."""
    read = step_bytes(replace(job, batch=1), target.count)
    decode = target.bandwidth * target.count / read if target.bandwidth else None
    prefill = target.flops * target.count / prefill_flops(job) if target.flops else None
    return Speed(target.name, decode, prefill, job.context / prefill if prefill else None)
