"""What one optimiser step is made of: its micro-batches, how they are shared, what is summed up in it."""

from typing import Any

import torch

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.loss import Imitation
from llama_nb.tuning.packing import MicroBatch
from llama_nb.tuning.preference import Preference
from llama_nb.tuning.ranks import Ranks
from llama_nb.tuning.recipe import Recipe


class StepSums:
    """What is summed up on the way through one step.

    Attributes
    ----------
    numbers
        Of the step's micro-batches, those of all processes.
    weight
        What the loss of the whole step is divided by.
    trained, tokens, loss, seconds, memory, last
        Trained tokens of the whole step; of this process: tokens and losses computed so far, the time that
        took, the most memory seen, and the last batch.
    """

    def __init__(self, recipe: Recipe, step: int, batches: Any, aim: Imitation | Preference) -> None:
        first = step * recipe.accumulate
        self.numbers = range(first, first + recipe.accumulate)
        self.trained = sum(batches.trained_tokens(number) for number in self.numbers)
        self.weight = sum(aim.weight_of(batches, number) for number in self.numbers)
        self.loss: list[torch.Tensor] = []
        self.tokens = 0
        self.seconds = 0.0
        self.memory = 0
        self.last: MicroBatch | None = None


def check_shares(recipe: Recipe, ranks: Ranks) -> None:
    """Refuse processes that cannot share the micro-batches of a step evenly.

    Raises
    ------
    TrainingError
        If the recipe's accumulate is no multiple of their number.
    """
    if recipe.accumulate % ranks.world:
        fit = [each for each in range(1, recipe.accumulate + 1) if recipe.accumulate % each == 0]
        raise TrainingError(
            f"{ranks.world} processes cannot share {recipe.accumulate} batches a step evenly.",
            f"Use {' or '.join(map(str, fit))} of them, or an accumulate that {ranks.world} divides.",
        )
