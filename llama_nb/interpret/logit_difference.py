"""How far the logits of one model are from another's on a few texts: what a conversion has changed.

The two are read into memory one after the other, in float32. Knows checked models, no sessions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from llama_nb.core.events import quiet
from llama_nb.core.stop import StopFlag
from llama_nb.loading.check import Checked
from llama_nb.loading.weights import read, release, tokenizer_of

_LONGEST: Final = 64  # tokens of each text


@dataclass(frozen=True, slots=True)
class LogitDifference:
    """How far two models' predictions are from each other.

    Attributes
    ----------
    tokens
        How many predictions were compared.
    largest
        The largest difference of a logit.
    same
        At how many of them the likeliest next token is the same.
    """

    tokens: int
    largest: float
    same: int


def logit_difference(
    first: Checked, second: Checked, texts: Sequence[str], stop: StopFlag | None = None
) -> LogitDifference:
    """Compare the logits of two models of one vocabulary behind each token of `texts`.

    Raises
    ------
    LoadError
        If one of them cannot be read.
    LoadCancelled
        If `stop` was set.
    """
    tokenizer = tokenizer_of(first)
    ids = [numbers[:_LONGEST] for numbers in tokenizer(list(texts)).input_ids if numbers]
    largest, same = 0.0, 0
    for one, other in zip(_logits(first, ids, stop), _logits(second, ids, stop), strict=True):
        largest = max(largest, float((one - other).abs().max()))
        same += int((one.argmax(-1) == other.argmax(-1)).sum())
    return LogitDifference(sum(map(len, ids)), largest, same)


@torch.inference_mode()
def _logits(checked: Checked, ids: Sequence[Sequence[int]], stop: StopFlag | None) -> list[Any]:
    """Return logits [tokens, vocabulary] for each text, and give the model's memory back."""
    with quiet():
        loaded = read(checked, dtype="float32", device="cpu", stop=stop)
    try:
        return [loaded.module(torch.tensor([numbers])).logits[0].float() for numbers in ids]
    finally:
        release(loaded)
