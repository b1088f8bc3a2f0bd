"""The explorer's switches: which parts of the model are off, and what that does, computed when they rest.

Knows what a page shows of it; how a part is turned off, and what comes of it, is the session's business.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

from llama_nb.core.errors import LlamaError, Stopped
from llama_nb.core.stop import StopFlag
from llama_nb.session.explorer import Explorer
from llama_nb.session.explorer_effect import Part, names_of, turned_off
from llama_nb.session.latest import Latest

AFTER_S: Final = 0.3  # of rest, so that a row of switches is one computation

Guard = Callable[[Callable[..., Any]], Callable[..., None]]


class Switches:
    """What is off, and the newest computation of its effect.

    Parameters
    ----------
    show
        Takes an `AttentionEffect` as the page shows it, on any thread.
    guard
        Wraps what runs in a thread, so that an exception is shown.
    """

    def __init__(self, explorer: Explorer, show: Callable[[dict[str, Any]], None], guard: Guard) -> None:
        self._explorer, self._show, self._guard = explorer, show, guard
        self._lock = threading.RLock()
        self._shown: dict[str, Any] = {}
        self.job = Latest("attention effect")
        self.off: tuple[Part, ...] = ()
        self.mode = "zero"

    def set(self, parts: tuple[Part, ...], mode: str) -> None:
        """Turn these parts off, and all others on."""
        self.job.stop()
        with self._lock:
            self.off, self.mode = parts, mode
            if parts:
                self._change({"off": names_of(parts), "running": True, "error": ""})
            else:
                self._shown = {}
                self._show({})
        if parts:
            self.job.put(self._guard(lambda flag: self._compute(parts, mode, flag)), AFTER_S)

    def again(self) -> None:
        """Compute the effect again: at another token, or after an end that somebody asked for."""
        if self.off:
            self.set(self.off, self.mode)

    def cancel(self) -> None:
        """End the computation; what it had found stays."""
        self.job.stop()
        with self._lock:
            if self._shown.get("running"):
                self._change({"running": False})

    def _compute(self, parts: tuple[Part, ...], mode: str, flag: StopFlag) -> None:
        def found(change: dict[str, Any]) -> None:
            with self._lock:
                if not flag.is_set():
                    self._change(change)

        try:
            effect = turned_off(self._explorer, parts, mode, flag, lambda text: found({"text_after": text}))
            found({**effect, "running": False})
        except Stopped:
            found({"running": False})
        except LlamaError as failure:
            found({"running": False, "error": str(failure)})

    def _change(self, change: dict[str, Any]) -> None:
        self._shown = {**self._shown, **change}
        self._show(self._shown)
