"""Executes a run on the worker of a loaded model, among the jobs of those who chat with it."""

import contextlib
import dataclasses
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.tuning.run_folder import RunFolder

if TYPE_CHECKING:
    from llama_nb.engines.worker import Background, Serve
    from llama_nb.tuning.parts import Parts

_HINT: Final = "Training needs its extra: pip install 'llama-nb[train]'"

_jobs: "weakref.WeakValueDictionary[Path, Background[str]]" = weakref.WeakValueDictionary()


def begin(folder: RunFolder, parts: "Parts") -> "Background[str]":
    """Queue the run in `folder`, whose state is "waiting", on the model's worker, and return at once."""

    def work(_module: Any, stopped: Callable[[], str | None], serve: "Serve") -> str:
        # Imported here: peft takes seconds, and the cell that starts a run need not wait for it.
        try:
            from llama_nb.tuning.execute import execute
        except ImportError as error:
            failed = dataclasses.replace(folder.state(), state="failed", error=str(error), hint=_HINT)
            folder.write_state(failed)
            raise

        return execute(folder, parts, stopped=stopped, serve=serve)

    def detail() -> str:
        state = folder.state()
        return f"step {state.step:,} of {state.steps:,}" if state.steps else state.state

    def given_up() -> None:
        with contextlib.suppress(OSError):
            stopped = dataclasses.replace(folder.state(), state="stopped", reason="stopped before it began")
            folder.write_state(stopped)

    purpose = f"the training of {folder.name}"
    background = parts.engine.begin(work, purpose, detail=detail, given_up=given_up)
    _jobs[folder.path.absolute()] = background
    return background


def withdraw(folder: RunFolder) -> None:
    """Take the run out of the queue of this process, if it waits there: it could not read its orders."""
    background = _jobs.get(folder.path.absolute())
    if background is not None and not background.job.started:
        background.stop()
