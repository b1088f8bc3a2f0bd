"""Whether experts specialise: what a token's expert tells of the domain of its text, against shuffled labels.

Tokens of one text resemble each other, so tests that count tokens as independent call almost any difference
significant. The control here shuffles the labels of whole texts. Knows counts and labels; knows no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from llama_nb.core.errors import TraceError
from llama_nb.interpret.routing_load import Counts, Floats, Ints, count_choices, shares_of
from llama_nb.render.routing_domains import DomainLook, bundle
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.interpret.routing import RoutingTrace

SHUFFLES: Final = 100
_BLOCK: Final = 1_000_000  # values of a block of documents: 8 MB
_ROUNDING: Final = 1e-12  # bits: shuffles that give the same table are as large


@dataclass(frozen=True, eq=False)
class DomainTable:
    """What experts tell of domains, layer by layer.

    Attributes
    ----------
    domains, layers
        Names of the domains, and the MoE layers by their index in the model.
    counts
        How often each expert was chosen in each domain, (domains, L, E). Texts without a label are left out.
    documents
        How many texts each domain has, (domains,).
    information
        Mutual information of domain and expert in bits, (L,): each domain weighs alike, however many tokens
        it has. 0 if each domain spreads alike, at most log2 of the number of domains.
    shuffled, shuffled95
        Its mean and its 95th percentile when the labels of the texts are shuffled, (L,). This is what texts
        that merely differ would show, so only what goes beyond is owed to the labels.
    p
        The share of the shuffles, the true labels counted as one, with at least as much information, (L,):
        with 100 shuffles 0.0099 at least.
    chi_square, degrees, cramers_v
        Pearson's statistic of the table of counts, its degrees of freedom, and Cramer's V, (L,) each. No
        p-value is made of them: it would take tokens of a text for independent.
    shuffles
        How many shuffles there were.
    """

    domains: tuple[str, ...]
    layers: tuple[int, ...]
    counts: Counts
    documents: Counts
    information: Floats
    shuffled: Floats
    shuffled95: Floats
    p: Floats
    chi_square: Floats
    degrees: Counts
    cramers_v: Floats
    shuffles: int

    @property
    def shares(self) -> Floats:
        """What share of a domain's choices each expert of a layer got, (domains, L, E)."""
        return shares_of(self.counts)

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each layer, with the names of the attributes."""
        import pandas as pd

        return pd.DataFrame(
            {
                "layer": self.layers,
                "information": self.information,
                "shuffled": self.shuffled,
                "shuffled95": self.shuffled95,
                "p": self.p,
                "chi_square": self.chi_square,
                "degrees": self.degrees,
                "cramers_v": self.cramers_v,
            }
        )

    def look(self, layer: int | None = None) -> DomainLook:
        """Return what is shown of it, with the shares of one layer; default the one that tells most."""
        at = int(self.information.argmax()) if layer is None else self.layers.index(layer)
        return DomainLook(
            domains=self.domains,
            layers=self.layers,
            bits=self.information.tolist(),
            shuffled=self.shuffled.tolist(),
            shuffled95=self.shuffled95.tolist(),
            p=self.p.tolist(),
            chi_square=self.chi_square.tolist(),
            degrees=self.degrees.tolist(),
            cramers_v=self.cramers_v.tolist(),
            shuffles=self.shuffles,
            documents=int(self.documents.sum()),
            shown=self.layers[at],
            shares=self.shares[:, at].tolist(),
            single=tuple(name for name, count in zip(self.domains, self.documents, strict=True) if count < 2),
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return bundle(self.look(), watched=detect().watched)

    def __repr__(self) -> str:
        at = int(self.information.argmax())
        most = f"{self.information[at]:.2f} bits in L{self.layers[at]}"
        return f"<{len(self.domains)} domains and their experts: {most}, {self.shuffled[at]:.2f} shuffled>"


def domains_of(trace: "RoutingTrace", *, shuffles: int = SHUFFLES, seed: int = 0) -> DomainTable:
    """Return what the experts of a labelled trace tell of its domains.

    Raises
    ------
    TraceError
        If its texts have fewer than two labels.
    """
    trace = trace.now()
    if len(trace.domains) < 2:
        what = f"all texts are {trace.domains[0]!r}" if trace.domains else "the texts have no labels"
        raise TraceError(
            f"Domains are compared with each other, but {what}.",
            hint="m.routing(frame, label='domain').domains_table()   # at least two labels",
        )
    places = {name: place for place, name in enumerate(trace.domains)}
    labels = np.array([places.get(label, -1) for label in trace.labels], dtype=np.int64)
    return domain_table(
        trace.chosen,
        np.asarray(trace.starts),
        labels,
        layers=trace.layers,
        experts=trace.experts,
        domains=trace.domains,
        shuffles=shuffles,
        seed=seed,
    )


def domain_table(
    chosen: Ints,
    starts: Ints,
    labels: Ints,
    *,
    layers: Sequence[int],
    experts: int,
    domains: Sequence[str],
    shuffles: int = SHUFFLES,
    seed: int = 0,
) -> DomainTable:
    """Return what experts tell of domains.

    Parameters
    ----------
    chosen
        The chosen experts, (N, L, k); it may be memory-mapped.
    starts
        Where texts begin, and N at the end: (documents + 1,).
    labels
        The place in `domains` of each text's label, (documents,); below 0 for none.
    shuffles, seed
        How many shuffles of the labels, and of which random numbers.
    """
    # The first row of labels is the true one.
    tried = _shuffled(np.asarray(labels), shuffles, seed)
    counts = np.zeros((len(domains), len(layers), experts), dtype=np.int64)
    bits = np.zeros((len(tried), len(layers)))
    for at in range(len(layers)):
        tables = _tables(chosen[:, at : at + 1], starts, tried, len(domains), experts)
        counts[:, at] = tables[0].astype(np.int64)
        bits[:, at] = mutual_information(tables)
    chi_square, degrees, cramers_v = _association(counts)
    found, control = bits[0], bits[1:]
    as_large = (control >= found - _ROUNDING).sum(axis=0)
    return DomainTable(
        domains=tuple(domains),
        layers=tuple(layers),
        counts=counts,
        documents=np.bincount(labels[labels >= 0], minlength=len(domains)),
        information=found,
        shuffled=control.mean(axis=0) if shuffles else np.zeros(len(layers)),
        shuffled95=np.quantile(control, 0.95, axis=0) if shuffles else np.zeros(len(layers)),
        p=(1 + as_large) / (1 + shuffles),
        chi_square=chi_square,
        degrees=degrees,
        cramers_v=cramers_v,
        shuffles=shuffles,
    )


def mutual_information(tables: "Floats | Counts") -> Floats:
    """Return the mutual information of rows and columns in bits, each row weighing alike.

    Parameters
    ----------
    tables
        Counts of shape (..., rows, columns). Rows of nothing are left out.
    """
    rows = shares_of(tables)
    there = (rows.sum(axis=-1) > 0).sum(axis=-1)[..., None, None]
    joint = rows / np.maximum(there, 1)
    apart = joint.sum(axis=-1, keepdims=True) * joint.sum(axis=-2, keepdims=True)
    ratio = np.divide(joint, apart, out=np.ones_like(joint), where=joint > 0)
    found: Floats = (joint * np.log2(ratio)).sum(axis=(-2, -1))
    return np.maximum(found, 0.0)


def _shuffled(labels: Ints, shuffles: int, seed: int) -> Counts:
    """Return the labels and shuffles of them, (1 + shuffles, documents); texts without a label keep none."""
    generator = np.random.default_rng(seed)
    tried = np.tile(labels.astype(np.int64), (1 + shuffles, 1))
    named = np.flatnonzero(labels >= 0)
    for row in tried[1:]:
        row[named] = labels[generator.permutation(named)]
    return tried


def _tables(chosen: Ints, starts: Ints, tried: Counts, domains: int, experts: int) -> Floats:
    """Return counts of a layer by domain and expert under each labelling, (tried, domains, E)."""
    found = np.zeros((len(tried) * domains, experts))
    documents = len(starts) - 1
    step = max(1, _BLOCK // max(experts, len(tried) * domains))
    for first in range(0, documents, step):
        last = min(first + step, documents)
        begin, end = int(starts[first]), int(starts[last])
        numbers = np.repeat(np.arange(last - first), np.diff(starts[first : last + 1]))
        each = count_choices(chosen[begin:end], experts, numbers, last - first)[:, 0]
        belongs = tried[:, None, first:last] == np.arange(domains)[:, None]
        found += belongs.reshape(len(found), -1).astype(np.float64) @ each.astype(np.float64)
    return found.reshape(len(tried), domains, experts)


def _association(counts: Counts) -> tuple[Floats, Counts, Floats]:
    """Return Pearson's chi-square, degrees of freedom and Cramer's V of (domains, L, E), for each layer."""
    rows, columns = counts.sum(axis=2), counts.sum(axis=0)
    totals = np.maximum(counts.sum(axis=(0, 2)), 1)
    expected = rows[:, :, None] * columns[None] / totals[None, :, None]
    apart = np.divide((counts - expected) ** 2, expected, out=np.zeros_like(expected), where=expected > 0)
    chi_square: Floats = apart.sum(axis=(0, 2))
    across, down = (rows > 0).sum(axis=0) - 1, (columns > 0).sum(axis=1) - 1
    least = np.maximum(np.minimum(across, down), 1)
    return chi_square, np.maximum(across * down, 0), np.sqrt(chi_square / (totals * least))
