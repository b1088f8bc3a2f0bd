"""Whether a model fits into the memory that is free, and what would fit instead.

Weights, KV cache and working memory, against a number of bytes that the caller measured.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from llama_nb.core.errors import FitError
from llama_nb.render.units import size

# A chat in fewer tokens than this is no chat.
SHORTEST_CONTEXT: Final = 2048


@dataclass(frozen=True, slots=True)
class Option:
    """Something else that could be loaded.

    Attributes
    ----------
    what, command
        What to say, and what to type.
    bytes
        What it takes.
    available
        The free bytes where it would lie, when that is on another device.
    """

    what: str
    command: str
    bytes: int
    available: int | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """What a model takes.

    Attributes
    ----------
    weights, kv_cache, working
        Bytes of the weights in the dtype they are loaded in, of the KV cache of `context` tokens, and of what
        computing takes beside.
    options
        What to offer when this does not fit.
    """

    name: str
    dtype: str
    device: str
    context: int
    weights: int
    kv_cache: int
    working: int
    options: tuple[Option, ...] = ()

    @property
    def total(self) -> int:
        """All bytes together."""
        return self.weights + self.kv_cache + self.working


def largest_context(needed: Callable[[int], int], longest: int, available: int) -> int:
    """Return the longest context, at most `longest`, that fits; 0 if none does.

    `needed` has the bytes for a context. Contexts that had to be shortened are multiples of 256 tokens.
    """
    if needed(longest) <= available:
        return longest
    return 256 * bisect_right(range(256, longest + 1, 256), available, key=needed)


def check_fit(needed: Need, available: int) -> None:
    """Raise FitError, with numbers and the three nearest options, if `needed` exceeds `available` bytes."""
    if needed.total <= available:
        return
    fitting = [
        option
        for option in needed.options
        if option.bytes <= (available if option.available is None else option.available)
    ]
    nearest = sorted(fitting, key=lambda option: -option.bytes)[:3]
    raise FitError(
        f"{needed.name} does not fit: {needed.dtype} on {needed.device} needs {gigabytes(needed.total)} "
        f"(weights {gigabytes(needed.weights)}, KV cache for {needed.context:,} tokens "
        f"{gigabytes(needed.kv_cache)}, working memory {gigabytes(needed.working)}); "
        f"{gigabytes(available)} are free.",
        _hint(nearest, needed.total - available),
    )


def _hint(options: Sequence[Option], short_of: int) -> str:
    lines = [f"  {option.what} ({gigabytes(option.bytes)}): {option.command}" for option in options]
    free = f"Or free {gigabytes(short_of)}: `%llama unload` a model, close other programs."
    return "\n".join(["What fits:", *lines, free]) if lines else free


def gigabytes(count: int) -> str:
    """Return bytes as text with three significant digits: "16.1 GB", "260 MB"."""
    return size(count)
