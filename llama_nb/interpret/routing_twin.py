"""The routing of a trace, to be looked at: what of it stands in an output without a widget.

Knows traces; how that looks is `render.routing`'s business.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llama_nb.interpret.routing_domains import domains_of
from llama_nb.interpret.routing_load import load_of
from llama_nb.render.routing import MOST_TOKENS, RoutedToken, RoutingTwin, bundle
from llama_nb.render.tokens import count_text
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    import numpy.typing as npt

    from llama_nb.interpret.routing import RoutingTrace
    from llama_nb.interpret.routing_domains import DomainTable
    from llama_nb.interpret.routing_load import Load

_CLEAREST = 0.9  # the quantile of the margins from which on a colour is full
_MOST_PASSAGES = 8


@dataclass(frozen=True, slots=True)
class RoutingView:
    """A trace, and what of it to show first; shown as the explorer where a page has widgets.

    Attributes
    ----------
    layer
        A MoE layer, by its index in the model; None: the middle one.
    domain
        Whose load is compared with all others'; None: no one's.
    """

    trace: "RoutingTrace"
    layer: int | None = None
    domain: str | None = None

    def text(self) -> str:
        """Return what there is to say as text."""
        return self._repr_mimebundle_()["text/plain"]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        watched = detect().watched
        return bundle(routing_twin(self.trace, self.layer, self.domain), watched=watched)

    def __repr__(self) -> str:
        return f"<view of {self.trace!r}>"


def routing_twin(
    trace: "RoutingTrace",
    layer: int | None = None,
    domain: str | None = None,
    *,
    load: "Load | None" = None,
    table: "DomainTable | None" = None,
) -> RoutingTwin:
    """Return what is shown of a trace.

    Parameters
    ----------
    layer
        Default the middle one.
    domain
        Whose load is shown, against all others.
    load, table
        Where they are there already.

    Raises
    ------
    TraceError
        If there is no such layer or domain.
    """
    trace = trace.now()
    layer = first_layer(trace) if layer is None else layer
    trace.column(layer)
    if table is None and len(trace.domains) > 1:
        table = domains_of(trace)
    found = load or load_of(trace, domain)
    return RoutingTwin(
        title=f"Routing of {trace.model}: {trace.title}",
        facts=_facts(trace, found),
        layer=layer,
        load=found.look(),
        tokens=_tokens(trace, layer, domain),
        count=found.tokens,
        domains=None if table is None else table.look(layer),
    )


def first_layer(trace: "RoutingTrace") -> int:
    """Return the layer to look at first: the middle one of those with experts."""
    return trace.layers[len(trace.layers) // 2]


def _facts(trace: "RoutingTrace", load: "Load") -> tuple[str, ...]:
    layers = ", ".join(f"L{layer}" for layer in trace.layers)
    if len(trace.layers) > 6:
        layers = f"{len(trace.layers)} layers, L{trace.layers[0]} to L{trace.layers[-1]}"
    shared = " + a shared one" if trace.shared else ""
    documents = len(trace.starts) - 1
    texts = f" in {documents:,} texts" if documents > 1 else ""
    written = trace.length - trace.prompt
    by_model = f", {written:,} of them written by the model" if written and documents == 1 else ""
    return (
        f"{trace.experts} experts in {layers}: {trace.top_k} chosen{shared} by a {trace.gate}; "
        f"{count_text(trace.length)}{texts}{by_model}",
        *((f"Shown: {count_text(load.tokens)} of {load.domain}, against all others",) if load.domain else ()),
        *((f"Changed in the model: {trace.off}",) if trace.off else ()),
    )


def _tokens(trace: "RoutingTrace", layer: int, domain: str | None) -> tuple[RoutedToken, ...]:
    """Return the first tokens, or where texts have labels the first ones of each label."""
    at = trace.column(layer)
    several = len(trace.starts) > 2 or bool(trace.domains)
    found: list[RoutedToken] = []
    for label, start, stop in _passages(trace, domain):
        texts = trace.texts(start, stop)
        clear = _clear(np.asarray(trace.margin[start:stop, at], dtype=np.float64))
        first = len(found)
        for token, text in enumerate(texts):
            found.append(
                RoutedToken(
                    text=text,
                    experts=tuple(int(expert) for expert in trace.chosen[start + token, at]),
                    clear=float(clear[token]),
                    special=bool(trace.special[start + token]),
                    begins=label if several and len(found) == first else None,
                )
            )
    return tuple(found)


def _passages(trace: "RoutingTrace", domain: str | None) -> list[tuple[str, int, int]]:
    """Return what is shown, as (label, start, stop)."""
    starts = [int(start) for start in trace.starts]
    labels = trace.labels or ("",) * (len(starts) - 1)
    documents = list(range(len(labels)))
    if trace.domains:
        wanted = [domain] if domain else trace.domains[:_MOST_PASSAGES]
        documents = [labels.index(label) for label in wanted if label in labels]
    found, left = [], MOST_TOKENS
    for number, document in enumerate(documents):
        share = left // (len(documents) - number) if trace.domains else left
        start, stop = starts[document], min(starts[document + 1], starts[document] + share)
        if stop > start:
            found.append((labels[document], start, stop))
        left -= stop - start
        if not left:
            break
    return found


def _clear(margins: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
    """Return how clear choices were, 0 to 1: margins over a large one of these."""
    finite = margins[np.isfinite(margins)]
    most = float(np.quantile(finite, _CLEAREST)) if finite.size else 0.0
    if most <= 0:
        return np.ones(len(margins))
    return np.clip(np.nan_to_num(margins / most, nan=0.0, posinf=1.0), 0.0, 1.0)
