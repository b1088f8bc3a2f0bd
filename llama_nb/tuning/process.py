"""Which process works on a run, and whether it still lives.

A process is told by its machine, its number and when it was born, since numbers are used again. Of another
machine nothing is known but when it was last heard of.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from llama_nb.core.errors import TrainingError

BEAT_S: Final = 5.0  # how often a working process says that it lives
SILENT_S: Final = 60.0  # so long without a word, and a process of another machine counts as dead
_CLAIM_S: Final = 3.0  # a claim of somebody who only starts and fails is over by then
LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Process:
    """One process of one machine."""

    host: str
    pid: int
    born: float

    def lives(self, heard: float) -> bool:
        """Return whether it lives; `heard` is when it last wrote, in seconds of the epoch."""
        if self.host != socket.gethostname():
            return time.time() - heard < SILENT_S
        try:
            found = psutil.Process(self.pid)
            # Some containers give the time of birth in whole seconds.
            return found.status() != psutil.STATUS_ZOMBIE and abs(found.create_time() - self.born) < 2
        except psutil.Error:
            return False


def this_process() -> Process:
    """Return the process that asks."""
    return process_of(os.getpid())


def process_of(pid: int) -> Process:
    """Return the process with the number `pid` on this machine; born at 0 if there is none any more."""
    try:
        born = psutil.Process(pid).create_time()
    except psutil.Error:
        born = 0.0
    return Process(socket.gethostname(), pid, born)


@contextlib.contextmanager
def claimed(folder: Path, name: str) -> Iterator[None]:
    """Hold a run folder for one process; what is held is free again when the process ends, however it does.

    Raises
    ------
    TrainingError
        If another process, or another thread of this one, holds it.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _lock(handle):
            raise TrainingError(
                f"The run {name} is executed by another process.",
                f"Wait for it, or stop it: %llama train stop {name}",
            )
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock the open file; true where files cannot be locked, as on some network drives."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    until = time.monotonic() + _CLAIM_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        except OSError:
            return True
        else:
            return True
