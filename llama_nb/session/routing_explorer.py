"""The routing explorer without a page: a trace, the layer, expert, token and domain that are looked at.

Knows traces and what is computed of them; knows no page. What names nothing in a trace is refused.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args

from llama_nb.core.errors import TraceError
from llama_nb.core.stop import StopFlag
from llama_nb.session.expert_weights import expert_weights
from llama_nb.session.routing_whatif import NOTHING, Changes

if TYPE_CHECKING:
    from llama_nb.interpret.expert_weights import ExpertWeights
    from llama_nb.interpret.routing import RoutingTrace
    from llama_nb.interpret.routing_cost import RoutingCost
    from llama_nb.interpret.routing_domains import DomainTable
    from llama_nb.interpret.routing_expert import ExpertPage
    from llama_nb.interpret.routing_load import Load
    from llama_nb.interpret.routing_paths import Paths
    from llama_nb.render.routing import RoutingTwin
    from llama_nb.session.model import Model

T = TypeVar("T")
Pane = Literal["tokens", "paths", "expert", "whatif", "cost"]
Shade = Literal["margin", "entropy", "weight"]

WINDOW: Final = 4_096  # tokens that a page has at once
LONGEST: Final = 200  # characters of a token that a page has


class RoutingLook:
    """What is looked at of a trace.

    Parameters
    ----------
    trace
        What was captured; it may still grow.
    layer
        The layer with experts that is looked at first; default the middle one.
    domain
        The label whose texts are looked at; default all.

    Raises
    ------
    TraceError
        If there are no experts in that layer, or there is no such label.
    """

    def __init__(self, trace: "RoutingTrace", layer: int | None = None, domain: str | None = None) -> None:
        self._whole = trace
        # As it stands: one that grows may be longer with each look at it.
        self.trace = trace.now()
        layers = self.trace.layers
        self.layer = layers[len(layers) // 2] if layer is None else layer
        self.domain = domain or ""
        self.check(self.layer, self.domain)
        self.start = 0  # of the window of tokens
        self.pane: Pane = "tokens"
        self.shade: Shade = "margin"
        self.expert: int | None = None
        self.token: int | None = None
        self.changes: Changes = NOTHING
        self._kept: dict[str, tuple[Any, Any]] = {}
        self._keeping = threading.Lock()
        self.grow()

    # --- what is looked at ------------------------------------------------------------------------------

    def go(self, layer: int, token: int | None) -> None:
        """Look at a layer, and at a token of it."""
        self.check(layer)
        self.layer, self.token = layer, None if token is None else self._token(token)

    def open(self, layer: int, expert: int) -> None:
        """Look at an expert."""
        self.check(layer, expert=expert)
        self.layer, self.expert = layer, expert

    def move(self, start: int) -> None:
        """Look at the tokens from `start` on."""
        self.start = self._token(start)

    def choose_domain(self, name: str) -> None:
        """Look at the texts of one label, at the end of the first of them; "" is all of them."""
        self.check(self.layer, name)
        self.domain = name
        trace, token = self.trace, self.token
        if not name or (token is not None and trace.label_of()[token] == trace.domains.index(name)):
            return
        _, end = self.document(int(trace.select(name)[0]))
        self.token = end - 1
        if not self.start <= self.token < self.stop:
            self.start = max(0, self.token - WINDOW // 2)

    def choose_pane(self, pane: str) -> None:
        """Show another pane."""
        if pane not in get_args(Pane):
            raise TraceError(f"There is no pane {pane!r}.")
        self.pane = pane  # type: ignore[assignment]

    def choose_shade(self, shade: str) -> None:
        """Shade the tokens by something else."""
        if shade not in get_args(Shade):
            raise TraceError(f"Tokens are not shaded by {shade!r}.")
        self.shade = shade  # type: ignore[assignment]

    def grow(self) -> None:
        """Follow a trace that has grown: the window holds its end."""
        self.trace = self._whole.now()
        if self.growing:
            self.start = max(0, self.length - WINDOW)

    # --- what is seen -----------------------------------------------------------------------------------

    @property
    def growing(self) -> bool:
        """Whether the model still writes."""
        return self._whole.growing

    @property
    def length(self) -> int:
        """How many tokens there are."""
        return self.trace.length

    @property
    def stop(self) -> int:
        """The end of the window of tokens."""
        return min(self.length, self.start + WINDOW)

    def document(self, position: int) -> tuple[int, int]:
        """Return where the text of a token begins and ends."""
        import numpy as np

        starts = np.asarray(self.trace.starts)
        number = int(np.searchsorted(starts, self._token(position), side="right")) - 1
        return int(starts[number]), int(starts[number + 1])

    def model(self) -> "Model | None":
        """Return the model that the trace is of, if it is loaded."""
        from llama_nb.session import registry

        return registry.loaded_of(self.trace.fingerprint, self.trace.model)

    def load(self) -> "Load":
        """Return how the tokens of the domain spread over the experts."""
        from llama_nb.interpret.routing_load import load_of

        trace, domain = self.trace, self.domain
        return self._once("load", (domain, trace.length), lambda: load_of(trace, domain or None))

    def domains(self) -> "DomainTable | None":
        """Return what the experts tell of the labels; None where there are not two, or not yet."""
        from llama_nb.interpret.routing_domains import domains_of

        if self.growing or len(self.trace.domains) < 2:
            return None
        return self._once("domains", self.length, lambda: domains_of(self.trace))

    def scores(self, layer: int, token: int) -> tuple[Any, list[tuple[int, float]]]:
        """Return all experts' scores for a token, and the chosen ones with their routing weights.

        Raises
        ------
        TraceError
            If there is no such place, or the scores were not kept.
        """
        self.check(layer)
        trace, at = self.trace, self.trace.column(layer)
        found = trace.scores(layer, self._token(token))
        chosen = zip(trace.chosen[token, at], trace.weights[token, at], strict=True)
        return found, [(int(expert), float(weight)) for expert, weight in chosen]

    def paths(self, domain: str, token: str | None) -> "Paths":
        """Return how tokens flow from layer to layer: of one label, of one text, or all."""
        from llama_nb.interpret.routing_paths import paths_of

        ids = None if token is None else self._ids(token)
        return paths_of(self.trace, domain or None, ids=ids)

    def page(self, layer: int, expert: int) -> "ExpertPage":
        """Return what is known of an expert by its tokens."""
        from llama_nb.interpret.routing_expert import expert_page

        return expert_page(self.trace, layer, expert)

    def cost(self) -> "RoutingCost":
        """Return what the experts cost on these tokens."""
        from llama_nb.interpret.routing_cost import cost_of

        return cost_of(self.trace)

    def weights(self, stop: StopFlag) -> "ExpertWeights | None":
        """Return norms and similarities of the experts' weights; None where the model is gone."""
        model = self.model()
        return None if model is None else expert_weights(model, stop)

    def twin(self) -> "RoutingTwin":
        """Return what stands in the notebook for the shown layer and domain."""
        from llama_nb.interpret.routing_twin import routing_twin

        trace, layer, domain, load, table = self.trace, self.layer, self.domain, self.load(), self.domains()
        return self._once(
            "twin",
            (layer, domain, trace.length),
            lambda: routing_twin(trace, layer, domain or None, load=load, table=table),
        )

    def check(self, layer: int, domain: str = "", *, expert: int = 0) -> None:
        """Refuse what there is not.

        Raises
        ------
        TraceError
            Saying what there is.
        """
        trace = self.trace
        if layer not in trace.layers:
            there = ", ".join(map(str, trace.layers))
            raise TraceError(f"Layer {layer} has no experts: those that have are {there}.")
        if domain and domain not in trace.domains:
            known = (
                f"There are: {', '.join(trace.domains)}." if trace.domains else "The texts have no labels."
            )
            raise TraceError(f"There is no domain {domain!r}.", known)
        if not 0 <= expert < trace.experts:
            raise TraceError(f"There is no expert {expert}: from 0 to {trace.experts - 1}.")

    def _once(self, name: str, of: Any, find: Callable[[], T]) -> T:
        """Return what was found of this; find it if it was of something else."""
        with self._keeping:
            known = self._kept.get(name)
            if known is None or known[0] != of:
                known = self._kept[name] = (of, find())
            found: T = known[1]
            return found

    def _token(self, position: int) -> int:
        if not 0 <= position < self.length:
            raise TraceError(f"There is no token {position}: from 0 to {self.length - 1:,}.")
        return position

    def _ids(self, text: str) -> list[int]:
        """Return the ids of the tokens that a page has as `text`."""
        import numpy as np

        ids, first = np.unique(np.asarray(self.trace.ids), return_index=True)
        shown = [self.trace.text(int(at))[:LONGEST] for at in first]
        return [int(each) for each, its in zip(ids, shown, strict=True) if its == text]
