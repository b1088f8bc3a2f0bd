"""The one flag that stops a generation, whoever sets it: an interrupt, a button, a timer."""

import threading


class StopFlag:
    """Set once, from any thread; read by the engine after each token, prefill chunk or network read."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""

    def set(self, reason: str = "stopped") -> None:
        """Ask for the stop; the first reason given is kept."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    def is_set(self) -> bool:
        """Whether somebody asked for the stop."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep until the stop is asked for, at most `seconds`; return whether it was."""
        return self._event.wait(seconds)
