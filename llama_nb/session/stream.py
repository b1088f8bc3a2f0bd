"""The iterator that `Model.stream` returns: tokens as the caller pulls them, and the Reply they fill."""

import weakref
from collections.abc import Generator, Iterator
from typing import Self

from llama_nb.core.events import TokenEvent
from llama_nb.session.generation import Generation
from llama_nb.session.reply import Reply


class TokenStream(Iterator[TokenEvent]):
    """Yields the tokens of a reply. Left early or closed, it stops the model and keeps what was pulled.

    Nothing is sent before the first token is asked for.

    Attributes
    ----------
    reply
        The Reply that grows with each token.
    """

    def __init__(self, generation: Generation) -> None:
        self.reply: Reply = generation.reply
        self.reply.pulled = True
        self._events: Generator[TokenEvent] = generation.events()
        self.reply.set_stream(weakref.WeakMethod(self.close))

    def __next__(self) -> TokenEvent:
        return next(self._events)

    def close(self) -> None:
        """Stop the reply; harmless when it is done."""
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"TokenStream({self.reply!r})"
