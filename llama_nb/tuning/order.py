"""The order of data: a pure function of seed, epoch and number, so that a run resumes from a number alone.

Only raw bits of Philox are used: NumPy keeps them the same in all versions, which it does not for shuffles.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Indices: TypeAlias = npt.NDArray[np.int64]


def shuffled(count: int, seed: int, epoch: int, purpose: int = 0) -> Indices:
    """Return the numbers below `count` in the order of `epoch`.

    Parameters
    ----------
    count
        How many there are.
    seed
        Any integer.
    epoch
        From 0.
    purpose
        Tells shuffles of one epoch apart.
    """
    key = [seed % 2**64, (epoch * 16 + purpose) % 2**64]
    keys = np.random.Philox(key=np.array(key, dtype=np.uint64)).random_raw(count)
    return np.argsort(keys, kind="stable").astype(np.int64)
