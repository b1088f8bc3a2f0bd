"""One expert by the tokens that it gets: which, how often, of what domain, where in a text.

Knows which experts were chosen, and tokens; knows no weights of the model (`interpret.expert_weights` does).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from llama_nb.core.errors import TraceError
from llama_nb.interpret.routing_load import Counts, Floats, Ints, blocks
from llama_nb.render.routing_expert import ExpertLook, bundle
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.interpret.routing import RoutingTrace

TENTHS: Final = 10
MOST_TOKENS: Final = 20
MOST_CONTEXTS: Final = 5
_LEAST_COUNT: Final = 3  # a token that came once or twice says nothing of an expert
_AROUND: Final = 8  # tokens on each side of one in its context


@dataclass(frozen=True, slots=True)
class TopToken:
    """A token that an expert gets: how often, and `lift`, its share there over its share of all tokens."""

    id: int
    text: str
    count: int
    lift: float


@dataclass(frozen=True, slots=True)
class Context:
    """A token at a place of the text, with what stands around it, and the expert's routing weight there."""

    before: str
    token: str
    after: str
    weight: float
    position: int


@dataclass(frozen=True, slots=True)
class ExpertPage:
    """What an expert gets.

    Attributes
    ----------
    layer, expert
        Which one.
    share
        Of the choices of the layer; 1 / experts is even.
    count, tokens_read
        How many tokens it got, of how many.
    by_domain
        Its share of each domain's choices; () without labels.
    by_position
        Its share in each tenth of the texts, (10,); 0 where no text has a token.
    tokens
        Those that mark it most: of at least three, in the order of p log(p / q), where p is a token's
        share of what the expert gets and q its share of all tokens. So both frequent and unusual ones count.
    contexts
        The places with the largest routing weights, each token once.
    """

    layer: int
    expert: int
    experts: int
    share: float
    count: int
    tokens_read: int
    by_domain: tuple[tuple[str, float], ...]
    by_position: tuple[float, ...]
    tokens: tuple[TopToken, ...]
    contexts: tuple[Context, ...]

    @property
    def dead(self) -> bool:
        """Whether no token chose it."""
        return self.count == 0

    def to_frame(self) -> "pd.DataFrame":
        """Return its tokens, one a row: id, text, count, lift."""
        import pandas as pd

        columns = {name: [getattr(each, name) for each in self.tokens] for name in _COLUMNS}
        return pd.DataFrame(columns, columns=list(_COLUMNS))

    def look(self) -> ExpertLook:
        """Return what is shown of it."""
        return ExpertLook(
            name=f"L{self.layer} E{self.expert}",
            share=self.share,
            even=1 / self.experts,
            count=self.count,
            tokens_read=self.tokens_read,
            by_domain=self.by_domain,
            by_position=self.by_position,
            tokens=[(each.text, each.count, each.lift) for each in self.tokens],
            contexts=[(each.before, each.token, each.after, each.weight) for each in self.contexts],
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return bundle(self.look(), watched=detect().watched)

    def __repr__(self) -> str:
        got = f"{self.count:,} of {self.tokens_read:,} tokens"
        return f"<L{self.layer} E{self.expert}: {got}, {self.share:.1%} of the choices>"


_COLUMNS: Final = ("id", "text", "count", "lift")


def expert_page(trace: "RoutingTrace", layer: int, expert: int) -> ExpertPage:
    """Return what an expert of a trace gets.

    Raises
    ------
    TraceError
        If there is no such layer or expert.
    """
    trace = trace.now()
    at = trace.column(layer)
    if not 0 <= expert < trace.experts:
        raise TraceError(f"There is no expert {expert}: there are {trace.experts}, from 0.")
    taken = take(trace.chosen[:, at : at + 1], trace.weights[:, at : at + 1], expert)
    k = trace.chosen.shape[2]
    starts, ids = np.asarray(trace.starts), np.asarray(trace.ids)
    read = len(ids)
    return ExpertPage(
        layer=layer,
        expert=expert,
        experts=trace.experts,
        share=len(taken.positions) / (read * k) if read else 0.0,
        count=len(taken.positions),
        tokens_read=read,
        by_domain=_by_domain(trace, taken.positions, k),
        by_position=tuple(by_position(taken.positions, starts, k).tolist()),
        tokens=tuple(
            TopToken(int(ids[first]), trace.text(first), count, lift)
            for first, count, lift in top_tokens(ids, taken.positions)
        ),
        contexts=_contexts(ids, starts, taken, trace.texts),
    )


@dataclass(frozen=True, slots=True)
class Taken:
    """Where an expert was chosen, and with what routing weights."""

    positions: Counts
    weights: npt.NDArray[np.float32]


def take(chosen: Ints, weights: npt.NDArray[np.floating[Any]], expert: int) -> Taken:
    """Return the tokens of an expert; both arrays are (N, 1, k) of one layer, and may be memory-mapped."""
    positions, found = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for start, stop in blocks(len(chosen), chosen[:1].size):
        rows, places = np.nonzero(chosen[start:stop, 0] == expert)
        positions.append(rows.astype(np.int64) + start)
        found.append(np.asarray(weights[start:stop, 0], dtype=np.float32)[rows, places])
    return Taken(np.concatenate(positions), np.concatenate(found))


def by_position(positions: Counts, starts: Ints, k: int) -> Floats:
    """Return an expert's share of the choices in each tenth of the texts, (10,).

    Parameters
    ----------
    positions
        The tokens that it got.
    starts
        Where texts begin, and N at the end: (documents + 1,).
    k
        How many experts a token goes through.
    """
    got = np.bincount(_tenths(positions, starts), minlength=TENTHS)
    there = np.zeros(TENTHS, dtype=np.int64)
    for start, stop in blocks(int(starts[-1]), 1):
        there += np.bincount(_tenths(np.arange(start, stop), starts), minlength=TENTHS)
    found: Floats = np.divide(got, there * k, out=np.zeros(TENTHS), where=there > 0)
    return found


def top_tokens(ids: Ints, positions: Counts, most: int = MOST_TOKENS) -> list[tuple[int, int, float]]:
    """Return the tokens that mark an expert most, as (first position, count, lift), the most telling first.

    Parameters
    ----------
    ids
        Of all tokens, (N,).
    positions
        Of those that the expert got.
    """
    _, first, kinds, everywhere = np.unique(ids, return_index=True, return_inverse=True, return_counts=True)
    counts = np.bincount(kinds[positions], minlength=len(first))
    enough = np.flatnonzero(counts >= _LEAST_COUNT)
    p, q = counts[enough] / max(len(positions), 1), everywhere[enough] / max(len(ids), 1)
    order = np.argsort(-(p * np.log(p / q)), kind="stable")[:most]
    return [(int(first[enough[at]]), int(counts[enough[at]]), float(p[at] / q[at])) for at in order]


def _tenths(positions: Counts, starts: Ints) -> Counts:
    """Return in which tenth of its text each token stands."""
    # Texts without tokens begin where the next one does: `right` finds the one that holds the token.
    number = np.searchsorted(starts, positions, side="right") - 1
    begins, ends = starts[number], starts[number + 1]
    return (positions - begins) * TENTHS // (ends - begins)


def _by_domain(trace: "RoutingTrace", positions: Counts, k: int) -> tuple[tuple[str, float], ...]:
    if not trace.domains:
        return ()
    labels = trace.label_of()
    got, there = labels[positions], labels
    return tuple(
        (name, float((got == place).sum()) / max(int((there == place).sum()) * k, 1))
        for place, name in enumerate(trace.domains)
    )


def _contexts(
    ids: Ints, starts: Ints, taken: Taken, texts: Callable[[int, int], Sequence[str]]
) -> tuple[Context, ...]:
    """Return the places with the largest weights, of equal ones the first; each token once."""
    found: list[Context] = []
    seen: set[int] = set()
    for at in np.argsort(-taken.weights, kind="stable"):
        position = int(taken.positions[at])
        if int(ids[position]) in seen:
            continue
        seen.add(int(ids[position]))
        number = int(np.searchsorted(starts, position, side="right")) - 1
        start = max(int(starts[number]), position - _AROUND)
        stop = min(int(starts[number + 1]), position + _AROUND + 1)
        around = texts(start, stop)
        here = position - start
        before, after = "".join(around[:here]), "".join(around[here + 1 :])
        found.append(Context(before, around[here], after, float(taken.weights[at]), position))
        if len(found) == MOST_CONTEXTS:
            break
    return tuple(found)
