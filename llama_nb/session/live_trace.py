"""A reply that is watched while it is written: its prompt is captured, then a trace grows a row a token.

Knows replies and engines; what is captured, and how that grows, its kinds know.
"""

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from llama_nb.core.errors import Stopped
from llama_nb.session.generation import Generation
from llama_nb.session.reply import Reply

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine

USUAL: Final = 1024  # tokens that a reply without a bound is taken to have, where memory is looked at
_TIDY_S: Final = 10.0

T = TypeVar("T")


class Watching(ABC, Generic[T]):
    """Watches one reply on its way, which `generation` makes.

    Attributes
    ----------
    trace
        What was seen so far; None until the prompt was captured.
    error
        What `on_rows` raised: it was not called again, and the reply went on.
    """

    def __init__(self, engine: "Engine", generation: Generation, on_rows: Callable[[T], None]) -> None:
        self.engine, self._on_rows = engine, on_rows
        self.reply: Reply = generation.reply
        self.trace: T | None = None
        self.error: Exception | None = None
        self._left = threading.Event()
        self._left.set()
        generation.watch = self._watch

    @abstractmethod
    def begin(self, module: Any, ids: tuple[int, ...]) -> T:
        """Capture the prompt; on the model's worker."""

    @abstractmethod
    def grow(
        self, module: Any, trace: T, told: Callable[[], None]
    ) -> "contextlib.AbstractContextManager[None]":
        """Add the rows of what follows, inside the block; `told` is called after each."""

    @property
    def title(self) -> str:
        """What is read."""
        return f"reply in chat {self.reply.chat}" if self.reply.chat else "reply"

    def stopped(self) -> str | None:
        """Return why the reply was stopped, if it was."""
        flag = self.reply.stop_flag
        return (flag.reason or "stopped") if flag.is_set() else None

    def described(self, ids: Sequence[int]) -> tuple[list[str], list[bool]]:
        """Return what tokens show as, and which are control tokens."""
        return self.engine.token_texts(ids), [self.engine.is_special(token) for token in ids]

    def result(self) -> T:
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

    @contextlib.contextmanager
    def _watch(self, module: Any) -> Iterator[None]:
        """Watch one run; on the model's worker."""
        self._left.clear()
        try:
            assert self.reply.request is not None
            trace = self.trace = self.begin(module, self.engine.prompt(self.reply.request).ids)
            self._tell()
            with self.grow(module, trace, self._tell):
                yield
        finally:
            self._left.set()

    def _tell(self) -> None:
        if self.error is not None or self.trace is None:
            return
        try:
            self._on_rows(self.trace)
        except Exception as error:  # noqa: BLE001 - whatever a viewer does wrong, the reply goes on
            self.error = error
