"""Which experts the tokens of a text or a corpus went through: a RoutingTrace answers what is asked of that.

Knows tokens and what routers said of them, in memory or in a file; the model itself is not kept.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llama_nb.core.errors import TraceError
from llama_nb.interpret.mixture import Mixture
from llama_nb.interpret.passages import Passages
from llama_nb.interpret.routes import Experts, Floats, Routes

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.interpret.expert_sizes import ExpertSizes
    from llama_nb.interpret.routing_cost import RoutingCost
    from llama_nb.interpret.routing_domains import DomainTable
    from llama_nb.interpret.routing_expert import ExpertPage
    from llama_nb.interpret.routing_load import Load
    from llama_nb.interpret.routing_paths import Paths
    from llama_nb.interpret.routing_twin import RoutingView

Mass = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Routing:
    """What stands at a moment: the tokens, what was said of them, and the mass of each domain, (G, L, E)."""

    routes: Routes
    passages: Passages
    mass: Mass


class RoutingTrace:
    """The experts that each token of a text, or of a corpus, was sent to on every MoE layer.

    Made by `Model.routing`. It keeps no model, so it works when that is unloaded. Tokens are rows: those of a
    corpus stand one text after the other, and may lie in a file. Layers are the model's own numbers, counted
    from 0; `column` says where one stands in the arrays. Scores are in float32, whatever the model runs in.

    Attributes
    ----------
    model, fingerprint
        Which weights it was.
    title
        What was read: "text", "reply in chat main", "120 texts".
    mixture
        What kind of mixture of experts the model is.
    prompt
        How many leading tokens the model was given; it wrote the rest itself.
    off
        What was changed in the model meanwhile, in words; "" if nothing.
    growing
        Whether tokens are added to it by a reply on its way.
    """

    growing = False

    def __init__(
        self,
        routing: Routing,
        *,
        mixture: Mixture,
        model: str,
        fingerprint: str,
        title: str,
        prompt: int,
        off: str = "",
    ) -> None:
        self._kept = routing
        self.mixture = mixture
        self.model, self.fingerprint, self.title = model, fingerprint, title
        self.prompt, self.off = prompt, off

    @property
    def _routing(self) -> Routing:
        return self._kept

    def now(self) -> "RoutingTrace":
        """Return the trace as it stands: itself, or of one that grows what is there."""
        return self

    # --- the mixture ------------------------------------------------------------------------------------

    @property
    def architecture(self) -> str:
        """The class of the model."""
        return self.mixture.architecture

    @property
    def layers(self) -> tuple[int, ...]:
        """The MoE layers."""
        return self.mixture.layers

    @property
    def experts(self) -> int:
        """How many experts a layer has."""
        return self.mixture.experts

    @property
    def top_k(self) -> int:
        """How many experts each token went through."""
        return int(self.chosen.shape[2])

    @property
    def gate(self) -> str:
        """How scores are made: "sigmoid" (each expert's by itself) or "softmax" (one for all of them)."""
        return self.mixture.gate

    @property
    def shared(self) -> bool:
        """Whether there is an expert that every token goes through besides."""
        return self.mixture.shared

    @property
    def sizes(self) -> "ExpertSizes":
        """What the model weighs."""
        return self.mixture.sizes

    # --- the tokens -------------------------------------------------------------------------------------

    @property
    def length(self) -> int:
        """How many tokens there are, N."""
        return len(self._routing.passages)

    @property
    def ids(self) -> npt.NDArray[np.int32]:
        """Token ids, (N,)."""
        return self._routing.passages.ids

    @property
    def special(self) -> npt.NDArray[np.bool_]:
        """Which tokens are control tokens, (N,)."""
        return self._routing.passages.special

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where each text begins, and where the last one ends, (D + 1,)."""
        return self._routing.passages.starts

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each text, "" where it has none; () if no text has one."""
        return self._routing.passages.labels

    @property
    def domains(self) -> tuple[str, ...]:
        """The labels, each once, in the order in which they came."""
        return self._routing.passages.domains

    def label_of(self) -> npt.NDArray[np.int16]:
        """Return which of `domains` each token belongs to, (N,); -1 for none."""
        return self._routing.passages.domain_of

    def select(self, domain: str) -> npt.NDArray[np.int64]:
        """Return the positions of the tokens of a domain.

        Raises
        ------
        TraceError
            If there is no such domain.
        """
        if domain not in self.domains:
            known = f"There are: {', '.join(self.domains)}." if self.domains else "The texts have no labels."
            raise TraceError(f"There is no domain {domain!r}.", known)
        return np.flatnonzero(self.label_of() == self.domains.index(domain))

    def text(self, position: int) -> str:
        """Return what one token shows as."""
        at = self._place(position)
        return self._routing.passages.texts(at, at + 1)[0]

    def texts(self, start: int = 0, stop: int | None = None) -> list[str]:
        """Return what tokens show as."""
        return self._routing.passages.texts(*self._span(start, stop))

    # --- what the routers said --------------------------------------------------------------------------

    @property
    def chosen(self) -> Experts:
        """The experts of each token, (N, L, k), by falling weight."""
        return self._routing.routes.chosen

    @property
    def weights(self) -> Floats:
        """What the layers multiply with, (N, L, k)."""
        return self._routing.routes.weights

    @property
    def margin(self) -> Floats:
        """How sure each choice was, (N, L): the smallest chosen score minus the largest of the others.

        In the scores that the choice is made by; where nothing else could be chosen those count as 0.
        """
        return self._routing.routes.margin

    @property
    def entropy(self) -> Floats:
        """The entropy of all experts' scores, made to sum to 1, in nats: (N, L)."""
        return self._routing.routes.entropy

    @property
    def logits(self) -> Floats | None:
        """The routers' logits, (N, L, E), or None where they were not kept."""
        return self._routing.routes.logits

    @property
    def mass(self) -> Mass:
        """The scores of each token, made to sum to 1, summed over tokens: (G, L, E).

        A row a domain, and a last one for tokens that have none.
        """
        return self._routing.mass

    @property
    def nbytes(self) -> int:
        """How many bytes the arrays are, in memory or in a file."""
        return self._routing.routes.nbytes + self.ids.nbytes + self.mass.nbytes

    def column(self, layer: int) -> int:
        """Return where a layer stands in the arrays.

        Raises
        ------
        TraceError
            If it has no experts, or there is no such layer.
        """
        if isinstance(layer, bool) or layer not in self.layers:
            shown = ", ".join(map(str, self.layers))
            raise TraceError(f"Layer {layer!r} of {self.model} is no MoE layer.", f"Its MoE layers: {shown}.")
        return self.layers.index(layer)

    def rows(self, start: int = 0, stop: int | None = None) -> Routes:
        """Return what the routers said of some tokens; it shares their memory."""
        return self._routing.routes[slice(*self._span(start, stop))]

    def scores(self, layer: int, position: int) -> Floats:
        """Return the gate's value for every expert at one token, (E,).

        Raises
        ------
        TraceError
            If there is no such layer or token, or the logits were not kept.
        """
        at, column, logits = self._place(position), self.column(layer), self.logits
        if logits is None:
            raise TraceError(
                "The scores of all experts were not kept: of a long text the chosen ones alone are.",
                "Keep them: m.routing(texts, keep_logits=True)",
            )
        found = logits[at, column].astype(np.float64)
        scores = 1 / (1 + np.exp(-found)) if self.gate == "sigmoid" else np.exp(found - found.max())
        return (scores if self.gate == "sigmoid" else scores / scores.sum()).astype(np.float32)

    # --- what it comes to -------------------------------------------------------------------------------

    def expert_load(self, domain: str | None = None) -> "Load":
        """Return how the tokens spread over the experts; of one domain, also against all others.

        Raises
        ------
        TraceError
            If there is no such domain.
        """
        from llama_nb.interpret.routing_load import load_of

        return load_of(self.now(), domain)

    def domain_table(self) -> "DomainTable":
        """Return which experts the texts of each label go through, and how much that tells.

        Raises
        ------
        TraceError
            If the texts have no labels.
        """
        from llama_nb.interpret.routing_domains import domains_of

        return domains_of(self.now())

    def paths(
        self,
        domain: str | None = None,
        *,
        token: str | None = None,
        positions: Collection[int] | None = None,
    ) -> "Paths":
        """Return how the tokens go on from each MoE layer to the next one.

        Parameters
        ----------
        domain
            Only the texts of this label.
        token
            Only the tokens that show as this: " the".
        positions
            Only the tokens there.

        Raises
        ------
        TraceError
            If there is no such domain, token or position.
        """
        from llama_nb.interpret.routing_paths import ids_of, paths_of

        trace = self.now()
        ids = None if token is None else ids_of(trace, token)
        return paths_of(trace, domain, ids=ids, positions=positions)

    def expert(self, layer: int, expert: int) -> "ExpertPage":
        """Return what one expert gets: its tokens, its share of each domain and place, where it weighs most.

        Raises
        ------
        TraceError
            If there is no such layer or expert.
        """
        from llama_nb.interpret.routing_expert import expert_page

        return expert_page(self.now(), layer, expert)

    def cost(self) -> "RoutingCost":
        """Return what the experts cost here: parameters that work, bytes that are read, caches of experts."""
        from llama_nb.interpret.routing_cost import cost_of

        return cost_of(self)

    def to_frame(self, start: int = 0, stop: int | None = None) -> "pd.DataFrame":
        """Return one row for each token, MoE layer and chosen expert.

        Its columns are document, label, position, token, layer, rank (1 is the expert that weighs most),
        expert, weight, margin, entropy.

        Raises
        ------
        TraceError
            If there are more than five million; `start` and `stop` make them fewer.
        """
        from llama_nb.interpret.routing_frame import frame_of

        trace = self.now()
        return frame_of(trace, trace._routing.passages, *trace._span(start, stop))

    # --- how it is kept and shown -----------------------------------------------------------------------

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the trace into a file (safetensors) and return its path; `RoutingTrace.load` reads it.

        The file holds the tokens' texts: who gets it can read what was read. It is written whole or not at
        all, with mode 0600.

        Raises
        ------
        TraceError
            If there is such a file already (`overwrite=True` replaces it), or it cannot be written.
        """
        from llama_nb.interpret.routing_file import save_trace

        return save_trace(self.now(), path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> "RoutingTrace":
        """Read a trace that `save` wrote; the model is not needed. Its arrays stay in the file.

        Raises
        ------
        TraceError
            If there is no such file, or it is damaged or something else.
        """
        from llama_nb.interpret.routing_file import load_trace

        return load_trace(path)

    def view(self, layer: int | None = None, domain: str | None = None) -> "RoutingView":
        """Return what of it is to be shown: the tokens of a layer, and the load of a domain.

        Raises
        ------
        TraceError
            If there is no such layer or domain.
        """
        from llama_nb.interpret.routing_twin import RoutingView

        if layer is not None:
            self.column(layer)
        if domain is not None:
            self.select(domain)
        return RoutingView(self, layer, domain)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self.view()._repr_mimebundle_()

    def __repr__(self) -> str:
        layers = ", ".join(map(str, self.layers))
        return (
            f"RoutingTrace({self.title} in {self.model}: {self.length:,} tokens, MoE layers {layers}, "
            f"{self.top_k} of {self.experts} experts)"
        )

    # --- what is meant ----------------------------------------------------------------------------------

    def _place(self, position: int) -> int:
        length = self.length
        whole = isinstance(position, int | np.integer) and not isinstance(position, bool)
        if not whole or not -length <= position < length:
            raise TraceError(f"There is no token {position!r}: there are {length:,}, from 0.")
        return int(position) % length

    def _span(self, start: int, stop: int | None) -> tuple[int, int]:
        first, last, _ = slice(start, stop).indices(self.length)
        return first, max(first, last)
