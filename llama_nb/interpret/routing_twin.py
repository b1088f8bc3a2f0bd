"""The routing of a trace, to be looked at: what of it stands in an output without a widget.

Knows traces; how that looks is `render.routing`'s business.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llama_nb.core.errors import TraceError
from llama_nb.interpret.routing_domains import domains_of
from llama_nb.interpret.routing_load import load_of
from llama_nb.render.routing import MOST_TOKENS, RoutedToken, RoutingTwin, bundle
from llama_nb.render.tokens import count_text
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    from llama_nb.interpret.routing import RoutingTrace
    from llama_nb.interpret.routing_domains import DomainTable
    from llama_nb.interpret.routing_load import Load

_CLEAREST = 0.9  # the quantile of the margins from which on a colour is full


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
    layer = first_layer(trace) if layer is None else layer
    if layer not in trace.layers:
        known = ", ".join(f"L{each}" for each in trace.layers)
        raise TraceError(f"Layer {layer} has no experts. The layers with experts are {known}.")
    if table is None and len(trace.domains) > 1:
        table = domains_of(trace)
    return RoutingTwin(
        title=f"Routing of {trace.model}: {trace.title}",
        facts=_facts(trace),
        layer=layer,
        load=(load or load_of(trace, domain)).look(),
        tokens=_tokens(trace, layer),
        count=trace.length,
        domains=None if table is None else table.look(layer),
    )


def first_layer(trace: "RoutingTrace") -> int:
    """Return the layer to look at first: the middle one of those with experts."""
    return trace.layers[len(trace.layers) // 2]


def _facts(trace: "RoutingTrace") -> tuple[str, ...]:
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
        *((f"Changed in the model: {trace.off}",) if trace.off else ()),
    )


def _tokens(trace: "RoutingTrace", layer: int) -> tuple[RoutedToken, ...]:
    at = trace.column(layer)
    count = min(trace.length, MOST_TOKENS)
    texts = trace.texts(0, count)
    margins = np.asarray(trace.margin[:count, at], dtype=np.float64)
    finite = margins[np.isfinite(margins)]
    most = float(np.quantile(finite, _CLEAREST)) if finite.size else 0.0
    clear = np.nan_to_num(margins / most, nan=0.0, posinf=1.0) if most > 0 else np.ones(count)
    labels = trace.labels or ("",) * (len(trace.starts) - 1)
    begins = {int(start): label for start, label in zip(trace.starts[:-1], labels, strict=True)}
    several = len(trace.starts) > 2 or any(labels)
    return tuple(
        RoutedToken(
            text=texts[token],
            experts=tuple(int(expert) for expert in trace.chosen[token, at]),
            clear=float(clear[token]),
            begins=begins.get(token) if several else None,
        )
        for token in range(count)
    )
