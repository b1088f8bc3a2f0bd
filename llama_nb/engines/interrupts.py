"""Turns the interrupt key into a note while the main thread waits for an engine.

A KeyboardInterrupt can strike between any two bytecodes and lose the token in hand. So while a stream is
open our SIGINT handler takes a note when the waiting code is running; any other code, of a user or of the
layers above, keeps the handler that it had.
"""

import signal
import threading
import time
from types import FrameType
from typing import Any, Final

_WAITING: Final = "llama_nb.engines.worker"
_PATIENCE_S: Final = 5.0  # after this long and three interrupts the work is taken to hang


class Note:
    """How often the user interrupted; written by the signal handler, read by whoever waits."""

    __slots__ = ("count", "first")

    def __init__(self) -> None:
        self.count = 0
        self.first = 0.0


_notes: list[Note] = []
_previous: Any = None


def _handle(number: int, frame: FrameType | None) -> None:
    # Assignments only: a lock could be held by the very code that was interrupted.
    if _notes and _waiting(frame):
        note = _notes[-1]
        now = time.monotonic()
        if note.count == 0:
            note.first = now
        note.count += 1
        if note.count < 3 or now - note.first < _PATIENCE_S:
            return
    if callable(_previous):
        _previous(number, frame)


def _waiting(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") == _WAITING:
            return True
        frame = frame.f_back
    return False


def hold(note: Note) -> None:
    """Take interrupts of the main thread as notes from now on; does nothing in another thread."""
    global _previous
    if threading.current_thread() is not threading.main_thread():
        return
    current = signal.getsignal(signal.SIGINT)
    if current is not _handle:  # not yet, or another one was put in place since
        if not callable(current):
            return  # interrupts are off, or not Python's to handle
        _previous = current
        signal.signal(signal.SIGINT, _handle)
    if note in _notes:
        if _notes[-1] is note:
            return
        _notes.remove(note)
    _notes.append(note)


def release(note: Note) -> None:
    """End `hold`; the former handler comes back when nothing is held any more."""
    if note in _notes:
        _notes.remove(note)
    if _notes or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is _handle:
        signal.signal(signal.SIGINT, _previous)
