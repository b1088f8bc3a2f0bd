"""Limits and memory of other processes: a child that is stopped in time, a browser's pages. Linux only."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.attention_child import MARK

ROOT: Final = Path(__file__).resolve().parents[1]
MOST_S: Final = 100
MOST_BYTES: Final = 10**9
MOST_MEMORY: Final = 10 * 10**9  # of a peer's kernel
_EVERY_S: Final = 0.05


class NotFinished(Exception):
    """A peer went beyond a limit; its text says which."""


def resident_of(pid: int) -> int:
    """Return the bytes of a process that are in memory, 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def renderers(browser: Any) -> list[int]:
    """Return the processes of Chromium that run pages."""
    session = browser.new_browser_cdp_session()
    try:
        found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    finally:
        session.detach()
    return [int(process["id"]) for process in found if process["type"] == "renderer"]


class Memory:
    """How much the memory of some processes grew at most while a block ran: `grown`, in bytes."""

    def __init__(self, find: Callable[[], Iterable[int]]) -> None:
        self._find = find
        self._stop = threading.Event()
        self._peak = self._before = 0

    @property
    def grown(self) -> int:
        """The most there was, less what there was before."""
        return self._peak - self._before

    def kill(self) -> None:
        """End these processes now."""
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        self._pids = list(self._find())
        self._before = self._peak = self._now()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _now(self) -> int:
        return sum(resident_of(pid) for pid in self._pids)

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._peak = max(self._peak, self._now())


def run_child(
    case: dict[str, Any],
    seconds: float = MOST_S,
    memory: int = MOST_MEMORY,
    slack_s: float = 60,
    module: str = "benchmarks.attention_child",
) -> dict[str, Any]:
    """Do a piece of work of `module` in a fresh process; `slack_s` is for its imports and weights.

    Raises
    ------
    NotFinished
        If it takes more time or memory than it may.
    """
    command = [sys.executable, "-m", module, json.dumps(case)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as child:
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(child.stdout or ()), daemon=True)
        reader.start()
        deadline = time.monotonic() + seconds + slack_s
        while child.poll() is None:
            over = resident_of(child.pid) > memory
            if over or time.monotonic() > deadline:
                child.kill()
                raise NotFinished(f"{memory / 1e9:.0f} GB in the kernel" if over else f"{seconds:.0f} s")
            time.sleep(_EVERY_S)
        reader.join()
    for line in said:
        if line.startswith(MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return found
    raise RuntimeError(f"{case} ended with status {child.returncode}")
