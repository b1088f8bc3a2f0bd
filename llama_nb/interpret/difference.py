"""Where two sequences part: tokens by their ids, texts by their characters. Knows no torch."""

from collections.abc import Sequence
from typing import Any


def first_difference(ours: Sequence[Any], reference: Sequence[Any]) -> int | None:
    """Return the place of the first item that differs, None when the sequences are equal.

    Where one begins with the whole of the other, that is the length of the shorter.
    """
    for place, (mine, other) in enumerate(zip(ours, reference, strict=False)):
        if mine != other:
            return place
    return None if len(ours) == len(reference) else min(len(ours), len(reference))
