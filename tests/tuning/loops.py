"""Small trainings without files: rows to learn, a model with an adapter, an observer that writes down."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from llama_nb.tuning.adapters import AdapterSet
from llama_nb.tuning.encoding import Row
from llama_nb.tuning.loop import Order, Outcome, Setup, StepMetrics, train
from llama_nb.tuning.packing import BatchPlan
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.state import TrainingState
from tests.tuning.adapted import adapters_of, tiny_llama

# Two micro-batches a step, several rows in a line, dropout: what a run that goes on could get wrong.
RECIPE = Recipe.of(
    rank=4,
    steps=8,
    batch=2,
    accumulate=2,
    dropout=0.1,
    lr=2e-2,
    save_every=3,
    evaluate_every=4,
    max_tokens=32,
)


def rows(count: int = 24, vocabulary: int = 64, seed: int = 0) -> list[Row]:
    """Return rows that count upwards in circles of ten; their second half is trained."""
    lengths = np.random.default_rng(seed).integers(5, 20, count)
    return [
        Row(
            ((np.arange(length) + number) % 10 + vocabulary - 20).astype(np.int32),
            np.arange(length) >= length // 2,
            f"row {number}",
        )
        for number, length in enumerate(lengths)
    ]


def plan(recipe: Recipe, given: list[Row]) -> BatchPlan:
    """Return the micro-batches of rows."""
    return BatchPlan(
        given,
        batch=recipe.batch,
        packing=recipe.packing,
        max_tokens=recipe.max_tokens or 32,
        seed=recipe.seed,
    )


@dataclass
class Watcher:
    """Writes down what a training says; `orders` gives an order for the number of the call of `between`."""

    orders: Callable[[int], Order | None] = lambda _: None
    metrics: list[StepMetrics] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    states: list[TrainingState] = field(default_factory=list)
    calls: int = 0

    def between(self) -> Order | None:
        """Count, and give the order."""
        self.calls += 1
        return self.orders(self.calls)

    def step(self, metrics: StepMetrics) -> None:
        """Write a step down."""
        self.metrics.append(metrics)

    def validated(self, step: int, loss: float) -> None:
        """Write a measurement down."""
        self.validations.append((step, loss))

    def checkpoint(self, state: TrainingState) -> None:
        """Keep a state."""
        self.states.append(state)

    @property
    def losses(self) -> list[float]:
        """The loss of each step."""
        return [each.loss for each in self.metrics]


def adapted(recipe: Recipe = RECIPE, module: Any = None) -> AdapterSet:
    """Return a tiny model with a new adapter "a"."""
    adapters = adapters_of(tiny_llama() if module is None else module)
    adapters.create("a", recipe)
    return adapters


def learn(
    recipe: Recipe = RECIPE,
    watcher: Watcher | None = None,
    start: TrainingState | None = None,
    adapters: AdapterSet | None = None,
    **setup: Any,
) -> tuple[Outcome, Watcher, AdapterSet]:
    """Train the adapter "a" of a tiny model; return how it ended, what was said, and the model."""
    watcher = watcher or Watcher()
    adapters = adapters or adapted(recipe)
    data = rows()
    held = plan(recipe, data[20:])
    given = {
        "batches": plan(recipe, data[:20]),
        "validation": [held.micro_batch(number) for number in range(held.per_epoch)],
        "threads": 1,
        **setup,
    }
    with adapters.training("a"):
        outcome = train(Setup(adapters.module, recipe, start=start, name="a", **given), watcher)
    return outcome, watcher, adapters


def same_weights(first: AdapterSet, second: AdapterSet) -> bool:
    """Whether two adapters are equal to the last bit."""
    ours, theirs = first.weights("a"), second.weights("a")
    return all(torch.equal(ours[name], theirs[name]) for name in ours)
