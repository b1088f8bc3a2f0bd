"""Executes a run in a process of its own: `python -m llama_nb.tuning.child RUN`.

The process leads a session of its own, so neither an interrupt nor the end of the kernel that started it
reaches it. It knows nothing but the run's folder; SIGTERM has it stop with a checkpoint.
"""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from llama_nb.core.errors import LlamaError, TrainingError
from llama_nb.tuning.process import this_process
from llama_nb.tuning.run_folder import RunFolder, RunState

if TYPE_CHECKING:
    from llama_nb.engines.worker import Background

_LAST_LINES: Final = 3
_WAIT_S: Final = 0.5


def spawn(
    folder: RunFolder, command: Sequence[str] | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that executes the run in `folder`, whose state is "waiting", and return it.

    Parameters
    ----------
    command
        What to start; by default this module.
    environment
        Its variables; by default ours.

    Raises
    ------
    TrainingError
        If it cannot be started.
    """
    path, waiting = folder.path.absolute(), folder.state()
    run = list(command or (sys.executable, "-m", "llama_nb.tuning.child", str(path)))
    try:
        with folder.log_file.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - this interpreter, and a module of ours
                run,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment,
            )
    except OSError as error:
        raise TrainingError(
            f"The process of the run {folder.name} cannot be started: {error.strerror or error}.",
            "Train in the kernel instead: leave --process out.",
        ) from error
    threading.Thread(
        target=_see_off, args=(folder, process, waiting), name=f"llama-nb child of {folder.name}", daemon=True
    ).start()
    return process


def _see_off(folder: RunFolder, process: subprocess.Popen[bytes], waiting: RunState) -> None:
    """Wait for the end of a process; where it died before it took the run over, say so for it."""
    code = process.wait()
    state = folder.state()
    if state == waiting:
        lines = [line for line in folder.log_file.read_text("utf-8", "replace").splitlines() if line.strip()]
        said = f": {' / '.join(lines[-_LAST_LINES:])[:600]}" if lines else ""
        message = f"The process of the run ended with code {code} before it began{said}"
        with contextlib.suppress(OSError):
            folder.write_state(dataclasses.replace(state, state="failed", error=message))


def main(arguments: Sequence[str]) -> int:
    """Execute the run whose folder is named; return the exit code, 0 if it is finished or stopped."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m llama_nb.tuning.child RUN\n")
        return 2
    folder = RunFolder(Path(arguments[0]))
    stopping: list[str] = []
    background: list[Background[str]] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stopping.append(f"by {signal.Signals(number).name}")
        for job in background:
            job.job.stop.set(stopping[0])  # a lock could be held by the code that the signal interrupted

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    state = dataclasses.replace(folder.state(), process=this_process())
    folder.write_state(state)
    try:
        from llama_nb.tuning.kernel_job import begin
        from llama_nb.tuning.parts import load_parts

        parts = load_parts(folder.base)
        background.append(begin(folder, parts))
        if stopping:
            background[0].stop(stopping[0])
        while not background[0].wait(_WAIT_S):
            pass
    except LlamaError as error:
        return _fail(folder, state, error)
    return 0 if background[0].error is None else 1


def _fail(folder: RunFolder, state: RunState, error: LlamaError) -> int:
    folder.write_state(dataclasses.replace(state, state="failed", error=error.message, hint=error.hint))
    return 1


if __name__ == "__main__":
    # As a worker's thread computes, no thread should spin while it waits for others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main(sys.argv[1:]))
