"""What whoever executes a run says to the other processes that train it; most runs have none.

A run is executed by one process, which reads and writes its folder. Where several train it, this one leads:
it has the others begin where it begins, and hear the same orders. Knows no torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llama_nb.tuning.process import Process, this_process

if TYPE_CHECKING:
    from llama_nb.tuning.folder_observer import Stage
    from llama_nb.tuning.loop import Observer, Setup


class Team(Protocol):
    """The processes that train one run, as the first of them sees them."""

    @property
    def process(self) -> Process:
        """Who is at work, for the run's state: alive as long as the run may go on."""

    def stage(self, stage: "Stage") -> "Stage":
        """Return where the training happens, given where it would happen alone."""

    def share(self, setup: "Setup", start: Path | None) -> "Setup":
        """Have all begin from the checkpoint `start`; return this process's part of the work."""

    def watch(self, observer: "Observer") -> "Observer":
        """Return an observer through which all hear what this one hears."""

    def over(self) -> None:
        """Nothing more is trained: the others may end."""

    def final(self, error: Exception) -> bool:
        """Return whether `error` is the end of the run; else the launcher starts all processes again."""


class Alone:
    """A run that one process trains."""

    @property
    def process(self) -> Process:
        """This process."""
        return this_process()

    def stage(self, stage: "Stage") -> "Stage":
        """Return it."""
        return stage

    def share(self, setup: "Setup", start: Path | None) -> "Setup":  # noqa: ARG002 - nobody else begins
        """Return all of the work."""
        return setup

    def watch(self, observer: "Observer") -> "Observer":
        """Return it."""
        return observer

    def over(self) -> None:
        """Nobody waits."""

    def final(self, error: Exception) -> bool:  # noqa: ARG002 - nobody starts this process again
        """Every error is."""
        return True
