"""Watches a training for its folder: writes what happens, obeys orders, lets others have the model between.

Where it cannot write (a full disk), it pauses the run until somebody resumes it, so that nothing is lost.
Knows the loop's words and the folder's files; neither torch nor how an answer is computed.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from llama_nb.core.errors import LlamaError, TrainingError
from llama_nb.tuning import checkpoint
from llama_nb.tuning.control import Order as Wish
from llama_nb.tuning.control import Orders
from llama_nb.tuning.loop import Order
from llama_nb.tuning.report import Report
from llama_nb.tuning.run_folder import RunFolder

if TYPE_CHECKING:
    from llama_nb.tuning.loop import StepMetrics
    from llama_nb.tuning.recipe import Recipe
    from llama_nb.tuning.state import TrainingState

_PAUSED_S: Final = 0.1  # how soon a paused run obeys


class Stage(Protocol):
    """Where the training happens: in a kernel with others, or in a process of its own."""

    def stopped(self) -> str | None:
        """Return why the training is to stop, None to go on."""

    def serve(self, timeout: float = 0.0) -> None:
        """Let others have the model, waiting for them at most `timeout` seconds; or wait."""

    def answer(self, prompt: str, *, adapter: bool) -> str:
        """Return the model's answer to `prompt`, with the adapter that is trained or without."""

    def changed(self) -> None:
        """The weights are others than before."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a checkpoint needs beside the state.

    Parameters
    ----------
    fingerprint
        Of the base.
    adapter_config
        peft's configuration; None when every weight is trained.
    """

    fingerprint: str
    adapter_config: dict[str, Any] | None


class FolderObserver:
    """The observer of one execution of a run.

    Parameters
    ----------
    folder, recipe
        The run.
    report
        Its state, which is open.
    stage
        Where it happens.
    kept
        What checkpoints need.
    steps
        Optimiser steps in all.
    prompts
        Fixed prompts whose answers are kept as the model learns.
    """

    def __init__(
        self,
        folder: RunFolder,
        recipe: "Recipe",
        report: Report,
        stage: Stage,
        kept: Kept,
        *,
        steps: int,
        prompts: tuple[str, ...] = (),
    ) -> None:
        self._folder = folder
        self._recipe = recipe
        self._report = report
        self._stage = stage
        self._kept = kept
        self._steps = steps
        self._prompts = prompts
        self._orders = Orders(folder.path, report.state.orders_from)
        self._paused = False
        self._stop: str | None = None
        self._wanted = Order()
        self._validation: tuple[int, float] | None = None

    # --- what the loop calls ------------------------------------------------------------------------------

    def between(self) -> Order | None:
        """Serve others, read orders, and wait while paused."""
        self._stage.serve()
        self._read_orders()
        self._wait_while_paused()
        wanted, self._wanted = self._wanted, Order()
        if self._stop is not None:
            wanted = dataclasses.replace(wanted, stop=True)
        return wanted if wanted != Order() else None

    def step(self, metrics: "StepMetrics") -> None:
        """Write the step down; answer the fixed prompts when that is due."""
        self._stage.changed()
        record = dataclasses.asdict(metrics)
        del record["steps"]
        self._insist(lambda: self._folder.append_metrics(record))
        with contextlib.suppress(OSError):  # the next one that can be written says it
            self._report.step(metrics.step)
        if self._due("sample", metrics.step):
            self.answer_prompts(metrics.step)

    def validated(self, step: int, loss: float) -> None:
        """Write the loss on what was held back."""
        self._validation = (step, loss)
        record = {"step": step, "validation_loss": loss}
        if record not in self._folder.metrics():  # a life that begins where another validated last
            self._insist(lambda: self._folder.append_metrics(record))

    def checkpoint(self, state: "TrainingState") -> None:
        """Write a checkpoint, and drop old ones."""
        validated = self._validation
        loss = validated[1] if validated is not None and validated[0] == state.step else None

        def save() -> None:
            checkpoint.save(
                self._folder.checkpoints,
                state,
                fingerprint=self._kept.fingerprint,
                adapter_config=self._kept.adapter_config,
                validation_loss=loss,
            )

        self._insist(save)
        checkpoint.prune(self._folder.checkpoints, self._recipe.keep_checkpoints)

    # --- what execute calls -------------------------------------------------------------------------------

    @property
    def stop_reason(self) -> str:
        """Who wanted the stop, if anybody said."""
        return self._stop or ""

    def answer_prompts(self, step: int, *, adapter: bool = True) -> None:
        """Answer the fixed prompts and keep the answers; new prompts are answered by the base alone, too."""
        added = [each for each in self._folder.prompts() if each not in self._prompts]
        before = {each.get("prompt") for each in self._folder.samples() if not each.get("adapter")}
        for prompt in (*self._prompts, *added):
            if prompt not in before:
                self._keep_answer(step, prompt, adapter=False)
            if adapter:
                self._keep_answer(step, prompt, adapter=True)

    def hold(self, reason: str, hint: str = "") -> bool:
        """Pause the run for `reason` until somebody resumes it (true) or stops it (false)."""
        self._pause(reason, hint)
        self._wait_while_paused()
        return self._stop is None

    def take_lr(self) -> float | None:
        """Return the learning rate that was ordered while the loop did not run."""
        lr, self._wanted = self._wanted.lr, dataclasses.replace(self._wanted, lr=None)
        return lr

    # --- inside -------------------------------------------------------------------------------------------

    def _wait_while_paused(self) -> None:
        """Serve others until somebody resumes or stops the run."""
        while self._paused and self._stop is None:
            self._stage.serve(_PAUSED_S)
            self._read_orders()

    def _due(self, what: str, step: int) -> bool:
        every = self._recipe.every(what, self._steps)
        return step == self._steps or bool(every and step % every == 0)

    def _keep_answer(self, step: int, prompt: str, *, adapter: bool) -> None:
        if self._stop is not None or self._stage.stopped() is not None:
            return
        try:
            text = self._stage.answer(prompt, adapter=adapter)
        except LlamaError as error:  # one prompt that cannot be answered must not end a training
            self._note(f"The prompt {prompt[:60]!r} was not answered: {error.message}")
            return
        self._insist(lambda: self._folder.append_sample(step, prompt, text, adapter=adapter))

    def _read_orders(self) -> None:
        for wish in self._orders.new():
            self._obey(wish)
        if self._stop is None and (reason := self._stage.stopped()) is not None:
            self._stop = reason

    def _obey(self, wish: Wish) -> None:
        match wish.kind:
            case "pause":
                self._pause(wish.reason)
            case "resume":
                self._paused = False
                self._say(state="running", reason="", hint="")
            case "stop":
                self._stop = wish.reason or "stopped"
            case "save":
                self._wanted = dataclasses.replace(self._wanted, save=True)
            case "lr":
                self._wanted = dataclasses.replace(self._wanted, lr=wish.value)

    def _pause(self, reason: str, hint: str = "") -> None:
        self._paused = True
        self._say(state="paused", reason=reason, hint=hint, orders_read=self._orders.read)

    def _insist(self, write: Callable[[], None]) -> None:
        """Write; where that fails, pause until somebody made room, and write again.

        Raises
        ------
        TrainingError
            If the run is stopped before it could be written.
        """
        while True:
            try:
                write()
            except (OSError, LlamaError) as error:
                message, hint = _failure(error)
                if not self.hold(message, hint):
                    raise TrainingError(message, hint) from error
            else:
                return

    def _say(self, **changes: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk, which the pause is about
            self._report.change(**changes)

    def _note(self, sentence: str) -> None:
        with contextlib.suppress(OSError):
            self._report.note(sentence)


def _failure(error: OSError | LlamaError) -> tuple[str, str]:
    hint = "Free some space on the disk, then: %llama train resume"
    if isinstance(error, LlamaError):
        return error.message, hint
    return f"The run's folder cannot be written: {error.strerror or type(error).__name__}.", hint
