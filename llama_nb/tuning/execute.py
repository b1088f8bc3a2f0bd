"""Executes a run: the one body of every executor, on the thread that owns the model.

Reads what is to be done from the run's folder and writes what happens into it. Knows neither kernels nor
processes: who calls it says when to stop, and how others are served in between.
"""

import contextlib
import dataclasses
import shutil
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import LlamaError, TrainingError
from llama_nb.render.units import number
from llama_nb.tuning import checkpoint
from llama_nb.tuning.adapter_file import save_adapter
from llama_nb.tuning.folder_observer import FolderObserver, Kept
from llama_nb.tuning.forecast import forecast
from llama_nb.tuning.loop import Outcome, Setup, train
from llama_nb.tuning.model_file import save_model
from llama_nb.tuning.preparing import Prepared, prepare
from llama_nb.tuning.process import claimed
from llama_nb.tuning.random_state import random_states_kept
from llama_nb.tuning.report import Report
from llama_nb.tuning.run_folder import RunFolder
from llama_nb.tuning.stage import WorkerStage
from llama_nb.tuning.team import Alone, Team

if TYPE_CHECKING:
    from llama_nb.engines.worker import Serve
    from llama_nb.tuning.checkpoint import Checkpoint
    from llama_nb.tuning.parts import Parts

_TRAINED: Final = "_llama_nb_trained"  # on a module whose own weights a run changes: that run's folder


def execute(
    folder: RunFolder,
    parts: "Parts",
    *,
    stopped: Callable[[], str | None],
    serve: "Serve",
    team: Team | None = None,
) -> str:
    """Train until the run is finished or stopped, and return which; its folder says everything else.

    Parameters
    ----------
    folder
        The run, whose state is "waiting".
    parts
        Its base in memory.
    stopped
        Why to stop, None to go on.
    serve
        Lets others have the model.
    team
        The other processes that train it, which this one leads; None: there are none.

    Raises
    ------
    LlamaError
        If it failed; the folder has the message, and the last checkpoint is whole.
    """
    team = team or Alone()
    with claimed(folder.path, folder.name):
        before = dataclasses.replace(
            folder.state(), state="running", process=team.process, started=time.time(), error="", hint=""
        )
        with Report(folder, before, parts.engine.busy) as report:
            try:
                with random_states_kept():
                    return _Execution(folder, parts, report, stopped, serve, team).run()
            except Exception as error:
                _take_out(folder, parts)
                if team.final(error):
                    _say_failure(folder, report, error)
                raise


class _Execution:
    """One life of a run."""

    def __init__(
        self,
        folder: RunFolder,
        parts: "Parts",
        report: Report,
        stopped: Callable[[], str | None],
        serve: "Serve",
        team: Team,
    ) -> None:
        self._folder = folder
        self._parts = parts
        self._report = report
        self._stopped = stopped
        self._serve = serve
        self._team = team
        self._full = folder.recipe.method == "full"
        self._name = "" if self._full else folder.name

    def run(self) -> str:
        """Train, save what came of it, and say so."""
        checkpoint.sweep(self._folder.checkpoints)
        start = self._start()
        prepared = prepare(self._folder, self._parts, lambda: self._serve(contextlib.nullcontext))
        self._place(start)
        step = start.step if start is not None else 0
        self._report.change(step=step, steps=prepared.steps)
        self._report.note(*prepared.notes)
        prepared = self._foresee(prepared)
        observer = self._observer(prepared)
        if start is None:
            observer.answer_prompts(0, adapter=False)
        outcome = self._train(prepared, observer, start)
        self._team.over()
        return self._conclude(outcome, observer)

    def _start(self) -> "Checkpoint | None":
        """Return the checkpoint to go on from, and forget what was measured behind it."""
        found, notes = checkpoint.newest_whole(self._folder.checkpoints)
        self._report.note(*notes)
        if found is not None:
            checkpoint.check_base(found, self._parts.fingerprint, self._parts.name)
        self._folder.forget_after(found.step if found is not None else -1)
        return found

    def _place(self, start: "Checkpoint | None") -> None:
        """Put the adapter into the module, or mark the module as one whose own weights change."""
        if self._full:
            _mark(self._parts, self._folder, start)
            return
        adapters = self._parts.adapters
        if self._name in adapters.names:
            if adapters.origin(self._name).run != self._name:
                raise TrainingError(
                    f"{self._parts.name} has another adapter that is called {self._name}.",
                    f"Take it out: %llama adapter delete {self._name}; or give the run another --name.",
                )
            if start is not None:
                return
            adapters.delete(self._name)  # of a life that left no checkpoint
        adapters.create(self._name, self._folder.recipe, run=self._name)
        adapters.use(self._name)

    def _foresee(self, prepared: Prepared) -> Prepared:
        """Say what the run will take, refuse what cannot end well, and decide what the recipe left open."""
        recipe = prepared.recipe
        if self._full:
            parameters = sum(each.numel() for each in self._parts.module.parameters())
        else:
            parameters = self._parts.adapters.facts(self._name).parameters
        _check_disk(self._folder, parameters, recipe.keep_checkpoints)
        if "parameters" in self._folder.plan:  # an earlier life of the run has decided
            return prepared
        batches, steps = prepared.batches, prepared.steps
        found = forecast(self._parts, recipe, batches, steps, parameters, self._trained)
        self._folder.write_plan({**found.to_plan(), "max_tokens": recipe.max_tokens})
        recipe = dataclasses.replace(recipe, checkpointing=found.checkpointing)
        return dataclasses.replace(prepared, recipe=recipe)

    def _observer(self, prepared: Prepared) -> FolderObserver:
        recipe = prepared.recipe
        stage = WorkerStage(
            self._parts, self._name, self._stopped, self._serve, sample_tokens=recipe.sample_tokens
        )
        config: dict[str, Any] | None = None
        if not self._full:
            config = self._parts.adapters.config(self._name).to_dict() | {"inference_mode": True}
        return FolderObserver(
            self._folder,
            recipe,
            self._report,
            self._team.stage(stage),
            Kept(self._parts.fingerprint, config),
            steps=prepared.steps,
            prompts=prepared.prompts,
        )

    def _train(self, prepared: Prepared, observer: FolderObserver, start: "Checkpoint | None") -> Outcome:
        """Train; where a guard paused, wait for whoever resumes, and go on from the last checkpoint."""
        lr: float | None = None
        while True:
            state = start.read() if start is not None else None
            if state is not None and lr is not None:
                state.numbers["lr"] = lr
            setup = Setup(
                module=self._parts.module,
                recipe=prepared.recipe,
                batches=prepared.batches,
                validation=prepared.validation,
                name=self._name,
                start=state,
                folder=str(self._folder.path),
            )
            with self._trained():
                shared = self._team.share(setup, start.path if start is not None else None)
                outcome = train(shared, self._team.watch(observer))
            if outcome.state != "paused":
                return outcome
            if not observer.hold(outcome.reason, outcome.hint):
                return dataclasses.replace(outcome, state="stopped")
            lr = observer.take_lr()
            start = self._start()
            self._place(start)

    def _trained(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._full else self._parts.adapters.training(self._name)

    def _conclude(self, outcome: Outcome, observer: FolderObserver) -> str:
        self._parts.engine.raise_state()
        steps = [each for each in self._folder.metrics() if "loss" in each]  # of all lives of the run
        memory = max((each.get("memory") or 0 for each in steps), default=0)
        seconds = sum(each.get("seconds") or 0.0 for each in steps)
        self._folder.write_plan({"measured_memory": memory, "measured_s": seconds})
        if outcome.state == "stopped":
            reason = outcome.reason or observer.stop_reason
            self._report.change(state="stopped", step=outcome.step, reason=reason, serving="")
            return "stopped"
        if self._full:
            save_model(self._folder.model, self._parts)
        else:
            save_adapter(self._folder.adapter, self._parts.adapters, self._name)
        self._report.change(state="finished", step=outcome.step, reason="", serving="")
        return "finished"


def _take_out(folder: RunFolder, parts: "Parts") -> None:
    """Take the adapter of a run that failed out of the model if nothing of it is worth going on with."""
    adapters = parts.adapters
    ours = folder.name in adapters.names and adapters.origin(folder.name).run == folder.name
    if ours and checkpoint.newest_step(folder.checkpoints) is None:
        adapters.delete(folder.name)
        parts.engine.raise_state()


def _check_disk(folder: RunFolder, parameters: int, keep: int) -> None:
    """Raise TrainingError if the checkpoints that are kept will have no room."""
    # Weights and AdamW's two moments in float32; one more is there while it is written, one is the best.
    needed = 12 * parameters * (keep + 2)
    free = shutil.disk_usage(folder.path).free
    if needed > free:
        raise TrainingError(
            f"The run's checkpoints will need {number(needed)}B on the disk; {number(free)}B are free.",
            "Free some space, or keep fewer: --keep-checkpoints 1.",
        )


def _mark(parts: "Parts", folder: RunFolder, start: "Checkpoint | None") -> None:
    """Note on the module which run changes its weights; nothing else can begin from them."""
    if parts.adapters.names:
        raise TrainingError(
            f"The base of {', '.join(parts.adapters.names)} in {parts.name} is to be trained itself.",
            "Take them out before: %llama adapter delete NAME",
        )
    mine = str(folder.path.absolute())
    other = getattr(parts.module, _TRAINED, None)
    if other is not None and (start is None or other != mine):
        raise TrainingError(
            f"The weights of {parts.name} in memory are no longer its own: a run trained them.",
            f"Load it again, then train: %llama load {parts.source}",
        )
    setattr(parts.module, _TRAINED, mine)


def _say_failure(folder: RunFolder, report: Report, error: Exception) -> None:
    """Write why the run failed, and for errors of our own making where."""
    if isinstance(error, LlamaError):
        message, hint = error.message, error.hint
    else:
        message = f"{type(error).__name__}: {error}".rstrip(": ")
        hint = f"The whole traceback stands in {folder.log_file.name} of the run."
        with contextlib.suppress(OSError), folder.log_file.open("a", encoding="utf-8") as log:
            traceback.print_exception(error, file=log)
    with contextlib.suppress(OSError):
        report.change(state="failed", error=message, hint=hint, serving="")
