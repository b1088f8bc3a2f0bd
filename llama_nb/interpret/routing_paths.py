"""The ways of tokens through the experts: from each MoE layer to the next, and side by side in one.

Knows which experts were chosen and with what weights, as arrays; knows no model and no texts.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from llama_nb.core.errors import TraceError
from llama_nb.interpret.routing_load import Counts, Floats, Ints, blocks, place_of, shares_of
from llama_nb.render.routing_paths import MOST_FLOWS, PathsLook, bundle
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.interpret.routing import RoutingTrace

Mask = npt.NDArray[np.bool_]

_DRAWN: Final = 400  # that a page draws
_MOST_SEVERAL: Final = 50_000  # tokens of k experts: each makes k * k pairs a layer
_NEAR: Final = 7  # pairs of layers, as many as a wide page shows


@dataclass(frozen=True, slots=True)
class Flow:
    """What goes from an expert of one MoE layer to one of the next; `share` is of all tokens."""

    layer: int
    source: int
    next: int
    target: int
    share: float


@dataclass(frozen=True, eq=False)
class Paths:
    """How tokens go on from each MoE layer to the next one.

    Where each token goes through one expert a flow is a number of tokens. Where it goes through k of them, a
    token counts for each pair of its experts in two layers, in proportion to the product of their routing
    weights (each layer's made to sum to 1), and 1 in all.

    Attributes
    ----------
    layers
        The MoE layers, by their index in the model.
    flows
        What goes from expert a of layer i to expert b of layer i + 1, (L - 1, E, E); i counts MoE layers.
    together
        How many tokens go through both a and b in a layer, (L, E, E), on the diagonal those through a; None
        where each token goes through one.
    tokens
        How many tokens were counted.
    asked
        How many were asked for: of more than 50,000 that go through several experts each, 50,000 are counted,
        evenly spread.
    of
        Which ones, in words; "" for all.
    """

    layers: tuple[int, ...]
    flows: Floats
    together: Counts | None
    tokens: int
    asked: int
    of: str = ""

    @property
    def experts(self) -> int:
        """How many experts a layer has."""
        return self.flows.shape[-1]

    def transition(self, layer: int) -> Floats:
        """Return P(expert of the next MoE layer | expert of this one), (E, E); rows of unused ones are 0.

        Raises
        ------
        TraceError
            If there is no such layer, or none behind it.
        """
        at = self._index(layer)
        if at == len(self.layers) - 1:
            raise TraceError(f"L{layer} is the last layer with experts: nothing follows it.")
        return shares_of(self.flows[at])

    def largest(self, count: int = _DRAWN, near: int | None = None) -> tuple[list[Flow], float]:
        """Return the largest flows, and the share of all flows that is not among them.

        With a layer `near`, only flows out of those around it count: 400 of 47 layers would be few of each.
        """
        first = 0 if near is None else max(0, min(self._index(near) - _NEAR // 2, len(self.flows) - _NEAR))
        flows = self.flows if near is None else self.flows[first : first + _NEAR]
        values = flows.ravel()
        best = np.argsort(-values, kind="stable")[:count]
        best = best[values[best] > 0]
        total = max(self.tokens, 1)
        found = []
        for at, source, target in zip(*np.unravel_index(best, flows.shape), strict=True):
            share = float(flows[at, source, target]) / total
            layers = self.layers[first + at : first + at + 2]
            found.append(Flow(layers[0], int(source), layers[1], int(target), share))
        everything = float(values.sum())
        rest = 1 - float(values[best].sum()) / everything if everything else 0.0
        return found, max(rest, 0.0)

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each flow: layer, expert, next_layer, next_expert, count, share."""
        import pandas as pd

        places, sources, targets = np.nonzero(self.flows)
        layers = np.array(self.layers)
        counts = self.flows[places, sources, targets]
        return pd.DataFrame(
            {
                "layer": layers[places],
                "expert": sources,
                "next_layer": layers[places + 1] if len(places) else layers[places],
                "next_expert": targets,
                "count": counts,
                "share": counts / max(self.tokens, 1),
            }
        )

    def look(self, layer: int | None = None) -> PathsLook:
        """Return what is shown of it: the largest flows, and one layer's matrix (default the first's)."""
        layer = self.layers[0] if layer is None else layer
        at = self._index(layer)
        matrix: Floats | None = None
        kind: Literal["transition", "together"] = "transition" if self.together is None else "together"
        if self.together is not None:
            matrix = self.together[at] / max(self.tokens, 1)
        elif at < len(self.layers) - 1:
            matrix = self.transition(layer)
        flows, rest = self.largest(MOST_FLOWS)
        return PathsLook(
            of=self.of,
            tokens=self.tokens,
            asked=self.asked,
            flows=[(each.layer, each.source, each.next, each.target, each.share) for each in flows],
            rest=rest,
            kind=kind,
            layer=layer,
            next=self.layers[at + 1] if at < len(self.layers) - 1 else None,
            matrix=None if matrix is None else matrix.tolist(),
        )

    def _index(self, layer: int) -> int:
        if layer not in self.layers:
            known = ", ".join(f"L{each}" for each in self.layers)
            raise TraceError(f"Layer {layer} has no experts. The layers with experts are {known}.")
        return self.layers.index(layer)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return bundle(self.look(), watched=detect().watched)

    def __repr__(self) -> str:
        layers = ", ".join(f"L{layer}" for layer in self.layers)
        return f"<paths of {self.tokens:,} tokens{self.of and ' of ' + self.of} through {layers}>"


def paths_of(
    trace: "RoutingTrace",
    domain: str | None = None,
    *,
    ids: Collection[int] | None = None,
    positions: Collection[int] | None = None,
) -> Paths:
    """Return the paths of the tokens of a trace that are all that is asked for.

    Parameters
    ----------
    domain
        Of texts with this label.
    ids
        Only tokens with one of these ids.
    positions
        Only the tokens at these positions.

    Raises
    ------
    TraceError
        If there is no such domain or position, or no token is left.
    """
    trace = trace.now()
    among = np.ones(trace.length, dtype=bool)
    words = []
    place = place_of(trace.domains, domain)
    if place is not None:
        among &= trace.label_of() == place
        words.append(trace.domains[place])
    if positions is not None:
        among &= _at(positions, trace.length)
        words.append("1 position" if len(set(positions)) == 1 else f"{len(set(positions)):,} positions")
    if ids is not None:
        wanted = np.isin(np.asarray(trace.ids), list(ids))
        among &= wanted
        words.append(repr(trace.text(int(wanted.argmax()))) if wanted.any() else "tokens that do not come")
    if not among.any():
        raise TraceError(f"No token is left to follow: {', '.join(words) or 'the text is empty'}.")
    return path_counts(
        trace.chosen,
        trace.weights,
        layers=trace.layers,
        experts=trace.experts,
        among=None if not words else among,
        of=", ".join(words),
    )


def ids_of(trace: "RoutingTrace", text: str) -> list[int]:
    """Return the ids of the tokens that show as `text`.

    Raises
    ------
    TraceError
        If none does.
    """
    ids, first = np.unique(np.asarray(trace.ids), return_index=True)
    found = [int(each) for each, at in zip(ids, first, strict=True) if trace.text(int(at)) == text]
    if not found:
        raise TraceError(f"No token shows as {text!r}.", "Most words begin with a space: ' the'.")
    return found


def path_counts(
    chosen: Ints,
    weights: npt.NDArray[np.floating[Any]],
    *,
    layers: Sequence[int],
    experts: int,
    among: Mask | None = None,
    of: str = "",
) -> Paths:
    """Return the paths of tokens.

    Parameters
    ----------
    chosen, weights
        The chosen experts and their routing weights, (N, L, k); both may be memory-mapped.
    among
        Which tokens to count, (N,); default all.
    """
    tokens, depth, k = chosen.shape
    flows = np.zeros((max(depth - 1, 0), experts, experts))
    together = np.zeros((depth, experts, experts), dtype=np.int64) if k > 1 else None
    asked = tokens if among is None else int(among.sum())
    if k > 1 and asked > _MOST_SEVERAL:
        among = _thinned(tokens, among, _MOST_SEVERAL)
    counted = 0
    for start, stop in blocks(tokens, depth * k * k):
        here = slice(start, stop) if among is None else start + np.flatnonzero(among[start:stop])
        picked = np.asarray(chosen[here], dtype=np.intp)
        counted += len(picked)
        if together is None:
            _add_single(flows, picked[..., 0], experts)
        else:
            _add_several(flows, together, picked, np.asarray(weights[here], dtype=np.float32))
    return Paths(tuple(layers), flows, together, counted, asked, of)


def _add_single(flows: Floats, picked: npt.NDArray[np.intp], experts: int) -> None:
    """Add tokens that go through one expert a layer, (n, L)."""
    for at in range(len(flows)):
        pairs = picked[:, at] * experts + picked[:, at + 1]
        flows[at] += np.bincount(pairs, minlength=experts**2).reshape(experts, experts)


def _add_several(
    flows: Floats, together: Counts, picked: npt.NDArray[np.intp], weights: npt.NDArray[np.float32]
) -> None:
    """Add tokens that go through several, both (n, L, k): each pair of experts by itself."""
    totals = weights.sum(axis=-1, keepdims=True)
    even = np.full_like(weights, 1 / weights.shape[-1])
    parts = np.divide(weights, totals, out=even, where=totals > 0)
    experts = together.shape[-1]
    for at in range(len(together)):
        rows = picked[:, at, :, None] * experts
        found = np.bincount((rows + picked[:, at, None, :]).ravel(), minlength=experts**2)
        together[at] += found.reshape(experts, experts)
        if at < len(flows):
            pairs = (rows + picked[:, at + 1, None, :]).ravel()
            shares = (parts[:, at, :, None] * parts[:, at + 1, None, :]).ravel()
            found = np.bincount(pairs, shares, minlength=experts**2)
            flows[at] += found.reshape(experts, experts)


def _thinned(tokens: int, among: Mask | None, most: int) -> Mask:
    """Return a mask of so many of the tokens, evenly spread."""
    places = np.arange(tokens) if among is None else np.flatnonzero(among)
    kept = np.zeros(tokens, dtype=bool)
    kept[places[np.linspace(0, len(places) - 1, most).astype(np.int64)]] = True
    return kept


def _at(positions: Collection[int], length: int) -> Mask:
    found = np.zeros(length, dtype=bool)
    for position in positions:
        if not 0 <= position < length:
            raise TraceError(f"There is no token {position}: there are {length:,}, from 0.")
        found[position] = True
    return found
