"""A reply whose attention is seen while it is written: its prompt is captured, then a row comes a token.

Knows replies and engines; how a trace grows is `interpret/growing.py`'s business.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import Stopped
from llama_nb.core.intervention import names
from llama_nb.session.attention import Layers, check_room
from llama_nb.session.generation import Generation
from llama_nb.session.known_traces import identify
from llama_nb.session.reading import check_weights
from llama_nb.session.reply import Reply

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.interpret.attention import AttentionTrace
    from llama_nb.interpret.growing import GrowingTrace
    from llama_nb.session.model import Model

_USUAL: Final = 1024  # tokens that a reply without a bound is taken to have, where memory is looked at
_TIDY_S: Final = 10.0

OnRows = Callable[["AttentionTrace"], None]


class Watching:
    """Watches one reply on its way, which `generation` makes.

    Attributes
    ----------
    trace
        The attention so far; None until the prompt was captured.
    error
        What `on_rows` raised: it was not called again, and the reply went on.
    """

    def __init__(
        self, engine: "Engine", generation: Generation, layers: Sequence[int], on_rows: OnRows
    ) -> None:
        self._engine, self._layers, self._on_rows = engine, layers, on_rows
        self._reply: Reply = generation.reply
        self.trace: GrowingTrace | None = None
        self.error: Exception | None = None
        self._left = threading.Event()
        self._left.set()
        generation.watch = self._watch

    @contextlib.contextmanager
    def _watch(self, module: Any) -> Iterator[None]:
        """Watch one run; on the model's worker."""
        self._left.clear()
        try:
            with self._rows(module):
                yield
        finally:
            self._left.set()

    @contextlib.contextmanager
    def _rows(self, module: Any) -> Iterator[None]:
        """Capture the prompt, then add the rows of what follows."""
        from llama_nb.interpret.capture import attention_cost, capture_attention
        from llama_nb.interpret.growing import GrowingTrace, grow

        reply = self._reply
        assert reply.request is not None
        ids = self._engine.prompt(reply.request).ids
        tokens = min(self._engine.context, len(ids) + (reply.sampling.max_tokens or _USUAL))
        check_room(
            attention_cost(module, tokens, self._layers), tokens, len(self._layers), str(module.device)
        )
        flag = reply.stop_flag
        captured = capture_attention(
            module,
            ids,
            layers=self._layers,
            stopped=lambda: (flag.reason or "stopped") if flag.is_set() else None,
        )
        texts, special = self._described(ids)
        self.trace = GrowingTrace(
            captured,
            model=reply.model_name,
            fingerprint=reply.fingerprint,
            title=f"reply in chat {reply.chat}" if reply.chat else "reply",
            ids=ids,
            texts=texts,
            special=special,
            prompt=len(ids),
            off=names(reply.interventions),
        )
        identify(self.trace)
        self._tell()
        with grow(module, self.trace, self._described, self._tell):
            yield

    def result(self) -> "GrowingTrace":
        """Return the trace when the reply is done; raise what `on_rows` raised.

        Raises
        ------
        Stopped
            If the reply was stopped before its prompt had been read.
        """
        self._left.wait(_TIDY_S)  # the last token came before the model was left as it was
        if self.error is not None:
            raise self.error
        if self.trace is None:
            raise Stopped("The reply was stopped before its prompt was read.")
        return self.trace

    def _described(self, ids: Sequence[int]) -> tuple[list[str], list[bool]]:
        return self._engine.token_texts(ids), [self._engine.is_special(token) for token in ids]

    def _tell(self) -> None:
        if self.error is not None or self.trace is None:
            return
        try:
            self._on_rows(self.trace)
        except Exception as error:  # noqa: BLE001 - whatever a viewer does wrong, the reply goes on
            self.error = error


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
