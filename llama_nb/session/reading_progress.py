"""Says how far a long reading is, and in the end that it is over, however it ended."""

from collections.abc import Callable
from typing import Final

from llama_nb.core.events import Progress, publisher

LONG: Final = 512  # tokens from which on it is said how far a reading is

OnProgress = Callable[[int, int], None]


class ReadingProgress:
    """The progress of one reading, which the block around it ends.

    Parameters
    ----------
    what
        What is done: "reading the attention".
    tokens
        How many are read; of a few nothing is said.
    on_progress
        Is told in any case, how many are read, of how many.
    """

    def __init__(self, what: str, tokens: int, on_progress: OnProgress | None = None) -> None:
        self._what, self._shown, self._on_progress = what, tokens >= LONG, on_progress
        self._publish = publisher()
        self._last = (0, tokens)

    def told(self, done: int, total: int) -> None:
        """Say that so many tokens are read."""
        self._last = (done, total)
        if self._shown:
            self._publish(Progress(self._what, *self._last, "tokens"))
        if self._on_progress is not None:
            self._on_progress(done, total)

    def __enter__(self) -> None:
        """Say that it begins: the time it takes counts from here."""
        if self._shown:
            self._publish(Progress(self._what, *self._last, "tokens"))

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._publish(Progress(self._what, *self._last, "tokens", ended=True))
