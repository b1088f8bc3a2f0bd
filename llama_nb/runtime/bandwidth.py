"""How fast this machine reads its memory: the limit of decoding on a CPU. Measured once, in under 0.3 s.

numpy only, so that it can be asked before torch is there.
"""

import functools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import numpy as np

from llama_nb.runtime.devices import usable_cores

# Twice the 32 MB of last-level cache that a large desktop or one part of a server has: read from front to
# back, nothing of it is left in the cache when it is read again.
_SIZE: Final = 64 * 2**20
_SECONDS: Final = 0.25
_MOST_READS: Final = 6


class Reading(NamedTuple):
    """The best rate that was seen, in bytes per second, and how many threads read at once then."""

    rate: float
    threads: int


def read_bandwidth() -> float:
    """Return the bytes per second that this process reads from memory, measured once and then remembered.

    The maximum of 8 million doubles is taken, cut into one part for each thread, with one thread and with as
    many as this process has cores; the best rate counts. One thread does not reach what a machine can do: a
    busy 4-core EPYC gave it 21 GB/s, and four threads 34. What an engine gets may be less than this bound
    (torch's float32 `F.linear` at batch 1 read 15 GB/s there, with one thread as with four).
    """
    return measured().rate


@functools.cache
def measured() -> Reading:
    """Return the measurement behind `read_bandwidth`."""
    started = time.perf_counter()
    # Written, not only reserved: pages that were never touched are all read from one page of zeros.
    numbers = np.ones(_SIZE // 8)
    best = Reading(0.0, 1)
    for threads in sorted({usable_cores(), 1}, reverse=True):
        best = max(best, _read(numbers, threads, started + _SECONDS))
    return best


def _read(numbers: np.ndarray[Any, Any], threads: int, until: float) -> Reading:
    parts = np.array_split(numbers, threads)
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for number in range(_MOST_READS):
            started = time.perf_counter()
            if number and started > until:
                break
            # numpy lets go of the interpreter while it reads.
            list(pool.map(np.max, parts))
            best = max(best, numbers.nbytes / (time.perf_counter() - started))
    return Reading(best, threads)
