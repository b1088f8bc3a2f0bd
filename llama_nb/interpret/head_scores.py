"""What each attention head does on a text, as a number: whether it copies, looks back, looks at the start.

All scores of all heads are made in one pass over the rows of a trace. Knows traces; how the scores look is
`render/heads.py`'s business.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch

from llama_nb.core.errors import MessageError, Stopped
from llama_nb.interpret.attention import AttentionTrace
from llama_nb.interpret.score_kinds import KINDS, NAMES, WINDOW, ScoreKind, find_kind

if TYPE_CHECKING:
    import pandas as pd

_BLOCK: Final = 2**22  # weights that are computed together: 16 MB in float32, about 0.1 s on one core

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HeadScore:
    """A score of one head."""

    layer: int
    head: int
    kind: str
    score: float

    @property
    def place(self) -> tuple[int, int]:
        """Layer and head, as `Model.ablate(heads=[...])` takes them."""
        return self.layer, self.head


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class HeadScores:
    """The scores of all heads of some layers.

    Attributes
    ----------
    model
        Whose heads.
    title
        What was read: "text", "reply in chat main", "random tokens, twice".
    tokens
        How many tokens were read.
    kinds
        Which scores; the first is what `top` ranks by.
    layers
        The numbers of the layers.
    heads
        How many query heads each has.
    scores
        By the name of the kind: float32 of shape (layers, heads), NaN where nothing read calls for it.
    off
        What was turned off in the model meanwhile, in words; "" if nothing.
    """

    model: str
    title: str
    tokens: int
    kinds: tuple[ScoreKind, ...]
    layers: tuple[int, ...]
    heads: int
    scores: Mapping[str, Floats]
    off: str = ""

    def top(self, kind: str | None = None, n: int = 10) -> tuple[HeadScore, ...]:
        """Return the `n` heads with the largest score, largest first; those without one are left out.

        Raises
        ------
        MessageError
            If there is no such score here.
        """
        name = self.find(kind).name
        values = self.scores[name]
        order = np.argsort(-values, axis=None, kind="stable")  # NaN last
        places = [divmod(int(place), self.heads) for place in order]
        found = [(layer, head) for layer, head in places if not np.isnan(values[layer, head])][: max(n, 0)]
        return tuple(HeadScore(self.layers[row], head, name, float(values[row, head])) for row, head in found)

    def find(self, kind: str | None = None) -> ScoreKind:
        """Return a kind of score by its name, default the first; raise MessageError if it is not here."""
        if kind is None:
            return self.kinds[0]
        found = find_kind(kind)
        if found not in self.kinds:
            held = ", ".join(held.name for held in self.kinds)
            raise MessageError(
                f"The score {found.name!r} was not computed; {held} was.", f'm.heads("{found.name}")'
            )
        return found

    def only(self, kind: str) -> "HeadScores":
        """Return the scores of one kind."""
        found = self.find(kind)
        return replace(self, kinds=(found,), scores={found.name: self.scores[found.name]})

    def to_frame(self) -> "pd.DataFrame":
        """Return a row a head: layer, head, and a column for each score."""
        import pandas as pd

        places = [(layer, head) for layer in self.layers for head in range(self.heads)]
        columns = {name: values.reshape(-1) for name, values in self.scores.items()}
        return pd.DataFrame(places, columns=["layer", "head"]).assign(**columns)

    def record(self) -> dict[str, Any]:
        """Return the scores as JSON values, for those who show them."""
        return {
            "model": self.model,
            "title": self.title,
            "tokens": self.tokens,
            "layers": list(self.layers),
            "heads": self.heads,
            "off": self.off,
            "kinds": [
                {
                    "name": kind.name,
                    "label": kind.label,
                    "meaning": kind.meaning,
                    "source": kind.source,
                    "share": kind.share,
                    "values": [
                        [None if v != v else v for v in row] for row in self.scores[kind.name].tolist()
                    ],
                    "top": [[place.layer, place.head, place.score] for place in self.top(kind.name)],
                }
                for kind in self.kinds
            ],
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.heads import bundle
        from llama_nb.runtime.environment import detect

        return bundle(self.record(), watched=detect().watched)

    def __repr__(self) -> str:
        names = ", ".join(kind.name for kind in self.kinds)
        return f"HeadScores({self.model}, {self.title}: {len(self.layers)} x {self.heads} heads; {names})"


def score_heads(
    *traces: AttentionTrace,
    stopped: Callable[[], str | None] = lambda: None,
    told: Callable[[int, int], None] | None = None,
) -> HeadScores:
    """Return the scores of all heads; of several traces of one model their mean over all queries.

    Parameters
    ----------
    stopped
        Asked between blocks of rows; a reason ends the work.
    told
        Called with how many layers are done, of how many.

    Raises
    ------
    Stopped
        If `stopped` gave a reason.

    Notes
    -----
    For query q with weights w over the keys 0 to q, of a text with tokens t, the scores are the means of

    - induction: the sum of w[p + 1] over p < q - 1 with t[p] = t[q], over the q that have such a p. On two
      copies of random tokens it is the prefix-matching score of Olsson et al. 2022;
    - previous: w[q - 1], for q >= 1 (Clark et al. 2019);
    - duplicate: the sum of w[p] over p < q with t[p] = t[q], over the q that have such a p (Wang et al.
      2022);
    - sink: w[0], for q >= 1 (Xiao et al. 2023);
    - local: the sum of w[q - 7] to w[q], for q >= 8 (the window of Beltagy et al. 2020);
    - entropy: - sum w ln w, for q >= 1 (Clark et al. 2019).
    """
    first = traces[0]
    layers, heads = first.layers, first.heads
    sums = {name: np.zeros((len(layers), heads)) for name in NAMES}
    counts = dict.fromkeys(NAMES, 0)
    for number, layer in enumerate(layers):
        for trace in traces:
            ids = torch.tensor(trace.ids)
            step = max(1, _BLOCK // (heads * trace.length))
            for start in range(0, trace.length, step):
                if (reason := stopped()) is not None:
                    raise Stopped(f"The scores of the heads were stopped: {reason}.")
                stop = min(start + step, trace.length)
                weights = torch.from_numpy(trace.rows(layer, range(heads), start, stop, keys=(0, stop)))
                for name, (found, queries) in _tally(weights, ids, start).items():
                    sums[name][number] += found.numpy()
                    counts[name] += queries if number == 0 else 0
        if told is not None:
            told(number + 1, len(layers))
    scores = {name: (sums[name] / (counts[name] or np.nan)).astype(np.float32) for name in NAMES}
    tokens = sum(trace.length for trace in traces)
    return HeadScores(first.model, first.title, tokens, KINDS, layers, heads, scores, first.off)


def repeated_tokens(vocabulary: Sequence[int], first: Sequence[int], length: int, seed: int) -> list[int]:
    """Return `first` and two copies of `length` random tokens; only the first says how the second goes on.

    The tokens of a copy differ from each other where the vocabulary is large enough.
    """
    draw = random.Random(seed)
    enough = len(vocabulary) >= length
    copy = draw.sample(vocabulary, length) if enough else draw.choices(vocabulary, k=length)
    return [*first, *copy, *copy]


def _tally(weights: torch.Tensor, ids: torch.Tensor, start: int) -> dict[str, tuple[torch.Tensor, int]]:
    """The sums of each score over a block of queries, (H,), and over how many queries each goes.

    `weights` has the shape (H, n, start + n): the block's first query is `start`, and none reads a later key.
    """
    heads, _, length = weights.shape
    keys = torch.arange(length)
    queries = keys[start:]
    copies = (ids[queries, None] == ids[:length]) & (keys < queries[:, None])
    followers = torch.zeros_like(copies)
    followers[:, 1:] = copies[:, :-1]
    followers &= keys < queries[:, None]
    both = torch.stack((copies, followers), dim=-1).float()
    read = weights.reshape(heads, -1) @ both.reshape(-1, 2)
    later, far = queries[queries >= 1], queries[queries >= WINDOW]
    local = sum(weights[:, far - start, far - back].sum(1) for back in range(WINDOW))
    return {
        "induction": (read[:, 1], int(followers.any(1).sum())),
        "previous": (weights[:, later - start, later - 1].sum(1), len(later)),
        "duplicate": (read[:, 0], int(copies.any(1).sum())),
        "sink": (weights[:, later - start, 0].sum(1), len(later)),
        "local": (torch.as_tensor(local), len(far)),
        "entropy": (torch.special.entr(weights).sum((1, 2)), len(later)),
    }
