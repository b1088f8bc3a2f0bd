"""The distribution of a next token as it passes through the stages of the sampling, as a value.

It keeps the model's logits for the whole vocabulary, so that other parameters can be tried at once and
exactly, without the model. How it looks is `render/distribution.py`'s business.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import SamplingError
from llama_nb.core.no_effect import no_effect
from llama_nb.core.sampling import Sampling
from llama_nb.runtime import presets
from llama_nb.session.token_names import TokenNames

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.engines.base import NextToken
    from llama_nb.engines.head import Doubles, Floats, Head, Ids
    from llama_nb.engines.token_words import TokenWords

HEAD: Final = 1000
_LIKELY: Final = 5  # tokens that a stage names
_PROMOTED: Final = 20  # tokens listed because the sampling made them likely, from whatever rank
_MOST_DRAWS: Final = 10_000_000
_ROUNDING: Final = 1e-6  # of a sum of float32 probabilities
_WORDY: Final = ("logit_bias", "banned", "dry_breakers", "dry_multiplier")


@dataclass(frozen=True, slots=True)
class TokenChance:
    """A token before and after the sampling.

    `before` and `after` are probabilities; `removed_by` names the stage that ruled the token out.
    """

    id: int
    text: str
    special: bool
    before: float
    after: float
    removed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """The distribution behind one stage.

    Attributes
    ----------
    name
        The stage; "logits" is the model's own distribution, "grammar" what the reply's schema, pattern or
        choice allows of it, "greedy" the choice at temperature 0.
    kept, removed
        How many tokens can still come, and how many this stage ruled out.
    lost
        The share of the distribution before it that this stage took away.
    mass
        What the model itself gave the tokens that can still come.
    entropy
        In nats.
    top
        The likeliest tokens as (text, probability), best first.
    """

    name: str
    kept: int
    removed: int
    lost: float
    mass: float
    entropy: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How often a token was drawn, and how often that is to be expected."""

    id: int
    text: str
    count: int
    expected: float


class Distribution:
    """What a token is chosen from. Made by `Model.distribution`.

    Kept are the logits of the whole vocabulary in float32 (`nbytes`: 513,024 bytes at 128,256 tokens), and as
    much again for each later distribution that is asked for and holds the whole vocabulary. All figures are
    exact: `head` only says how many tokens are listed.

    Attributes
    ----------
    logits
        The model's, shape (V,); not to be changed.
    sampling
        The parameters.
    place
        Where it is: "token 3 of the reply".
    chosen
        Id of the token that stands there; None at an end.
    stages
        The distribution behind each stage that is on, the model's own ("logits") first, then what a grammar
        left of it ("grammar"). XTC is shown as it acts when it acts; `after`, `top` and `resample` count how
        often that is.
    head
        How many tokens are listed.
    """

    def __init__(
        self,
        found: "NextToken",
        sampling: Sampling,
        names: TokenNames,
        *,
        place: str,
        chosen: int | None = None,
        head: int = HEAD,
        words: "TokenWords | None" = None,
    ) -> None:
        self.logits: Floats = found.logits
        self.sampling = sampling
        self.place, self.chosen, self.head = place, chosen, head
        self._found, self._names = found, names
        self._words = names.words(sampling, len(self.logits)) if words is None else words
        self._steps = steps = self._trace(sampling)
        names.learn(steps[0][1].ids[:_PROMOTED].tolist())
        self.stages = self._summaries(steps)
        self._listed: list[int] = steps[0][1].ids[:head].tolist()
        self._removed = self._removers(steps)
        # (how often, the distribution): XTC acts in some draws only.
        self._finals: list[tuple[float, Head]] = [(1.0, steps[-1][1])]
        if sampling.xtc_probability < 1 and any(name == "xtc" for name, _ in steps):
            plain = self._trace(sampling.replace(xtc_probability=0))
            share = sampling.xtc_probability
            self._finals = [(share, steps[-1][1]), (1 - share, plain[-1][1])]

    # --- reading it -----------------------------------------------------------------------------------

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return len(self.logits)

    @property
    def nbytes(self) -> int:
        """Bytes of the logits that are kept."""
        return int(self.logits.nbytes)

    @functools.cached_property
    def before(self) -> "Floats":
        """The model's own probabilities, shape (V,)."""
        from llama_nb.engines.head import softmax

        return softmax(self.logits)

    @functools.cached_property
    def after(self) -> "Doubles":
        """The probabilities with which the sampler chooses, shape (V,)."""
        import numpy as np

        chances = np.zeros(self.vocabulary)
        for share, head in self._finals:
            chances += share * self._chances(head)
        return chances

    def top(self, n: int = 10) -> tuple[TokenChance, ...]:
        """Return the `n` likeliest tokens, be it before the sampling or after it; likeliest before first."""
        likeliest = sorted(self._rows(), key=lambda row: (-max(row.before, row.after), row.id))[:n]
        return tuple(sorted(likeliest, key=lambda row: (-row.before, row.id)))

    def to_frame(self) -> "pd.DataFrame":
        """Return the listed tokens, likeliest before first: id, text, special, before, after, removed_by."""
        import pandas as pd

        columns = list(TokenChance.__slots__)
        rows = [[getattr(row, name) for name in columns] for row in self._rows()]
        return pd.DataFrame(rows, columns=columns)

    def token(self, token: int) -> TokenChance:
        """Return one token, listed or not."""
        return self._row(token)

    def behind(self, stage: int) -> "Floats | Doubles":
        """Return the probabilities behind `stages[stage]`, shape (V,): what the stages so far have made."""
        return self._chances(self._steps[stage][1])

    # --- without the model ----------------------------------------------------------------------------

    def resample(self, n: int = 1000, *, seed: int | None = None) -> tuple[TokenCount, ...]:
        """Draw `n` tokens as the sampler would, each anew from this distribution, and count them.

        Parameters
        ----------
        n
            How many, at most ten million.
        seed
            The same seed gives the same counts; None draws one.

        Returns
        -------
        tuple of TokenCount
            The tokens that came, most frequent first.
        """
        import numpy as np

        from llama_nb.engines.sampler import Wheel

        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MOST_DRAWS:
            raise SamplingError(f"n is {n!r}.", f"Allowed: a whole number, 1 to {_MOST_DRAWS:,}.")
        random = np.random.default_rng(seed)
        drawn = np.zeros(n, np.int64)
        which = random.random(n) < self._finals[0][0]
        for number, (_, head) in enumerate(self._finals):
            here = which if number == 0 else ~which
            drawn[here] = Wheel(head).draw_many(random.random(int(here.sum())))
        ids, counts = np.unique(drawn, return_counts=True)
        self._names.learn(ids.tolist())
        rows = [
            TokenCount(token, self._names.text(token), count, n * float(self.after[token]))
            for token, count in zip(ids.tolist(), counts.tolist(), strict=True)
        ]
        return tuple(sorted(rows, key=lambda row: (-row.count, row.id)))

    def replace(self, **sampling: Any) -> "Distribution":
        """Return the same place with other sampling parameters (or a `preset`); the model is not asked again.

        Raises
        ------
        ModelGone
            If texts among the parameters change (`banned`, `logit_bias`, DRY) after the model was unloaded.
        """
        changed = self.sampling.replace(**presets.expand(sampling))
        same = all(getattr(changed, name) == getattr(self.sampling, name) for name in _WORDY)
        return Distribution(
            self._found,
            changed,
            self._names,
            place=self.place,
            chosen=self.chosen,
            head=self.head,
            words=self._words if same else None,
        )

    # --- how it is shown ------------------------------------------------------------------------------

    def to_record(self, tokens: int = 12) -> dict[str, Any]:
        """Return it as JSON values, with its `tokens` likeliest tokens."""
        rows = self.top(tokens)
        chosen = None if self.chosen is None else _plain(self.token(self.chosen))
        standard = Sampling().to_dict()
        return {
            "place": self.place,
            "vocabulary": self.vocabulary,
            "sampling": {
                key: value for key, value in self.sampling.to_dict().items() if value != standard[key]
            },
            "no_effect": dict(no_effect(self.sampling)),
            "stages": [{**_plain(stage), "top": [list(pair) for pair in stage.top]} for stage in self.stages],
            "tokens": [_plain(row) for row in rows],
            "rest": {
                "before": max(0.0, 1.0 - sum(row.before for row in rows)),
                "after": max(0.0, 1.0 - sum(row.after for row in rows)),
            },
            "chosen": chosen,
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.distribution import bundle
        from llama_nb.runtime.environment import detect

        return bundle(self.to_record(), watched=detect().watched)

    def __repr__(self) -> str:
        names = ", ".join(stage.name for stage in self.stages[1:]) or "no stage"
        left = f"{self.stages[-1].kept:,} of {self.vocabulary:,} tokens left"
        return f"Distribution({self.place}: {left} by {names})"

    # --- how it is made -------------------------------------------------------------------------------

    def _trace(self, sampling: Sampling) -> "list[tuple[str, Head]]":
        from llama_nb.engines.sampler import Sampler

        found = self._found
        sampler = Sampler(sampling, found.prompt, found.reply, self._words, found.surprise)
        steps = list(sampler.trace(self.logits, size=max(self.head, HEAD), allowed=found.allowed))
        if sampling.greedy:
            steps.append(("greedy", steps[-1][1].cut(1)))
        return steps

    def _summaries(self, steps: "Sequence[tuple[str, Head]]") -> tuple[Stage, ...]:
        import numpy as np

        stages: list[Stage] = []
        kept = self.vocabulary
        before: Head | None = None
        for name, head in steps:
            if head.tail is None:
                alive, count = head.ids, len(head.ids)
            else:
                alive = np.flatnonzero(np.isfinite(head.tail.scores))
                count = len(alive)
            lost = 0.0 if before is None else 1.0 - float(self._chances(before)[alive].sum(dtype=np.float64))
            chances = head.chances()[:_LIKELY].tolist()
            ids = head.ids[:_LIKELY].tolist()
            self._names.learn(ids)
            stages.append(
                Stage(
                    name=name,
                    kept=count,
                    removed=kept - count if before is not None else 0,
                    lost=lost if lost > _ROUNDING else 0.0,
                    mass=self._mass(alive),
                    entropy=head.entropy(),
                    top=tuple((self._names.text(token), p) for token, p in zip(ids, chances, strict=True)),
                )
            )
            kept, before = count, head
        return tuple(stages)

    def _mass(self, alive: "Ids") -> float:
        if len(alive) == self.vocabulary:
            return 1.0
        return min(1.0, float(self.before[alive].sum(dtype=float)))

    def _removers(self, steps: "Sequence[tuple[str, Head]]") -> dict[int, str]:
        """The stage that ruled out each listed token, by token."""
        import numpy as np

        listed = np.asarray(self._listed, dtype=np.int64)
        alive = np.ones(len(listed), dtype=np.bool_)
        gone: dict[int, str] = {}
        for name, head in steps[1:]:
            tail = head.tail
            now = np.isin(listed, head.ids) if tail is None else np.isfinite(tail.scores[listed])
            gone |= dict.fromkeys(listed[alive & ~now].tolist(), name)
            alive &= now
        return gone

    def _chances(self, head: "Head") -> "Floats | Doubles":
        """The probabilities of a distribution, shape (V,)."""
        import numpy as np

        from llama_nb.engines.head import softmax

        if head.tail is not None:
            return softmax(head.tail.logits())
        chances = np.zeros(self.vocabulary)
        chances[head.ids] = head.chances()
        return chances

    def _rows(self) -> list[TokenChance]:
        promoted = [token for _, head in self._finals for token in head.ids[:_PROMOTED].tolist()]
        ids = list(dict.fromkeys([*self._listed, *promoted]))
        self._names.learn(ids)
        return [self._row(token) for token in ids]

    def _row(self, token: int) -> TokenChance:
        return TokenChance(
            token,
            self._names.text(token),
            self._names.special(token),
            float(self.before[token]),
            float(self.after[token]),
            self._removed.get(token) if self.after[token] == 0 else None,
        )


def _plain(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in type(row).__slots__}
