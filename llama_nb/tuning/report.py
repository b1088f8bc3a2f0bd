"""Keeps a run's `state.json` true while the run is executed: how far it is, and that somebody is at it.

Changes are written at once, steps at most four times a second, and a word every few seconds by a thread of
its own, since a long chat or a large checkpoint says nothing itself.
"""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from llama_nb.tuning.process import BEAT_S
from llama_nb.tuning.run_folder import RunFolder, RunState

_STEPS_S: Final = 0.25
_LOOK_S: Final = 0.25  # how soon it is seen that somebody is served
_MOST_NOTES: Final = 40


class Report:
    """Writes the state of one run, from any thread, as long as the block lasts.

    Parameters
    ----------
    folder
        The run.
    state
        What is true at the beginning.
    served
        Says what the model does for others now; None while it trains.
    """

    def __init__(
        self, folder: RunFolder, state: RunState, served: Callable[[], str | None] = lambda: None
    ) -> None:
        self._folder = folder
        self._state = state
        self._served = served
        self._lock = threading.Lock()
        self._written = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._beat, name=f"llama-nb report of {folder.name}", daemon=True
        )

    @property
    def state(self) -> RunState:
        """What is true now."""
        return self._state

    def __enter__(self) -> Self:
        self.change()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def change(self, **changes: Any) -> None:
        """Change fields of the state and write it; raises OSError if that fails."""
        with self._lock:
            self._state = dataclasses.replace(self._state, **changes)
            self._write()

    def step(self, step: int) -> None:
        """Say that a step is done; what comes too often is written with the next one."""
        with self._lock:
            self._state = dataclasses.replace(self._state, step=step)
            if time.monotonic() - self._written >= _STEPS_S:
                self._write()

    def note(self, *sentences: str) -> None:
        """Add sentences that are worth knowing, each once."""
        new = [each for each in sentences if each not in self._state.notes]
        if new:
            self.change(notes=(*self._state.notes, *new)[-_MOST_NOTES:])

    def _write(self) -> None:
        self._folder.write_state(self._state)
        self._written = time.monotonic()

    def _beat(self) -> None:
        while not self._ended.wait(_LOOK_S):
            serving = self._served() or ""
            with self._lock, contextlib.suppress(OSError):
                if serving != self._state.serving or time.monotonic() - self._written >= BEAT_S:
                    self._state = dataclasses.replace(self._state, serving=serving)
                    self._write()
