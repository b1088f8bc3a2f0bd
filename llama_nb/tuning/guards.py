"""What must not happen silently in training: numbers that are none, a run that diverges, layers that lie.

Each guard says in a sentence what it saw and what to do. Whoever runs the loop keeps the last good state.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from llama_nb.core.errors import TrainingError
from llama_nb.engines.decoding import first_bad_layer
from llama_nb.tuning.packing import MicroBatch
from llama_nb.tuning.recipe import Recipe

_SMOOTHING: Final = 0.9  # of the mean of losses: about the last ten steps
# A model that knows nothing loses log(vocabulary) a token; one far above it was made worse than that.
_WORSE_THAN_NOTHING: Final = 1.25
_HOPELESS: Final = 4.0
_STEPS_WORSE: Final = 3
# Slower: the smoothed loss is far above its best for so many steps.
_STEPS_ABOVE: Final = 20


@dataclass(slots=True)
class DivergenceWatch:
    """Looks at the loss of each step and says when a run has diverged.

    Parameters
    ----------
    vocabulary
        How many tokens the model knows.
    """

    vocabulary: int
    steps: int = 0
    first: float = 0.0
    smoothed: float = 0.0
    best: float = math.inf
    worse: int = 0
    above: int = 0

    def look(self, loss: float) -> str:
        """Take the loss of one step; return why training must not go on, or nothing."""
        if not self.steps:
            self.first = self.smoothed = loss
        self.steps += 1
        self.smoothed = _SMOOTHING * self.smoothed + (1 - _SMOOTHING) * loss
        limit = self.limit
        self.worse = self.worse + 1 if loss > limit else 0
        self.above = self.above + 1 if self.smoothed > self.best + max(1.0, self.best) else 0
        self.best = min(self.best, self.smoothed)
        if loss > _HOPELESS * limit or self.worse >= _STEPS_WORSE:
            return (
                f"The loss is {loss:.4g}, more than that of a model that knows nothing "
                f"({math.log(self.vocabulary):.3g}); it began at {self.first:.4g}."
            )
        if self.above >= _STEPS_ABOVE:
            return (
                f"The loss has been far above its best for {self.above} steps: {self.smoothed:.4g} on "
                f"average, and it was {self.best:.4g}."
            )
        return ""

    def verdict(self, last: float) -> str:
        """Return why a run that made its last step did not end well, or nothing; `last` is its loss then."""
        if math.isfinite(last) and last <= self.limit and not self.above:
            return ""
        return f"The training made it worse: its loss is {last:.4g} now, and it was {self.best:.4g} at best."

    @property
    def limit(self) -> float:
        """The loss above which a step is suspicious."""
        return _WORSE_THAN_NOTHING * max(math.log(self.vocabulary), self.first)

    @property
    def healthy(self) -> bool:
        """Whether nothing was suspicious in the last step: what was computed with may be kept."""
        return not self.worse and not self.above

    def to_numbers(self) -> dict[str, float]:
        """Return what it remembers, as JSON numbers."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if math.isfinite(value)}

    @classmethod
    def of(cls, vocabulary: int, numbers: Mapping[str, float] | None) -> "DivergenceWatch":
        """Return a watch that goes on with what another remembered."""
        return cls(**{**(numbers or {}), "vocabulary": vocabulary})  # type: ignore[arg-type]


def divergence_hint(lr: float) -> str:
    """Return what to do about a run that diverged at the learning rate `lr`."""
    return (
        "The last good state is kept. Go on from it with a lower learning rate: "
        f"%llama train lr {lr / 10:.1g}, then %llama train resume."
    )


def check_weights(module: Any) -> None:
    """Refuse a module that holds numbers that are none, naming the tensor.

    Raises
    ------
    TrainingError
        If a floating tensor of it has NaN or infinity.
    """
    for name, tensor in module.named_parameters():
        if tensor.is_floating_point() and not bool(tensor.detach().sum(dtype=torch.float32).isfinite()):
            bad = int((~tensor.detach().isfinite()).sum())
            if bad:
                raise TrainingError(
                    f"The base has {bad:,} numbers that are NaN or infinite, first in {name}: its files are "
                    "damaged.",
                    "Load the model again, from its source.",
                )


def not_finite(module: Any, batch: MicroBatch, step: int, loss: float, norm: float) -> TrainingError:
    """Return the error for a step whose loss or gradient is no number, with the place where it begins."""
    damaged = _damage(module)
    if damaged is not None:
        return damaged
    narrow = module.dtype != torch.float32
    wider = "Load the model with --dtype float32, or use" if narrow else "Use"
    hint = f"{wider} a lower learning rate (%llama train lr)."
    if math.isfinite(loss):
        return TrainingError(
            f"The gradient of step {step:,} is {norm}, at a loss of {loss:.4g}: it overflows in "
            f"{_name(module.dtype)}. The step was not made, and the last good state is kept.",
            hint,
        )
    module.eval()
    with torch.no_grad():
        where = first_bad_layer(module, batch.ids[0].tolist())
    return TrainingError(
        f"The loss of step {step:,} is {loss}, first in {where}. The step was not made, and the last good "
        "state is kept.",
        hint,
    )


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch says that memory ran out, on a GPU or not."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def no_memory(error: RuntimeError, step: int, recipe: Recipe) -> TrainingError:
    """Return the error for a step that the memory does not hold."""
    ways = [f"--batch 1 --accumulate {recipe.batch * recipe.accumulate}"] if recipe.batch > 1 else []
    ways += ["--checkpointing on"] if not recipe.checkpointing else []
    ways.append("a smaller --max-tokens or --rank")
    return TrainingError(
        f"The memory ran out in step {step:,}: {str(error).splitlines()[0][:200]}",
        f"The last good state is kept. Begin a new run with {', '.join(ways)}.",
    )


def check_quantised(module: Any) -> None:
    """Refuse 4-bit layers whose gradients would be wrong without a sign.

    On CPUs with AVX512-BF16, bitsandbytes re-packs them for inference, and what goes back through a re-packed
    layer is wrong (see loading/quantize/bitsandbytes_layers.py).

    Raises
    ------
    TrainingError
        If a layer is re-packed, or would be by the next reply.
    """
    if module.device.type != "cpu":
        return
    for layer in module.modules():
        packed = getattr(getattr(layer, "weight", None), "quant_state", None)
        packed = getattr(packed, "packing_format_for_cpu", False)
        if packed or getattr(layer, "support_avx512bf16_for_cpu", False):
            raise TrainingError(
                "The 4-bit weights are packed for inference on this CPU; gradients through them are wrong.",
                "Load the model by llama-nb with --quant nf4: its layers are kept as training needs them.",
            )


def _damage(module: Any) -> TrainingError | None:
    try:
        check_weights(module)
    except TrainingError as error:
        return error
    return None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
