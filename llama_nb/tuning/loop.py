"""Trains a module on batches and tells an observer what happens, step by step.

Knows modules, batches and recipes; knows no files, threads or chats: those are the observer's. What a step
computes is a pure function of the weights and its number: the order of the data and the random numbers of
dropout are drawn from the seed and the number of the micro-batch, so a run goes on exactly from any step.
"""

import math
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from llama_nb.core.errors import TrainingError
from llama_nb.runtime.devices import usable_cores
from llama_nb.tuning import guards
from llama_nb.tuning.loss import Imitation, validation_loss
from llama_nb.tuning.optimiser import Optimiser
from llama_nb.tuning.packing import BatchPlan, MicroBatch
from llama_nb.tuning.preference import Preference, PreferencePlan
from llama_nb.tuning.ranks import ALONE, Ranks
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.state import WEIGHTS, TrainingState
from llama_nb.tuning.step_sums import StepSums, check_shares
from llama_nb.tuning.trackers import Trackers
from llama_nb.tuning.training_mode import TrainingMode, memory_now, trained_parameters


@dataclass(slots=True)
class Setup:
    """What is trained, on what, and from where.

    Attributes
    ----------
    module
        The transformers model. For adapters it holds an injected one, which is the active one, and only its
        parameters require gradients; with the method "full" every weight of it is trained.
    batches, validation
        What to learn from and what to measure on, in micro-batches of the recipe's batch; for the objective
        "dpo" these are pairs.
    name
        What is trained, for messages: the adapter's name.
    start
        Where an earlier run left off; None begins.
    ranks
        The processes that make each step together.
    threads
        How many threads compute; 0 takes what torch has now. The same number gives the same digits.
    folder
        Where trackers that write files put them; "" is the current folder.
    """

    module: Any
    recipe: Recipe
    batches: BatchPlan | PreferencePlan
    validation: list[MicroBatch] = field(default_factory=list)
    name: str = ""
    start: TrainingState | None = None
    ranks: Ranks = ALONE
    threads: int = 0
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What a user wants of a running training, read between two micro-batches."""

    stop: bool = False
    save: bool = False
    lr: float | None = None


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One optimiser step.

    `loss` is the mean over the trained tokens of the whole step, `gradient_norm` that before clipping,
    `tokens` what was computed without padding, `seconds` computing time (pauses and served chats are not in
    it), `memory` the most bytes seen in it (allocated on a GPU, resident on a CPU).
    """

    step: int
    steps: int
    loss: float
    lr: float
    gradient_norm: float
    tokens: int
    trained_tokens: int
    seconds: float
    memory: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended.

    `state` is "finished", "stopped" (by an order) or "paused" (by a guard, which `reason` says).
    """

    state: str
    step: int
    steps: int
    loss: float
    validation_loss: float | None = None
    reason: str = ""
    hint: str = ""


class Observer(Protocol):
    """Who watches a training and steers it. All calls come on the thread that trains."""

    def between(self) -> Order | None:
        """Called before the first and after each micro-batch: serve others, block while paused.

        Train mode, gradients and the number of threads are put back behind it.
        """

    def step(self, metrics: StepMetrics) -> None:
        """One optimiser step is done."""

    def validated(self, step: int, loss: float) -> None:
        """The validation loss after `step` steps."""

    def checkpoint(self, state: TrainingState) -> None:
        """A state that is worth keeping: as often as the recipe says, when ordered, and at the end."""


def train(setup: Setup, observer: Observer) -> Outcome:
    """Train until the recipe's last step, an order to stop, or a guard that pauses.

    The module is left in eval mode with gradients as they were, whatever happens.

    Raises
    ------
    TrainingError
        If loss or gradient are no numbers, nothing can be learned from, or the layers cannot be trained; the
        weights are then those of the last good state.
    """
    start = setup.start
    before = int(start.numbers.get("threads", 0)) if start is not None else 0
    threads = before if 0 < before <= usable_cores() else setup.threads
    with TrainingMode(setup.module, setup.recipe, threads) as mode:
        return _Training(setup, observer, mode).run()


class _Training:
    """One life of a run: from a step to the end, a stop or a pause."""

    def __init__(self, setup: Setup, observer: Observer, mode: TrainingMode) -> None:
        self._setup = setup
        self._module = setup.module
        self._recipe = setup.recipe.for_model(setup.module.config.get_text_config().hidden_size)
        self._observer = observer
        self._mode = mode
        self._aim = Preference(setup.recipe.beta) if setup.recipe.objective == "dpo" else Imitation()
        self._steps = setup.recipe.steps_for(setup.batches.per_epoch)
        self._optimiser = Optimiser(trained_parameters(setup.module), self._recipe, self._steps)
        self._trackers = Trackers(setup.recipe, setup.folder, self._steps, setup.ranks.rank)
        self._step = 0
        self._loss = math.nan
        self._validation: tuple[int, float] | None = None
        self._stop = False
        self._watch = guards.DivergenceWatch.of(setup.module.config.get_text_config().vocab_size, None)
        self._kept = -1
        if setup.start is not None:
            self._take_up(setup.start)
        self._good = self._state()
        self._unsure: TrainingState | None = None  # kept when the next loss says that it is sound
        check_shares(setup.recipe, setup.ranks)

    def run(self) -> Outcome:
        """Make the steps that are left."""
        try:
            self._listen()
            if self._step == 0 and not self._stop:
                self._validate()  # where the base itself is damaged, this raises
            while self._step < self._steps and not self._stop:
                if reason := self._make_step():
                    return self._pause(reason)
            return self._ended()
        except TrainingError:
            self._fall_back()
            raise
        except RuntimeError as error:
            if not guards.out_of_memory(error):
                raise
            self._fall_back()
            raise guards.no_memory(error, self._step + 1, self._recipe) from error
        finally:
            self._optimiser.drop_gradients()
            self._trackers.close()

    # --- one step ---------------------------------------------------------------------------------

    def _make_step(self) -> str:
        """Make one step, or leave it where an order to stop comes; return why not to go on, or nothing."""
        work = StepSums(self._recipe, self._step, self._setup.batches, self._aim)
        for place, number in enumerate(work.numbers[self._setup.ranks.rank :: self._setup.ranks.world]):
            if place:
                self._listen()
                if self._stop:  # what is summed up is thrown away: the last boundary is what is kept
                    return ""
            started = time.perf_counter()
            self._compute(number, work)
            work.seconds += time.perf_counter() - started
        started = time.perf_counter()
        loss, norm = self._summed(work)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            assert work.last is not None
            return self._not_finite(work.last, self._step + 1, loss, norm)
        self._optimiser.step(self._step)
        self._step += 1
        work.seconds += time.perf_counter() - started
        self._tell(work, loss, norm)
        return self._after(loss)

    def _compute(self, number: int, work: StepSums) -> None:
        batch = self._setup.batches.micro_batch(number)
        self._mode.draw(number)
        loss = self._aim.loss(self._module, batch)
        work.memory = max(work.memory, memory_now(self._module))
        (loss / max(1, work.weight)).backward()
        work.loss.append(loss.detach())
        work.tokens += batch.tokens
        work.last = batch

    def _summed(self, work: StepSums) -> tuple[float, float]:
        """Return the loss and the gradient's length of the whole step, over all processes, and clip it."""
        ranks = self._setup.ranks
        ranks.sum_(self._optimiser.gradients())
        norm = float(self._optimiser.clip())
        loss, tokens = ranks.totals(float(torch.stack(work.loss).sum()), work.tokens)
        work.tokens = int(tokens)
        return loss / max(1, work.weight), norm

    def _not_finite(self, batch: MicroBatch, step: int, loss: float, norm: float) -> str:
        """Return why not to go on if the training itself did it, else raise what is wrong."""
        error = guards.not_finite(self._module, batch, step, loss, norm)
        trained = self._step - self._good.step
        self._put(self._good)
        if trained:
            bad = not math.isfinite(validation_loss(self._module, [batch], None, self._aim))
            if not any(self._setup.ranks.totals(bad)):  # one verdict, whichever process saw what
                what = f"The loss of step {step:,} is {loss:.4g}, with a gradient of {norm:.4g}"
                return f"{what}; with what was trained until step {self._good.step:,} it is a number still."
        raise error

    def _tell(self, work: StepSums, loss: float, norm: float) -> None:
        self._loss = loss
        metrics = StepMetrics(
            self._step,
            self._steps,
            loss,
            self._optimiser.rate(self._step - 1),
            norm,
            work.tokens,
            work.trained,
            work.seconds,
            work.memory,
        )
        self._observer.step(metrics)
        self._trackers.log(
            self._step, {"loss": loss, "learning_rate": metrics.lr, "grad_norm": norm, "tokens": work.tokens}
        )

    def _after(self, loss: float) -> str:
        """Keep, validate and listen behind a step; return why training must not go on, or nothing."""
        if reason := self._watch.look(loss):
            return reason
        if self._unsure is not None and self._watch.healthy:
            self._keep(self._unsure)
        self._unsure = None
        ended = self._step >= self._steps
        if not ended and self._due("evaluate") and (reason := self._validate()):
            return reason
        if not ended and self._due("save"):
            self._unsure = self._state()
        self._listen()
        return ""

    def _due(self, what: str) -> bool:
        every = self._recipe.every(what, self._steps)
        return every > 0 and self._step % every == 0

    # --- between steps ----------------------------------------------------------------------------

    def _listen(self) -> None:
        """Have others served and obey the order that came."""
        order = self._observer.between()
        self._mode.put_back()
        if order is None:
            return
        if order.lr is not None:
            self._optimiser.lr = order.lr
        if order.save and self._kept != self._step:
            self._kept = self._step
            self._observer.checkpoint(self._state())
        self._stop = self._stop or order.stop

    def _validate(self) -> str:
        """Measure on what was held back; return why training must not go on, or nothing."""
        if not self._setup.validation:
            return ""
        self._listen()  # a chat waits for one micro-batch at most, of whichever kind
        loss = validation_loss(self._module, self._setup.validation, self._listen, self._aim)
        if not math.isfinite(loss):
            return self._not_finite(self._setup.validation[0], self._step, loss, 0.0)
        self._validation = (self._step, loss)
        self._observer.validated(self._step, loss)
        self._trackers.log(self._step, {"eval_loss": loss})
        return ""

    def _ended(self) -> Outcome:
        """Keep the last state, if it is sound, and return how it ended."""
        if self._stop and self._step < self._steps:
            if self._kept != self._step:
                self._keep(self._state())
            return self._outcome("stopped")
        measured = self._validation is not None and self._validation[0] == self._step
        if not measured and (reason := self._validate()):
            return self._pause(reason)
        last = self._validation[1] if self._validation is not None else self._loss_now()
        if reason := self._watch.verdict(last):
            return self._pause(reason)
        if self._kept != self._step:
            self._keep(self._state())
        return self._outcome("finished")

    def _loss_now(self) -> float:
        """Return the loss of one batch with the weights as they are."""
        number = max(0, self._step * self._recipe.accumulate - 1)
        return validation_loss(self._module, [self._setup.batches.micro_batch(number)], None, self._aim)

    def _outcome(self, state: str, reason: str = "", hint: str = "") -> Outcome:
        validation = self._validation[1] if self._validation is not None else None
        return Outcome(state, self._step, self._steps, self._loss, validation, reason, hint)

    # --- states -----------------------------------------------------------------------------------

    def _state(self) -> TrainingState:
        """Return copies of everything at the last boundary of two steps."""
        weights = {
            WEIGHTS + name: parameter.detach().to("cpu", copy=True)
            for name, parameter in self._optimiser.parameters.items()
        }
        numbers = {
            "step": self._step,
            "steps": self._steps,
            "micro_batch": self._step * self._recipe.accumulate,
            "lr": self._optimiser.lr,
            "loss": self._loss if math.isfinite(self._loss) else None,
            "threads": self._mode.threads,
            "watch": self._watch.to_numbers(),
        }
        return TrainingState({**weights, **self._optimiser.moments()}, numbers)

    def _take_up(self, start: TrainingState) -> None:
        """Go on from a state."""
        self._put(start)
        self._step = self._kept = start.step
        self._loss = float(start.numbers.get("loss") or math.nan)
        self._optimiser.lr = float(start.numbers.get("lr", self._optimiser.lr))
        self._watch = guards.DivergenceWatch.of(self._watch.vocabulary, start.numbers.get("watch"))

    def _put(self, state: TrainingState) -> None:
        weights, own = state.weights(), self._optimiser.parameters
        if odd := sorted(weights.keys() ^ own.keys()):
            raise TrainingError(
                f"The checkpoint of step {state.step:,} does not fit what is trained: only one has {odd[0]}.",
                "It was made with another recipe or another model; begin a new run.",
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(weights[name])
        self._optimiser.restore(state.tensors, state.step)

    def _keep(self, state: TrainingState) -> None:
        self._good = state
        self._kept = max(self._kept, state.step)
        self._observer.checkpoint(state)

    def _fall_back(self) -> None:
        """Put the last good state into the module, and see that it is kept."""
        self._put(self._good)
        if self._good.step > 0 and self._kept < self._good.step:
            self._keep(self._good)

    def _pause(self, reason: str) -> Outcome:
        self._fall_back()
        self._step = self._good.step
        return self._outcome("paused", reason, guards.divergence_hint(self._optimiser.lr))
