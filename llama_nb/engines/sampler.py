"""How a token is chosen: an ordered chain of named stages over the head of the distribution, and its record.

What a stage does is in `stages` and `penalties`; here is the order, the draw, and what is remembered.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from llama_nb.core.sampling import Sampling
from llama_nb.engines import penalties, stages
from llama_nb.engines.head import (
    HEAD,
    Doubles,
    Floats,
    Head,
    HeadTooSmall,
    Ids,
    Mask,
    find_head,
    keep_only,
    log_z_and_entropy,
    mass_outside,
)
from llama_nb.engines.penalties import Edit, Past
from llama_nb.engines.token_words import NO_WORDS, TokenWords

# The head where none is shown; a batch of 32 rows spends a fifth of their sampling on finding one.
_NOBODY: Final = Head(np.empty(0, np.int64), np.empty(0, np.float32), None)


class NonFiniteLogitsError(ArithmeticError):
    """The logits hold NaN or infinity, or nothing but minus infinity."""


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What one stage did: how many tokens of the head it kept, which it removed, and the mass it removed.

    The removed tokens beyond the head are in `mass` and not in `removed`.
    """

    name: str
    kept: int
    removed: tuple[int, ...]
    mass: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A likely token: its log-probability before the sampler and after it (None: removed).

    `forbidden` says that it was not allowed in the first place.
    """

    id: int
    logprob: float
    sampled: float | None
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The token that was chosen, and the distribution that it was chosen from.

    `sampled` is its log-probability after the sampler. `forbidden` is the probability of all tokens that were
    not allowed; None where all were.
    """

    id: int
    logprob: float
    entropy: float
    candidates: tuple[Candidate, ...]
    steps: tuple[tuple[str, Head], ...]
    forbidden: float | None = None
    sampled: float | None = None

    @property
    def records(self) -> tuple[StageRecord, ...]:
        """What each stage of the chain removed, in order."""
        pairs = zip(self.steps, self.steps[1:], strict=False)
        return tuple(_record(name, before, after) for (_, before), (name, after) in pairs)


def _record(name: str, before: Head, after: Head) -> StageRecord:
    gone = ~np.isin(before.ids, after.ids)
    weights, total = before.weights(), before.total()
    lost = float(weights[gone].sum()) + (total - float(weights.sum()) if after.tail is None else 0.0)
    return StageRecord(name, len(after.ids), tuple(before.ids[gone].tolist()), max(0.0, lost) / total)


@dataclass(frozen=True, slots=True)
class _Stage:
    """A stage that is on: it either changes single logits, or shapes and cuts the distribution."""

    name: str
    edit: Callable[[], Edit] | None = None
    shape: Callable[[Head], Head] | None = None

    def __call__(self, head: Head) -> Head:
        if self.shape is not None:
            return self.shape(head)
        assert self.edit is not None
        ids, how = self.edit()
        return head.change(ids, how) if len(ids) else head


class Sampler:
    """Chooses the tokens of one reply.

    Parameters
    ----------
    sampling
        The parameters; a stage that is off is not in the chain.
    prompt, reply
        The token ids that the penalties see from the start.
    words
        What the texts among the parameters mean in this vocabulary.
    surprise
        Where mirostat goes on, in bits: `surprise` of the sampler that a continued reply began with.
    """

    def __init__(
        self,
        sampling: Sampling,
        prompt: Sequence[int],
        reply: Iterable[int] = (),
        words: TokenWords = NO_WORDS,
        surprise: float | None = None,
    ) -> None:
        self._sampling = sampling
        self._past = Past(sampling, prompt, reply, words.breaks)
        self.surprise = 2 * sampling.mirostat_tau if surprise is None else surprise
        self._excludes = False
        chain = self._chain(words)
        # The changes that come first are made to all logits at once; later ones to what is left of the head.
        first = next((place for place, stage in enumerate(chain) if stage.shape is not None), len(chain))
        self._edits, self._stages = chain[:first], chain[first:]
        if sampling.greedy:
            self._edits, self._stages = tuple(stage for stage in chain if stage.edit is not None), ()

    def choose(
        self,
        logits: Floats,
        draw: Callable[[], float],
        alternatives: int = 0,
        allowed: Mask | None = None,
    ) -> Choice:
        """Choose a token from `logits` (shape V) with uniform numbers from `draw`, and record it.

        It takes `draws(sampling)` numbers, always as many. `allowed` (shape V) says which tokens may come
        at all; it acts before the chain, so that no penalty and no ban can leave none of them.

        Raises
        ------
        NonFiniteLogitsError
            If the logits are not numbers.
        """
        peak = float(logits.max())
        if not math.isfinite(peak):
            raise NonFiniteLogitsError(peak)
        log_z, entropy = log_z_and_entropy(logits)
        scores = self._edited(logits if allowed is None else keep_only(logits, allowed))
        apart = scores is not logits or self._sampling.greedy
        shown = (find_head(logits, alternatives) if alternatives else _NOBODY) if apart else None
        steps: tuple[tuple[str, Head], ...] = ()
        chance: float | None = 0.0
        sampled: list[float | None]
        if self._sampling.greedy:
            assert shown is not None  # greedy sets it apart
            token = int(scores.argmax())
            sampled = [0.0 if id_ == token else None for id_ in shown.ids[:alternatives].tolist()]
        else:
            if self._sampling.xtc_probability:
                self._excludes = draw() < self._sampling.xtc_probability
            steps = self._run(scores)
            shown = shown or steps[0][1]
            wheel = Wheel(steps[-1][1])
            token = wheel.draw(draw())
            chance, *sampled = wheel.logprobs(np.append(token, shown.ids[:alternatives]))
            self._adapt(chance)
        self._past.add(token)
        ids = shown.ids[:alternatives]
        out = np.zeros(len(ids), np.bool_) if allowed is None else ~allowed[ids]
        rows = zip(ids.tolist(), shown.logits[:alternatives].tolist(), sampled, out.tolist(), strict=True)
        candidates = tuple(Candidate(id_, logit - log_z, *rest) for id_, logit, *rest in rows)
        forbidden = None if allowed is None else mass_outside(logits, log_z, allowed)
        return Choice(token, float(logits[token]) - log_z, entropy, candidates, steps, forbidden, chance)

    def trace(
        self, logits: Floats, *, size: int = HEAD, allowed: Mask | None = None
    ) -> tuple[tuple[str, Head], ...]:
        """Return the distribution of `logits` before and after each stage that is on, without a choice.

        What a grammar allows acts before the chain, as a stage of that name. Nothing is drawn and nothing
        remembered; XTC is shown as it acts when it acts.
        """
        excludes, self._excludes = self._excludes, True
        held: tuple[_Stage, ...] = ()
        if allowed is not None:
            kept = keep_only(logits, allowed)
            held = (_Stage("grammar", shape=lambda _: find_head(kept, size)),)
        try:
            while True:
                try:
                    return self._pass(find_head(logits, size), (*held, *self._edits, *self._stages))
                except HeadTooSmall:
                    size = len(logits)  # whoever asks for a trace waits for flat distributions, too
        finally:
            self._excludes = excludes

    def _run(self, scores: Floats) -> tuple[tuple[str, Head], ...]:
        size = HEAD
        while True:
            try:
                return self._pass(find_head(scores, size), self._stages)
            except HeadTooSmall:
                size *= 8

    @staticmethod
    def _pass(head: Head, chain: Iterable[_Stage]) -> tuple[tuple[str, Head], ...]:
        steps = [("logits", head)]
        for stage in chain:
            head = stage(head)
            steps.append((stage.name, head))
        return tuple(steps)

    def _edited(self, logits: Floats) -> Floats:
        """The logits after the changes that come first; the very array when there is nothing to change."""
        scores = logits
        for stage in self._edits:
            assert stage.edit is not None
            ids, how = stage.edit()
            if len(ids) == 0:
                continue
            changed = scores.copy()
            changed[ids] = how(scores[ids], np.arange(len(ids)))
            if changed.max() > -np.inf:  # what would leave no token at all changes nothing
                scores = changed
        return scores

    def _adapt(self, logprob: float | None) -> None:
        """Move mirostat's limit by how surprising the token was."""
        if self._sampling.mirostat_tau:
            bits = -(logprob or 0.0) / math.log(2)
            self.surprise -= self._sampling.mirostat_eta * (bits - self._sampling.mirostat_tau)

    def _dynamic(self, head: Head) -> Head:
        asked = self._sampling
        return stages.dynamic_temperature(
            head, asked.temperature, asked.dynatemp_range, asked.dynatemp_exponent
        )

    def _exclude(self, head: Head) -> Head:
        return stages.xtc(head, self._sampling.xtc_threshold) if self._excludes else head

    def _chain(self, words: TokenWords) -> tuple[_Stage, ...]:
        known = {stage.name: stage for stage in (*self._changes(words), *self._shapes())}
        return tuple(known[name] for name in self._sampling.stages() if name in known)

    def _changes(self, words: TokenWords) -> Iterable[_Stage]:
        """The stages that change single logits and are on."""
        asked, past = self._sampling, self._past
        if len(words.bias_ids):
            yield _Stage("logit_bias", partial(penalties.logit_bias, words.bias_ids, words.bias))
        if asked.repetition_penalty != 1.0:
            yield _Stage(
                "repetition_penalty", partial(penalties.repetition_penalty, past, asked.repetition_penalty)
            )
        if asked.presence_penalty:
            yield _Stage(
                "presence_penalty", partial(penalties.presence_penalty, past, asked.presence_penalty)
            )
        if asked.frequency_penalty:
            yield _Stage(
                "frequency_penalty", partial(penalties.frequency_penalty, past, asked.frequency_penalty)
            )
        if asked.dry_multiplier:
            settings = asked.dry_multiplier, asked.dry_base, asked.dry_allowed_length
            yield _Stage("dry", partial(penalties.dry, past, *settings))
        if asked.no_repeat_ngram:
            yield _Stage("no_repeat_ngram", partial(penalties.no_repeat_ngram, past))
        if words.banned:
            yield _Stage("banned", partial(penalties.banned, past, words.banned))

    def _shapes(self) -> Iterable[_Stage]:
        """The stages that shape or cut the distribution and are on."""
        asked = self._sampling
        if asked.dynatemp_range:
            yield _Stage("temperature", shape=self._dynamic)
        elif asked.temperature not in (0.0, 1.0):
            yield _Stage("temperature", shape=partial(stages.temperature, value=asked.temperature))
        for name, off in _CUTS.items():
            value = getattr(asked, name)
            if value != off:
                yield _Stage(name, shape=partial(getattr(stages, name), value=value))
        if asked.xtc_probability:
            yield _Stage("xtc", shape=self._exclude)
        if asked.mirostat_tau:
            yield _Stage("mirostat", shape=lambda head: stages.mirostat(head, self.surprise))


# The stages that cut by one number, each with the value at which it is off.
_CUTS: Final = {
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "top_n_sigma": 0.0,
}


def draws(sampling: Sampling) -> int:
    """Return how many random numbers the choice of one token takes."""
    return 0 if sampling.greedy else 2 if sampling.xtc_probability else 1


class Wheel:
    """The final distribution, to draw from and to look up."""

    def __init__(self, head: Head) -> None:
        order = np.argsort(head.ids)
        # In the order of ids, which rounding does not shuffle as it does ranks.
        self._ids = head.ids[order]
        self._weights = head.weights()[order]
        self._running = np.cumsum(self._weights)
        self._mass = float(self._running[-1])
        self._head = head
        self._total = max(self._mass, head.tail.total(head)) if head.tail else self._mass

    def draw(self, uniform: float) -> int:
        """Choose by inverse cumulative mass."""
        target = uniform * self._total
        if self._head.tail is not None and target >= self._mass:
            running = np.cumsum(self._head.tail.weights(self._head), dtype=np.float64)
            if running[-1] > 0:
                share = (target - self._mass) / (self._total - self._mass)
                return int(np.searchsorted(running, min(share, 1 - 1e-12) * running[-1], side="right"))
        place = int(np.searchsorted(self._running, target, side="right"))
        return int(self._ids[min(place, len(self._ids) - 1)])

    def draw_many(self, uniforms: Doubles) -> Ids:
        """Choose a token for each of `uniforms`, as `draw` does for one."""
        targets = uniforms * self._total
        places = np.searchsorted(self._running, targets, side="right")
        ids = self._ids[np.minimum(places, len(self._ids) - 1)]
        beyond = targets >= self._mass
        if self._head.tail is not None and beyond.any():
            running = np.cumsum(self._head.tail.weights(self._head), dtype=np.float64)
            if running[-1] > 0:
                shares = (targets[beyond] - self._mass) / (self._total - self._mass)
                marks = np.minimum(shares, 1 - 1e-12) * running[-1]
                ids[beyond] = np.searchsorted(running, marks, side="right")
        return ids

    def logprobs(self, ids: Ids) -> list[float | None]:
        """Return the log-probability of each of `ids`, None for those that cannot come."""
        places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        chances = (self._weights[places] / self._total).tolist()
        there = (self._ids[places] == ids).tolist()
        return [math.log(p) if h and p > 0 else None for p, h in zip(chances, there, strict=True)]
