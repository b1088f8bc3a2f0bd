"""What a change of a model does, as a widget shows it: computed when the changes rest, the newest only.

Knows records of what is shown; what is changed, and how the effect is computed, is its owner's business.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

from llama_nb.core.errors import LlamaError, Stopped
from llama_nb.core.stop import StopFlag
from llama_nb.session.latest import Latest

AFTER_S: Final = 0.3  # of rest, so that a row of switches is one computation

Shown = dict[str, Any]
Guard = Callable[[Callable[..., Any]], Callable[..., None]]
Compute = Callable[[StopFlag, Callable[[str], None]], Shown]
"""Returns what is shown of an effect; the second argument takes its text as it grows."""


class NewestEffect:
    """What is shown of the newest change, while it is computed and then.

    Parameters
    ----------
    name
        Of the thread.
    show
        Takes the whole record, on any thread.
    guard
        Wraps what runs in a thread, so that an exception is shown.
    """

    def __init__(self, name: str, show: Callable[[Shown], None], guard: Guard) -> None:
        self._show, self._guard = show, guard
        self._lock = threading.RLock()
        self._shown: Shown = {}
        self._job = Latest(name)

    def begin(self, changes: Shown, compute: Compute) -> None:
        """Show `changes` beside what was found before, and compute what they do."""
        self._job.stop()
        self._change({**changes, "running": True, "error": ""})
        self._job.put(self._guard(lambda flag: self._compute(compute, flag)), AFTER_S)

    def clear(self) -> None:
        """Show nothing: nothing is changed any more."""
        self._job.stop()
        with self._lock:
            self._shown = {}
            self._show({})

    def cancel(self) -> None:
        """End the computation; what it had found stays."""
        self._job.stop()
        with self._lock:
            if self._shown.get("running"):
                self._change({"running": False})

    def stop(self) -> None:
        """End the computation and show nothing of it."""
        self._job.stop()

    def join(self, timeout: float | None = None) -> None:
        """Wait until what was begun is shown."""
        self._job.join(timeout)

    def _compute(self, compute: Compute, flag: StopFlag) -> None:
        def found(change: Shown) -> None:
            with self._lock:
                if not flag.is_set():
                    self._change(change)

        try:
            found({**compute(flag, lambda text: found({"text_after": text})), "running": False})
        except Stopped:
            found({"running": False})
        except LlamaError as failure:
            found({"running": False, "error": str(failure)})

    def _change(self, change: Shown) -> None:
        with self._lock:
            self._shown = {**self._shown, **change}
            self._show(self._shown)
