"""All that a training run is at the boundary of two optimiser steps: enough to go on to the last digit.

Plain tensors by name and plain JSON numbers, so that a checkpoint is safetensors and JSON and never a pickle.
Knows no files; `tuning/checkpoint.py` writes and reads them.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import torch

WEIGHTS: Final = "weights/"
MOMENTS: Final = ("moment1/", "moment2/")


@dataclass(slots=True)
class TrainingState:
    """Tensors (on the CPU, no one else's) and numbers of a run between two steps.

    Attributes
    ----------
    tensors
        "weights/NAME" of every trained parameter, "moment1/NAME" and "moment2/NAME" of AdamW. NAME is the
        parameter's name in the module without the adapter's name, such as
        "model.layers.0.self_attn.q_proj.lora_A.weight": peft's own, less its "base_model.model.".
    numbers
        JSON values: "step" (optimiser steps done), "steps", "micro_batch" (the next one, counted over
        epochs), "lr" (the peak rate, which may have been changed), "threads" and what the guards remember.

    States of random generators are not among them: what is random in a step is drawn from the seed and the
    micro-batch's number (`TrainingMode.draw`), wherever and whenever it is computed.
    """

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """Optimiser steps that are done."""
        return int(self.numbers["step"])

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the trained parameters by name, without the prefix."""
        return self.part(WEIGHTS)

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return the tensors whose names begin with `prefix`, named without it."""
        named = self.tensors.items()
        return {name.removeprefix(prefix): tensor for name, tensor in named if name.startswith(prefix)}
