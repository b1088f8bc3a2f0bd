"""A reply whose experts are seen while it is written: its prompt is captured, then a token at a time comes.

Knows replies and engines; how a trace grows is `interpret/routing_growing.py`'s business.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from llama_nb.core.intervention import names
from llama_nb.session.generation import Generation
from llama_nb.session.live_trace import Watching
from llama_nb.session.routing import chosen_count

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.interpret.mixture import Mixture
    from llama_nb.interpret.routing import RoutingTrace
    from llama_nb.interpret.routing_growing import GrowingRouting

OnTokens = Callable[["RoutingTrace"], None]


class RoutingWatching(Watching["GrowingRouting"]):
    """Watches which experts the tokens of one reply go through."""

    def __init__(
        self, engine: "Engine", generation: Generation, mixture: "Mixture", on_tokens: OnTokens
    ) -> None:
        super().__init__(engine, generation, on_tokens)
        self._mixture = mixture

    def begin(self, module: Any, ids: tuple[int, ...]) -> "GrowingRouting":
        """See Watching.begin."""
        from llama_nb.interpret.passages import Passages
        from llama_nb.interpret.routing import Routing
        from llama_nb.interpret.routing_capture import capture_routing
        from llama_nb.interpret.routing_growing import GrowingRouting

        reply = self.reply
        top_k = chosen_count(reply.interventions, self._mixture)
        captured = capture_routing(module, ids, top_k=top_k, stopped=self.stopped)
        passages = Passages.of_text(ids, *self.described(ids))
        return GrowingRouting(
            Routing(captured.routes, passages, captured.mass[None]),
            mixture=self._mixture,
            model=reply.model_name,
            fingerprint=reply.fingerprint,
            title=self.title,
            prompt=len(ids),
            off=names(reply.interventions),
        )

    def grow(
        self, module: Any, trace: "GrowingRouting", told: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """See Watching.grow."""
        from llama_nb.interpret.routing_growing import grow

        return grow(module, trace, self.described, told)
