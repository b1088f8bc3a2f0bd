"""What a sampler remembers of the tokens before, and the stages that change single logits because of them.

Each stage here is a change: some token ids, and how their logits become others. What it costs per token is
proportional to the window at most (DRY), and a few microseconds for the rest.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from llama_nb.core.sampling import Sampling
from llama_nb.engines.head import Change, Floats, Ids

_LONGEST_MATCH: Final = 50  # as in DRY's first implementation: longer repetitions cost no more


class Edit(NamedTuple):
    """The tokens that a stage changes, and how."""

    ids: Ids
    how: Change


class Past:
    """The tokens of prompt and reply as the penalties see them.

    Parameters
    ----------
    sampling
        Says what must be remembered.
    prompt, reply
        The token ids so far.
    breaks
        Whether a token ends the sequences that DRY compares.
    """

    def __init__(
        self,
        sampling: Sampling,
        prompt: Sequence[int],
        reply: Iterable[int] = (),
        breaks: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._window = sampling.penalty_window
        self._start = len(prompt)
        self._tokens = list(prompt)
        self._seen: Ids = np.unique(np.asarray(prompt, dtype=np.int64))
        self._counts: Counter[int] = Counter()
        self._follow = _Follow(sampling.no_repeat_ngram, prompt) if sampling.no_repeat_ngram else None
        self._matches = _Matches(prompt, breaks) if sampling.dry_multiplier else None
        for token in reply:
            self.add(token)

    def add(self, token: int) -> None:
        """Take a token of the reply."""
        self._tokens.append(token)
        if token not in self._counts and token not in self._seen:
            self._seen = np.append(self._seen, token)
        self._counts[token] += 1
        if self._follow is not None:
            self._follow.add(token)
        if self._matches is not None:
            self._matches.add(token)

    def seen(self) -> Ids:
        """Return the distinct tokens of prompt and reply, or of the window."""
        if not self._window:
            return self._seen
        return np.unique(np.asarray(self._tokens[-self._window :], dtype=np.int64))

    def counts(self) -> Counter[int]:
        """Return how often each token stands in the reply, or in the part of it that is in the window."""
        if not self._window:
            return self._counts
        return Counter(self._tokens[max(self._start, len(self._tokens) - self._window) :])

    def repeated(self, allowed: int) -> tuple[Ids, Floats]:
        """Return the tokens that would go on with a repeated sequence, and how much longer than `allowed`."""
        if self._matches is None:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        return self._matches.following(allowed, self._window)

    def forbidden(self) -> Ids:
        """Return the tokens that would complete a sequence of `no_repeat_ngram` a second time."""
        found = self._follow.forbidden() if self._follow is not None else ()
        return np.fromiter(found, np.int64)

    def ends_with(self, tokens: Sequence[int]) -> bool:
        """Whether the last tokens are these."""
        return not tokens or self._tokens[-len(tokens) :] == list(tokens)


def repetition_penalty(past: Past, value: float) -> Edit:
    """Divide the positive logits of seen tokens by `value`, multiply the negative ones."""
    penalty = np.float32(value)
    return Edit(
        past.seen(),
        lambda values, _: np.where(values < 0, values * penalty, values / penalty).astype(np.float32),
    )


def presence_penalty(past: Past, value: float) -> Edit:
    """Subtract `value` from the logits of the reply's tokens."""
    return _less(np.fromiter(past.counts(), np.int64), np.float32(value))


def frequency_penalty(past: Past, value: float) -> Edit:
    """Subtract `value` from the logits of the reply's tokens, each time one stands there."""
    counts = past.counts()
    amounts = np.float32(value) * np.fromiter(counts.values(), np.float32)
    return _less(np.fromiter(counts, np.int64), amounts)


def dry(past: Past, multiplier: float, base: float, allowed: int) -> Edit:
    """Subtract multiplier * base ** (n - allowed) for tokens that go on with a repetition of n tokens."""
    ids, longer = past.repeated(allowed)
    return _less(ids, (multiplier * base ** longer.astype(np.float64)).astype(np.float32))


def no_repeat_ngram(past: Past) -> Edit:
    """Rule out what would complete a repeated sequence."""
    return _never(past.forbidden())


def banned(past: Past, words: Iterable[Sequence[int]]) -> Edit:
    """Rule out the last token of each of `words` (token ids) where the others have been written."""
    last = {word[-1] for word in words if word and past.ends_with(word[:-1])}
    return _never(np.fromiter(last, np.int64))


def logit_bias(ids: Ids, amounts: Floats) -> Edit:
    """Add `amounts` to the logits of `ids`."""
    return _less(ids, -amounts)


def _less(ids: Ids, amounts: Floats | np.float32) -> Edit:
    every = np.broadcast_to(amounts, ids.shape)
    return Edit(ids, lambda values, which: values - every[which])


def _never(ids: Ids) -> Edit:
    return Edit(ids, lambda values, _: np.full_like(values, -np.inf))


class _Follow:
    """Which tokens followed each sequence of n - 1 tokens."""

    def __init__(self, size: int, tokens: Iterable[int]) -> None:
        self._size = size
        self._last: tuple[int, ...] = ()
        self._after: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        if len(self._last) == self._size - 1:
            self._after[self._last].add(token)
        self._last = (*self._last, token)[1 - self._size :] if self._size > 1 else ()

    def forbidden(self) -> set[int]:
        return self._after.get(self._last, set())


class _Matches:
    """For each place, how many tokens up to it equal the last tokens of all; kept up to date per token."""

    def __init__(self, tokens: Sequence[int], breaks: Callable[[int], bool]) -> None:
        self._breaks = breaks
        self._known: dict[int, bool] = {}
        room = max(256, 2 * len(tokens))
        self._tokens = np.zeros(room, np.int64)
        self._stops = np.zeros(room, np.bool_)
        self._lengths = np.zeros(room, np.int32)
        self._count = len(tokens)
        self._tokens[: self._count] = tokens
        self._stops[: self._count] = [self._is_break(token) for token in tokens]
        self._lengths[: self._count] = _common_suffixes(tokens, self._stops[: self._count].tolist())

    def add(self, token: int) -> None:
        count = self._count
        if count == len(self._tokens):
            self._tokens, self._stops, self._lengths = (
                np.concatenate([held, np.zeros_like(held)])
                for held in (self._tokens, self._stops, self._lengths)
            )
        stop = self._is_break(token)
        if stop:
            self._lengths[: count + 1] = 0
        else:
            before = np.concatenate([np.zeros(1, np.int32), self._lengths[: max(0, count - 1)]])[:count]
            self._lengths[:count] = np.where(self._tokens[:count] == token, before + 1, 0)
        self._tokens[count], self._stops[count] = token, stop
        self._lengths[count] = 0  # the end itself is no repetition
        self._count += 1

    def following(self, allowed: int, window: int) -> tuple[Ids, Floats]:
        count = self._count
        first = max(0, count - window) if window else 0
        lengths = np.minimum(self._lengths[first : count - 1], _LONGEST_MATCH)
        if window:  # what stands before the window is not seen
            lengths = np.minimum(lengths, np.arange(1, len(lengths) + 1, dtype=np.int32))
        places = np.flatnonzero(lengths >= allowed)
        after = places + first + 1
        open_ = ~self._stops[after]
        ids, which = np.unique(self._tokens[after[open_]], return_inverse=True)
        longest = np.zeros(len(ids), np.float32)
        np.maximum.at(longest, which, lengths[places[open_]].astype(np.float32))
        return ids, longest - np.float32(allowed)

    def _is_break(self, token: int) -> bool:
        if token not in self._known:
            self._known[token] = self._breaks(token)
        return self._known[token]


def _common_suffixes(tokens: Sequence[int], stops: Sequence[bool]) -> list[int]:
    """Return for each place how many tokens up to it equal the last ones: the Z algorithm from behind."""
    # A token that ends sequences equals nothing, not even itself elsewhere.
    text = [-1 - place if stops[place] else token for place, token in enumerate(tokens)][::-1]
    count = len(text)
    found = [0] * count
    left = right = 0
    for place in range(1, count):
        length = min(right - place, found[place - left]) if place < right else 0
        while place + length < count and text[length] == text[place + length]:
            length += 1
        found[place] = length
        if place + length > right:
            left, right = place, place + length
    return found[::-1]
