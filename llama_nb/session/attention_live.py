"""A reply whose attention is seen while it is written: its prompt is captured, then a row comes a token.

Knows replies and engines; how a trace grows is `interpret/growing.py`'s business.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from llama_nb.core.intervention import names
from llama_nb.session.attention import Layers, check_room
from llama_nb.session.generation import Generation
from llama_nb.session.known_traces import identify
from llama_nb.session.live_trace import USUAL, Watching
from llama_nb.session.reading import check_weights

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.interpret.attention import AttentionTrace
    from llama_nb.interpret.growing import GrowingTrace
    from llama_nb.session.model import Model

OnRows = Callable[["AttentionTrace"], None]


class AttentionWatching(Watching["GrowingTrace"]):
    """Watches what the model attends to while it writes one reply."""

    def __init__(
        self, engine: "Engine", generation: Generation, layers: Sequence[int], on_rows: OnRows
    ) -> None:
        super().__init__(engine, generation, on_rows)
        self._layers = layers

    def begin(self, module: Any, ids: tuple[int, ...]) -> "GrowingTrace":
        """See Watching.begin."""
        from llama_nb.interpret.capture import attention_cost, capture_attention
        from llama_nb.interpret.growing import GrowingTrace

        reply = self.reply
        tokens = min(self.engine.context, len(ids) + (reply.sampling.max_tokens or USUAL))
        check_room(
            attention_cost(module, tokens, self._layers), tokens, len(self._layers), str(module.device)
        )
        captured = capture_attention(module, ids, layers=self._layers, stopped=self.stopped)
        texts, special = self.described(ids)
        trace = GrowingTrace(
            captured,
            model=reply.model_name,
            fingerprint=reply.fingerprint,
            title=self.title,
            ids=ids,
            texts=texts,
            special=special,
            prompt=len(ids),
            off=names(reply.interventions),
        )
        identify(trace)
        return trace

    def grow(
        self, module: Any, trace: "GrowingTrace", told: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """See Watching.grow."""
        from llama_nb.interpret.growing import grow

        return grow(module, trace, self.described, told)


def wanted_layers(model: "Model", layers: Layers) -> tuple[int, ...]:
    """Return the numbers of the layers that are meant; nothing is sent before they are known.

    Raises
    ------
    UnsupportedError
        If the weights are not in this kernel.
    TraceError
        If the model has no such layer.
    """
    check_weights(model.engine, "attention")
    from llama_nb.interpret.capture import find_layers

    return find_layers(model.loaded.module, layers)
