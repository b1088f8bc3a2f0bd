"""What the texts among the sampling parameters are in a vocabulary: biased tokens, banned words, breakers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from llama_nb.core.errors import SamplingError
from llama_nb.core.sampling import Sampling
from llama_nb.engines.head import Floats, Ids


@dataclass(frozen=True, slots=True)
class TokenWords:
    """Texts as token ids.

    Attributes
    ----------
    bias_ids, bias
        Each biased token once, and what is added to its logit.
    banned
        Token sequences that are never written.
    breaks
        Whether a token ends the sequences that DRY compares.
    """

    bias_ids: Ids
    bias: Floats
    banned: tuple[tuple[int, ...], ...]
    breaks: Callable[[int], bool]


NO_WORDS: Final = TokenWords(np.empty(0, np.int64), np.empty(0, np.float32), (), lambda _: False)


def find_words(
    sampling: Sampling, encode: Callable[[str], Sequence[int]], show: Callable[[int], str], size: int
) -> TokenWords:
    """Look the texts of `sampling` up in a vocabulary.

    Parameters
    ----------
    encode
        Tokenises a text, nothing added.
    show
        The text of a token.
    size
        How many tokens the vocabulary has.

    Raises
    ------
    SamplingError
        If a token of `logit_bias` is none: an id that does not exist, or a text of several tokens.
    """
    amounts: dict[int, float] = {}
    for key, amount in sampling.logit_bias:
        for token in _biased(key, encode, size):
            amounts[token] = amounts.get(token, 0.0) + amount
    words = {_ids(text, encode) for word in sampling.banned for text in (word, f" {word}")}
    breakers = sampling.dry_breakers
    return TokenWords(
        np.fromiter(amounts, np.int64),
        np.fromiter(amounts.values(), np.float32),
        tuple(sorted(word for word in words if word)),
        lambda token: any(breaker in show(token) for breaker in breakers),
    )


def _biased(key: int | str, encode: Callable[[str], Sequence[int]], size: int) -> set[int]:
    """The tokens that a key of `logit_bias` names: an id, or a text with or without a space before it."""
    if isinstance(key, int):
        if not 0 <= key < size:
            raise SamplingError(f"logit_bias names token {key}; the vocabulary has {size:,} tokens, from 0.")
        return {key}
    found = [_ids(text, encode) for text in (key, f" {key}")]
    single = {ids[0] for ids in found if len(ids) == 1}
    if not single:
        pieces = ", ".join(map(str, found[0]))
        raise SamplingError(
            f"logit_bias names {key!r}, which is {len(found[0])} tokens here: {pieces}.",
            "Bias one of them by its id, or ban the word (banned).",
        )
    return single


def _ids(text: str, encode: Callable[[str], Sequence[int]]) -> tuple[int, ...]:
    return tuple(encode(text))
