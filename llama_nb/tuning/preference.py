"""Learning from preferences: direct preference optimisation (DPO, arXiv:2305.18290) in the same loop.

The reference is the model itself with its adapter switched off, so no second model is in memory. Values equal
those of trl's DPOTrainer (tests/tuning/test_preference.py); trl itself would load a copy of the base beside
it, and neither pauses nor goes on exactly.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.encoding import Row
from llama_nb.tuning.loss import row_losses
from llama_nb.tuning.order import shuffled
from llama_nb.tuning.packing import MicroBatch, collate
from llama_nb.tuning.preference_rows import PreferenceRow


class PreferencePlan:
    """All micro-batches of pairs of a run: lines of the better answers, then those of the worse ones.

    Parameters
    ----------
    rows
        The preferences.
    batch
        How many pairs a micro-batch has.
    seed
        Decides their order in each epoch.
    """

    def __init__(self, rows: Sequence[PreferenceRow], *, batch: int, seed: int = 0) -> None:
        self._rows = rows
        self._batch = batch
        self._seed = seed

    @property
    def per_epoch(self) -> int:
        """How many micro-batches see every pair once."""
        return -(-len(self._rows) // self._batch)

    def micro_batch(self, number: int) -> MicroBatch:
        """Return micro-batch `number`, from 0 and on through the epochs."""
        pairs = self._of(number)
        sides = (
            [[_line(pair, pair.chosen)] for pair in pairs],
            [[_line(pair, pair.rejected)] for pair in pairs],
        )
        return collate([*sides[0], *sides[1]])

    def pairs(self, number: int) -> int:
        """Return how many pairs micro-batch `number` has."""
        return len(self._of(number))

    def trained_tokens(self, number: int) -> int:
        """Return how many tokens the answers of micro-batch `number` have."""
        return sum(len(pair.chosen) + len(pair.rejected) for pair in self._of(number))

    def _of(self, number: int) -> list[PreferenceRow]:
        epoch, place = divmod(number, self.per_epoch)
        order = shuffled(len(self._rows), self._seed, epoch)
        return [self._rows[index] for index in order[place * self._batch : (place + 1) * self._batch]]


class Preference:
    """Learning to prefer one answer over another: -log sigmoid(beta * (policy's margin - reference's)).

    Parameters
    ----------
    beta
        How closely the model stays with the reference.
    """

    def __init__(self, beta: float) -> None:
        self._beta = beta

    def loss(self, module: Any, batch: MicroBatch) -> torch.Tensor:
        """Return the loss of a batch of pairs, summed over them."""
        with torch.no_grad(), adapters_off(module):
            reference = _margins(row_losses(module, batch))
        margins = _margins(row_losses(module, batch)) - reference
        return -F.logsigmoid(self._beta * margins).sum()

    def weight(self, batch: MicroBatch) -> int:
        """Return how many pairs the batch has."""
        return batch.ids.shape[0] // 2

    def weight_of(self, batches: Any, number: int) -> int:
        """Return how many pairs micro-batch `number` has, without making it."""
        return int(batches.pairs(number))


@contextlib.contextmanager
def adapters_off(module: Any) -> Iterator[None]:
    """Have a module compute as its base alone, in eval mode.

    Raises
    ------
    TrainingError
        If it holds no adapter: what it was before the training is not there any more.
    """
    layers = [part for part in module.modules() if hasattr(part, "lora_A")]
    if not layers:
        raise TrainingError(
            "DPO compares the model with what it was, and with every weight trained that is gone.",
            "Train an adapter: method lora, dora or rslora.",
        )
    was_training = module.training
    active = [list(layer.active_adapters) for layer in layers]
    module.eval()
    try:
        for layer in layers:
            layer.set_adapter([])
        yield
    finally:
        for layer, names in zip(layers, active, strict=True):
            layer.set_adapter(names)  # which has gradients for them again
        module.train(was_training)


def _margins(losses: torch.Tensor) -> torch.Tensor:
    """Return by how much the better answers are likelier than the worse ones, in nats."""
    better, worse = losses.chunk(2)
    return worse - better


def _line(pair: PreferenceRow, answer: Any) -> Row:
    ids = np.concatenate([pair.prompt, answer]).astype(np.int32)
    return Row(ids, np.arange(len(ids)) >= len(pair.prompt), pair.where)
