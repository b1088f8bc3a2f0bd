"""AdamW and the learning rate's schedule, made so that both go on from a step's number and saved moments.

Knows parameters by name and a recipe; knows nothing of modules or files.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch.optim import AdamW

from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.state import MOMENTS

_MOMENT_NAMES: Final = dict(zip(MOMENTS, ("exp_avg", "exp_avg_sq"), strict=True))


def rate_factor(recipe: Recipe, steps: int, step: int) -> float:
    """Return what the peak learning rate is multiplied with in step `step` (from 0) of `steps`.

    The first step of a warm-up moves already, and the last step of a falling schedule still does.
    """
    warmup = recipe.warmup_steps(steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    gone = (step - warmup) / max(1, steps - warmup)
    if recipe.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * gone))
    return 1.0 - gone if recipe.schedule == "linear" else 1.0


class Optimiser:
    """AdamW over named parameters, with the recipe's schedule.

    Parameters
    ----------
    parameters
        What is trained, by names that hold in a checkpoint.
    recipe
        With a learning rate.
    steps
        Of the whole run.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], recipe: Recipe, steps: int) -> None:
        self.parameters = dict(parameters)
        assert recipe.lr is not None
        self.lr = recipe.lr
        self._recipe = recipe
        self._steps = steps
        wide = [each for each in self.parameters.values() if each.ndim > 1]
        flat = [each for each in self.parameters.values() if each.ndim <= 1]  # norms are not pulled to 0
        groups: list[dict[str, Any]] = [{"params": wide, "weight_decay": recipe.weight_decay}]
        if flat:
            groups.append({"params": flat, "weight_decay": 0.0})
        # One kernel for all parameters; a LoRA has hundreds of small ones.
        self._adam = AdamW(groups, lr=self.lr, fused=True)

    def rate(self, step: int) -> float:
        """Return the learning rate of step `step`, from 0."""
        return self.lr * rate_factor(self._recipe, self._steps, step)

    def clip(self) -> torch.Tensor:
        """Shorten the gradient to the recipe's length and return what its length was."""
        longest = self._recipe.clip or math.inf
        return torch.nn.utils.clip_grad_norm_(self.parameters.values(), longest)

    def step(self, step: int) -> None:
        """Make step `step` (from 0) with the gradients that are there, and drop them."""
        for group in self._adam.param_groups:
            group["lr"] = self.rate(step)
        self._adam.step()
        self.drop_gradients()

    def drop_gradients(self) -> None:
        """Forget what was summed up."""
        self._adam.zero_grad(set_to_none=True)

    def gradients(self) -> list[torch.Tensor]:
        """Return the gradients, in a fixed order; a parameter without one gets zeros."""
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [each.grad for each in self.parameters.values() if each.grad is not None]

    def moments(self) -> dict[str, torch.Tensor]:
        """Return copies of AdamW's moments on the CPU, as a TrainingState names them; empty before step 1."""
        return {
            prefix + name: kept[moment].detach().to("cpu", copy=True)
            for name, parameter in self.parameters.items()
            if (kept := self._adam.state.get(parameter))
            for prefix, moment in _MOMENT_NAMES.items()
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], step: int) -> None:
        """Put moments back, as they were after `step` steps."""
        self._adam.state.clear()
        for name, parameter in self.parameters.items():
            first, second = (tensors.get(prefix + name) for prefix in _MOMENT_NAMES)
            if first is None or second is None:
                continue
            kept = {
                "step": torch.tensor(float(step), device=parameter.device)
            }  # the fused kernel's place for it
            for moment, tensor in zip(_MOMENT_NAMES.values(), (first, second), strict=True):
                kept[moment] = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
            self._adam.state[parameter] = kept
