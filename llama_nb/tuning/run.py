"""A training run as a user holds it: what its folder says, and orders to whoever executes it.

Works on any run folder, of this process or another, going on or over. Knows no torch; how a run is executed
is `execute`'s business, and where is `starting`'s.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from llama_nb.core.errors import TrainingError
from llama_nb.core.events import Note, publish
from llama_nb.runtime.environment import detect
from llama_nb.tuning import kernel_job
from llama_nb.tuning.control import Orders, append_order, check_order
from llama_nb.tuning.json_lines import Record
from llama_nb.tuning.run_folder import Base, RunFolder, find_folder, folders
from llama_nb.tuning.run_status import RunStatus, look

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.tuning.recipe import Recipe
    from llama_nb.tuning.starting import Parts

_POLL_S: Final = 0.05
_RARELY_S: Final = 0.5
_OBEY_S: Final = 60.0  # the longest that one micro-batch on a slow machine keeps an order waiting


class Run:
    """A training run, which is a folder.

    Parameters
    ----------
    folder
        The folder, or its path.
    said
        What became of the wish that led here: "goes on from step 40", "is running already".

    Attributes
    ----------
    name
        What `%llama train pause NAME` calls it.
    """

    def __init__(self, folder: RunFolder | Path, *, said: str = "") -> None:
        self._folder = folder if isinstance(folder, RunFolder) else RunFolder(Path(folder))
        self.name = self._folder.name
        self.said = said

    # --- what it is ---------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Where everything of it stands."""
        return self._folder.path

    @property
    def files(self) -> RunFolder:
        """The folder with the names of its files."""
        return self._folder

    @property
    def recipe(self) -> "Recipe":
        """What was asked for."""
        return self._folder.recipe

    @property
    def base(self) -> Base:
        """The model that it trains."""
        return self._folder.base

    @property
    def status(self) -> RunStatus:
        """How far it is, now."""
        return look(self.name, self._folder.state(), self._folder.metrics(), self._folder.plan)

    @property
    def state(self) -> str:
        """Its state in a word, as `status.state`, without reading the measurements."""
        return self._folder.state().state

    @property
    def over(self) -> bool:
        """Whether nothing happens in it any more, unless somebody resumes it."""
        return not self._folder.state().at_work

    @property
    def adapter(self) -> Path | None:
        """The folder of the finished adapter, in peft's format; None before there is one."""
        found = self._folder.adapter
        return found if found.is_dir() else None

    def metrics(self) -> list[Record]:
        """Return what was measured, a record a step and one a validation."""
        return self._folder.metrics()

    def to_frame(self) -> "pd.DataFrame":
        """Return what was measured as a DataFrame, one row a step, validation losses beside."""
        import pandas as pd

        rows: dict[int, Record] = {}
        for record in self._folder.metrics():
            step = record.get("step")
            if isinstance(step, int):
                rows.setdefault(step, {}).update(record)
        columns = ["step", "loss", "validation_loss", "lr", "gradient_norm", "tokens", "trained_tokens"]
        frame = pd.DataFrame([rows[step] for step in sorted(rows)])
        rest = [name for name in frame.columns if name not in columns]
        return frame.reindex(columns=[*columns, *rest]).set_index("step")

    def samples(self) -> list[Record]:
        """Return the answers to the fixed prompts: step, prompt, text, and whether the adapter was on."""
        return self._folder.samples()

    # --- orders -------------------------------------------------------------------------------------------

    def pause(self, reason: str = "") -> Self:
        """Have it wait after the micro-batch that is computed now; the model stays free for chats."""
        return self._order("pause", reason=reason)

    def resume(
        self, parts: "Parts | None" = None, *, process: bool | None = None, lr: float | None = None
    ) -> Self:
        """Go on: at once if it is paused, else from its last whole checkpoint.

        Parameters
        ----------
        parts
            The loaded model that it trains, for a run that is not at work; a run that a process executed gets
            a process again and needs none.
        process
            Whether a process of its own executes it; default: as before.
        lr
            Another peak learning rate from now on.

        Raises
        ------
        TrainingError
            If it is finished, or nothing is there that it could go on with.
        """
        if lr is not None:
            check_order("lr", lr)
        if not self.over:
            if lr is not None:
                self.set_lr(lr)
            return self._order("resume")
        from llama_nb.tuning.starting import resume

        self.said = resume(self, parts, process=process).said
        return self if lr is None else self.set_lr(lr)

    def stop(self, reason: str = "", *, wait: bool = True) -> Self:
        """Stop with a checkpoint, from which `resume` goes on exactly; waits until it is written."""
        self._order("stop", reason=reason)
        kernel_job.withdraw(self._folder)
        deadline = time.monotonic() + _OBEY_S
        while wait and not self.over and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return self

    def save_now(self) -> Self:
        """Write a checkpoint at the next step; the run goes on."""
        return self._order("save")

    def set_lr(self, value: float) -> Self:
        """Change the peak learning rate from the next step on; the schedule's shape stays."""
        return self._order("lr", value)

    def _order(self, kind: str, value: object = None, reason: str = "") -> Self:
        state = self._folder.state()
        if not state.at_work:
            lr = f" --lr {value:g}" if isinstance(value, int | float) else ""
            raise TrainingError(
                f"The run {self.name} is {state.state}; it takes no orders.",
                "" if state.state == "finished" else f"Go on with it: %llama train --resume {self.name}{lr}",
            )
        append_order(self.folder, kind, value, reason)
        return self

    # --- waiting ------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None, *, look: Callable[[], None] = lambda: None) -> Self:
        """Wait until it is over, or paused by a guard, or `timeout` seconds have passed.

        An interrupt ends the waiting where somebody watches; the run goes on. Where nobody does, it stops the
        run with a checkpoint.

        Parameters
        ----------
        look
            Called again and again meanwhile.

        Raises
        ------
        TrainingError
            If it failed, or whoever executed it died; or a guard paused it where nobody watches, so that
            nobody would resume it: then it is stopped.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        began = time.monotonic()
        try:
            while self._going_on():
                if deadline is not None and time.monotonic() >= deadline:
                    return self
                look()
                # Short runs are noticed at once, long ones do not wake a core all the time.
                time.sleep(min(_RARELY_S, _POLL_S + (time.monotonic() - began) / 20))
        except KeyboardInterrupt:
            if not detect().watched:
                self.stop("interrupted")
                raise
            publish(
                Note(f"{self.name} goes on in the background; stop it with %llama train stop {self.name}.")
            )
            return self
        state = self._folder.state()
        if state.state == "paused" and state.hint and not detect().watched:
            self.stop(state.reason)
            raise TrainingError(state.reason, state.hint)
        return self.check()

    def _going_on(self) -> bool:
        """Whether it computes, or is about to: it may not have obeyed yet who resumed it."""
        state = self._folder.state()
        if state.state == "paused":
            return any(order.kind == "resume" for order in Orders(self.folder, state.orders_read).new())
        return state.state in ("waiting", "running")

    def check(self) -> Self:
        """Raise TrainingError if it failed or was interrupted; else return the run."""
        state = self._folder.state()
        if state.state == "failed":
            raise TrainingError(state.error or f"The run {self.name} failed.", state.hint)
        if state.state == "interrupted":
            raise TrainingError(
                f"The run {self.name} was interrupted at step {state.step:,} of {state.steps:,}: "
                "the process that executed it is gone.",
                f"Go on with it: %llama train --resume {self.name}",
            )
        return self

    def __repr__(self) -> str:
        return f"Run({self.status})"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        from llama_nb.tuning.run_reading import bundle

        return bundle(self._folder, watched=detect().watched)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.folder.absolute() == self.folder.absolute()

    def __hash__(self) -> int:
        return hash(self.folder.absolute())


def open_run(run: str | Path, root: Path | None = None) -> Run:
    """Return a run by its path, or by its name under `root` (default: ./runs).

    Raises
    ------
    TrainingError
        If there is none; the hint has the nearest name.
    """
    return Run(find_folder(run, root))


def list_runs(root: Path | None = None) -> list[Run]:
    """Return the runs under `root` (default: ./runs), the newest first."""
    return [Run(folder) for folder in folders(root)]
