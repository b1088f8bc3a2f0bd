"""Trains a module on batches and tells an observer what happens, step by step.

Knows modules, batches and recipes; knows no files, threads or chats: those are the observer's.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from llama_nb.tuning.packing import BatchPlan, MicroBatch
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.state import TrainingState


@dataclass(slots=True)
class Setup:
    """What is trained, on what, and from where.

    Attributes
    ----------
    module
        The transformers model. For adapters it holds an injected one, which is the active one, and only its
        parameters require gradients; with the method "full" every weight of it is trained.
    batches, validation
        What to learn from and what to measure on, in micro-batches of the recipe's batch.
    name
        The adapter's name in the module; "" when there is none.
    start
        Where an earlier run left off; None begins.
    rank, world
        Which of how many processes this is. Together they make one step of the recipe's batch.
    """

    module: Any
    recipe: Recipe
    batches: BatchPlan
    validation: list[MicroBatch] = field(default_factory=list)
    name: str = ""
    start: TrainingState | None = None
    rank: int = 0
    world: int = 1


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
    it), `memory` the peak in bytes (allocated on a GPU, resident on a CPU).
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
    """How a training ended: "finished", "stopped" by an order, or "paused" by a guard, which `reason` says."""

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

        Random state and train mode are put back behind it.
        """

    def step(self, metrics: StepMetrics) -> None:
        """One optimiser step is done."""

    def validated(self, step: int, loss: float) -> None:
        """The validation loss after `step` steps."""

    def checkpoint(self, state: TrainingState) -> None:
        """A state that is worth keeping: as often as the recipe says, when ordered, and at the end."""


def train(setup: Setup, observer: Observer) -> Outcome:
    """Train until the recipe's last step, an order to stop, or a guard that pauses.

    The module is left in eval mode with gradients off, whatever happens.

    Raises
    ------
    TrainingError
        If loss or gradient are no numbers, nothing can be learned from, or the layers cannot be trained; the
        weights are then those of the last good state.
    """
    raise RuntimeError("under way")
