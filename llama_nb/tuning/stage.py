"""Where a training happens: on the worker of a model that others ask in between, and the trainer itself asks.

Whoever is served sees the model as chats see it: in eval mode, without gradients, with the adapters that are
active. Then everything is as the training left it, random states included.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from llama_nb.core.adapter import NO_ADAPTER
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.tuning.random_state import random_states_kept

if TYPE_CHECKING:
    from llama_nb.engines.worker import Serve
    from llama_nb.tuning.parts import Parts


class WorkerStage:
    """The worker's thread of a loaded model, on which a run is executed.

    Parameters
    ----------
    parts
        The model.
    adapter
        The name of the adapter that is trained; "" when every weight is.
    stopped
        Why the work on this thread is to stop, None to go on.
    serve
        Runs what waits for the model.
    sample_tokens
        The longest answer to a fixed prompt.
    """

    def __init__(
        self,
        parts: "Parts",
        adapter: str,
        stopped: Callable[[], str | None],
        serve: "Serve",
        *,
        sample_tokens: int = 64,
    ) -> None:
        self._parts = parts
        self._adapter = adapter
        self._stopped = stopped
        self._serve = serve
        self._sample_tokens = sample_tokens
        self._stale = False

    def stopped(self) -> str | None:
        """Return why the training is to stop, None to go on."""
        return self._stopped()

    def changed(self) -> None:
        """The weights are others than before: what chats have cached of them is stale."""
        self._stale = True

    def serve(self, timeout: float = 0.0) -> None:
        """Let others have the model, waiting for them at most `timeout` seconds."""
        self._serve(self._as_others_see, timeout)

    def answer(self, prompt: str, *, adapter: bool) -> str:
        """Return the model's greedy answer to `prompt`, of the adapter that is trained or the base alone."""
        engine = self._parts.engine
        asked = (Message("user", prompt),) if engine.has_chat_template else prompt
        request = Request(
            asked,
            Sampling(temperature=0, max_tokens=self._sample_tokens),
            alternatives=0,
            adapter=self._wanted(adapter),
            purpose="a sample answer",
        )
        with self._as_others_see():
            return "".join(event.text for event in engine.answer_here(request, self._stopped))

    def _wanted(self, adapter: bool) -> str | None:
        if not self._adapter:
            return None
        return self._adapter if adapter else NO_ADAPTER

    @contextlib.contextmanager
    def _as_others_see(self) -> Iterator[None]:
        if self._stale:
            self._parts.engine.raise_state()
            self._stale = False
        with random_states_kept(), self._parts.adapters.as_chats_see(), self._no_gradients():
            yield

    @contextlib.contextmanager
    def _no_gradients(self) -> Iterator[None]:
        """Keep those who look inside from adding to gradients of weights that are trained themselves."""
        trained = [each for each in self._parts.module.parameters() if each.requires_grad]
        for each in trained:
            each.requires_grad_(False)
        try:
            yield
        finally:
            for each in trained:
                each.requires_grad_(True)
