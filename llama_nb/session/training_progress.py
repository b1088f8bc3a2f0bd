"""Waiting for a training run, and telling how far it is, for those who see no panel."""

from typing import TYPE_CHECKING

from llama_nb.core.events import Note, Progress, publish
from llama_nb.render.training import duration
from llama_nb.render.units import size
from llama_nb.tuning.run_status import RunStatus

if TYPE_CHECKING:
    from llama_nb.tuning.run import Run


def follow(run: "Run") -> "Run":
    """Wait until `run` is over, or paused, and return it; its steps are published on the way.

    Raises
    ------
    TrainingError
        If it failed, or whoever executed it died.
    """
    told = _Told(run)
    try:
        return run.wait(look=told.tell)
    finally:
        told.end()


class _Told:
    """What was published of a run so far."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._planned = False
        self._step = -1

    def tell(self) -> None:
        """Publish what is new."""
        status = self._run.status
        if not self._planned and (status.planned_memory or status.planned_s):
            self._planned = True
            publish(Note(plan_sentence(status)))
        if status.steps and status.step != self._step:
            self._step = status.step
            publish(_progress(status))

    def end(self) -> None:
        """Publish the last word."""
        status = self._run.status
        if self._step >= 0:
            publish(_progress(status, ended=True))


def plan_sentence(status: RunStatus) -> str:
    """Return what a run is going to take."""
    parts = [] if status.planned_memory is None else [f"about {size(status.planned_memory)} of memory"]
    parts += [] if status.planned_s is None else [f"about {duration(status.planned_s)}"]
    return f"{status.name}: {status.steps:,} steps take {' and '.join(parts)}."


def _progress(status: RunStatus, *, ended: bool = False) -> Progress:
    said = [] if status.loss is None else [f"loss {status.loss:.2f}"]
    said += [] if status.validation is None else [f"validation {status.validation:.2f}"]
    said += [status.serving] if status.serving else []
    return Progress(
        f"Training {status.name}", status.step, status.steps, "steps", ended=ended, detail=", ".join(said)
    )
