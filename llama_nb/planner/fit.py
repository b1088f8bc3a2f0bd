"""Whether a model fits into the memory that is free, and what would fit instead.

Weights, KV cache and a margin, against a number of bytes that the caller measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llama_nb.core.errors import FitError
from llama_nb.render.units import size

# Beside weights and cache: activations of one prefill chunk, logits, the allocator's slack.
_FIXED_MARGIN: Final = 64 * 2**20
_RELATIVE_MARGIN: Final = 0.05
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
    weights
        Bytes of the weights in the dtype they are loaded in.
    kv_per_token
        Bytes of the KV cache for each token of context.
    context
        Tokens of context.
    options
        What to offer when this does not fit.
    """

    name: str
    dtype: str
    device: str
    weights: int
    kv_per_token: int
    context: int
    options: tuple[Option, ...] = ()

    @property
    def kv_cache(self) -> int:
        """Bytes of the KV cache at the full context."""
        return self.kv_per_token * self.context

    @property
    def margin(self) -> int:
        """Bytes beside weights and cache."""
        return margin(self.weights)

    @property
    def total(self) -> int:
        """All bytes together."""
        return self.weights + self.kv_cache + self.margin


def margin(weights: int) -> int:
    """Return the bytes to leave for activations and the allocator beside `weights` bytes of weights."""
    return _FIXED_MARGIN + int(weights * _RELATIVE_MARGIN)


def largest_context(needed: Need, available: int) -> int:
    """Return the longest context, at most the model's, whose cache fits beside the weights; 0 if none does.

    Contexts that had to be shortened are rounded down to a multiple of 256 tokens.
    """
    left = available - needed.weights - needed.margin
    if left < 0:
        return 0
    tokens = left // max(needed.kv_per_token, 1)
    return needed.context if tokens >= needed.context else int(tokens // 256 * 256)


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
        f"{gigabytes(needed.kv_cache)}, working memory {gigabytes(needed.margin)}); "
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
