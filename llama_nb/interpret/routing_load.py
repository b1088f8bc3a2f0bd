"""How the tokens of a text spread over the experts: shares, how uneven they are, the balance loss.

Knows which experts were chosen, as an array; knows no model and no tokens. A corpus is read in blocks, so
that a memory-mapped array of any length is counted in bounded memory.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from llama_nb.core.errors import TraceError
from llama_nb.render.routing_load import LoadLook, bundle
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from llama_nb.interpret.routing import RoutingTrace

Ints = npt.NDArray[np.integer[Any]]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BLOCK: Final = 1_000_000  # choices at once: 8 MB of indices


@dataclass(frozen=True, eq=False)
class Load:
    """How often each expert was chosen.

    With top-k each token counts k times. All figures are about the tokens that were read: an expert that is
    dead here may be chosen elsewhere.

    Attributes
    ----------
    layers
        The MoE layers, by their index in the model.
    counts
        How often each expert was chosen, (L, E).
    mass
        The sum over the tokens of the router's scores, each token's normalised to sum 1, (L, E); None where
        it is not known.
    tokens
        How many tokens were routed.
    domain
        Whose tokens they are; "" for all.
    others
        The counts of all other tokens, (L, E), where a domain was asked for.
    """

    layers: tuple[int, ...]
    counts: Counts
    mass: Floats | None
    tokens: int
    domain: str = ""
    others: Counts | None = None

    @property
    def experts(self) -> int:
        """How many experts a layer has."""
        return self.counts.shape[1]

    @property
    def shares(self) -> Floats:
        """What share of the choices each expert got, (L, E); a row sums to 1 (to 0 without tokens)."""
        return shares_of(self.counts)

    @property
    def difference(self) -> Floats | None:
        """How much more of this domain's tokens than of all others' each expert got, (L, E), or None."""
        return None if self.others is None else self.shares - shares_of(self.others)

    @property
    def cv(self) -> Floats:
        """The coefficient of variation of a layer's shares, (L,): 0 if even, sqrt(E - 1) if one gets all."""
        return self.shares.std(axis=1) * self.experts * (self.counts.sum(axis=1) > 0)

    @property
    def max_over_mean(self) -> Floats:
        """How many times its even share the busiest expert of a layer gets, (L,)."""
        return self.shares.max(axis=1) * self.experts

    @property
    def dead(self) -> tuple[tuple[int, int], ...]:
        """The experts that no token chose, as (layer, expert); () where no token was read."""
        if not self.tokens:
            return ()
        places, experts = np.nonzero(self.counts == 0)
        return tuple((self.layers[at], int(expert)) for at, expert in zip(places, experts, strict=True))

    @property
    def balance(self) -> Floats | None:
        """The balance loss of each layer, (L,): E * sum(f * P), where 1 is even and E is all to one expert.

        f is the share of choices of an expert, P its mean score (after Shazeer et al. 2017; in this form
        Fedus et al. 2021, Switch Transformer, equation 4, without the factor alpha). The scores of a
        token are made to sum to 1 first, which a softmax does by itself and a sigmoid does not.
        """
        if self.mass is None:
            return None
        found: Floats = self.experts * (self.shares * shares_of(self.mass)).sum(axis=1)
        return found

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each layer and expert: layer, expert, count, share (and difference)."""
        import pandas as pd

        layers, experts = self.counts.shape
        columns: dict[str, Any] = {
            "layer": np.repeat(self.layers, experts),
            "expert": np.tile(np.arange(experts), layers),
            "count": self.counts.ravel(),
            "share": self.shares.ravel(),
        }
        if self.difference is not None:
            columns["difference"] = self.difference.ravel()
        return pd.DataFrame(columns)

    def look(self) -> LoadLook:
        """Return what is shown of it."""
        dead = self.dead
        return LoadLook(
            layers=self.layers,
            shares=self.shares.tolist(),
            difference=None if self.difference is None else self.difference.tolist(),
            cv=self.cv.tolist(),
            max_over_mean=self.max_over_mean.tolist(),
            dead=tuple(tuple(expert for at, expert in dead if at == layer) for layer in self.layers),
            balance=None if self.balance is None else self.balance.tolist(),
            tokens=self.tokens,
            domain=self.domain,
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return bundle(self.look(), watched=detect().watched)

    def __repr__(self) -> str:
        of = f" of {self.domain}" if self.domain else ""
        layers = ", ".join(f"L{layer}" for layer in self.layers)
        return f"<load of {self.experts} experts in {layers}: {self.tokens:,} tokens{of}>"


def load_of(trace: "RoutingTrace", domain: str | None = None) -> Load:
    """Return how the tokens of a trace, or those of one domain of it, spread over the experts.

    Raises
    ------
    TraceError
        If the trace has no such domain.
    """
    trace = trace.now()
    layers = tuple(trace.layers)
    if not trace.domains:
        place_of(trace.domains, domain)
        counts = count_choices(trace.chosen, trace.experts)[0]
        return Load(layers, counts, trace.mass.sum(axis=0), trace.length)
    # Tokens without a label are the last row.
    labels = trace.label_of()
    number = len(trace.domains)
    groups = np.where(labels < 0, number, labels)
    by_domain = count_choices(trace.chosen, trace.experts, groups, number + 1)
    place = place_of(trace.domains, domain)
    if place is None:
        return Load(layers, by_domain.sum(axis=0), trace.mass.sum(axis=0), trace.length)
    counts = by_domain[place]
    tokens = int((labels == place).sum())
    return Load(
        layers, counts, trace.mass[place], tokens, trace.domains[place], by_domain.sum(axis=0) - counts
    )


def place_of(domains: tuple[str, ...], domain: str | None) -> int | None:
    """Return which domain it is, or None for all.

    Raises
    ------
    TraceError
        If there is no such domain.
    """
    if domain is None or domain == "":
        return None
    if domain in domains:
        return domains.index(domain)
    if not domains:
        raise TraceError(
            f"There is no domain {domain!r}: the texts have no labels.",
            hint="m.routing(frame, label='domain')   # one label a text",
        )
    raise TraceError(f"There is no domain {domain!r}. There are: {', '.join(domains)}.")


def count_choices(chosen: Ints, experts: int, groups: Ints | None = None, number: int = 1) -> Counts:
    """Return how often each expert was chosen: int64 of shape (number, L, E).

    Parameters
    ----------
    chosen
        The chosen experts, (N, L, k); it may be memory-mapped.
    experts
        E, how many a layer has.
    groups
        Which group each token belongs to, (N,); tokens below 0 belong to none. Default all to the first.
    number
        How many groups there are.
    """
    layers = chosen.shape[1]
    found = np.zeros((number, layers, experts), dtype=np.int64)
    offsets = (np.arange(layers) * experts)[:, None]
    for start, stop in blocks(len(chosen), chosen[:1].size):
        places = chosen[start:stop] + offsets
        if groups is not None:
            here = np.asarray(groups[start:stop], dtype=np.intp)
            places = (places + (here * (layers * experts))[:, None, None])[here >= 0]
        found += np.bincount(places.ravel(), minlength=found.size).reshape(found.shape)
    return found


def blocks(tokens: int, width: int) -> "Iterator[tuple[int, int]]":
    """Yield (start, stop) over tokens, in blocks of at most a million values (a token at least)."""
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, tokens, step):
        yield start, min(start + step, tokens)


def shares_of(counts: "Counts | Floats") -> Floats:
    """Return counts as shares of the last axis' sum; zeros where there is nothing."""
    totals = counts.sum(axis=-1, keepdims=True)
    found: Floats = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    return found
