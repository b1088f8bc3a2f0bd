"""The one flag that stops a generation, whoever sets it: an interrupt, a button, a timer."""

import contextlib
import queue


class StopFlag:
    """Set once, from any thread; read by the engine after each token, prefill chunk or network read.

    It holds no lock, so that a signal handler may set it whatever code it interrupts.
    """

    def __init__(self) -> None:
        self._set = False
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.reason = ""

    def set(self, reason: str = "stopped") -> None:
        """Ask for the stop; the first reason given is kept."""
        if not self._set:
            self.reason = reason
            self._set = True
            self._wake.put(None)

    def is_set(self) -> bool:
        """Whether somebody asked for the stop."""
        return self._set

    def wait(self, seconds: float) -> bool:
        """Sleep until the stop is asked for, at most `seconds`; return whether it was."""
        if not self._set:
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=max(0.0, seconds))
                self._wake.put(None)  # for the next one who waits
        return self._set
