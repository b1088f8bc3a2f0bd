"""What a run will take, said before its first step: memory by arithmetic, time by one tried micro-batch.

Decides whether activations are computed again instead of kept, where the recipe leaves that open.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from llama_nb.core.errors import LlamaError
from llama_nb.planner.job import Job, Target, Train
from llama_nb.planner.plan import part_bytes
from llama_nb.planner.shape import Shape
from llama_nb.runtime.devices import available_memory
from llama_nb.tuning.loss import trained_loss
from llama_nb.tuning.packing import BatchPlan
from llama_nb.tuning.preference import PreferencePlan
from llama_nb.tuning.training_mode import TrainingMode, memory_now, trained_parameters

if TYPE_CHECKING:
    from llama_nb.tuning.parts import Parts
    from llama_nb.tuning.recipe import Recipe

Batches: TypeAlias = BatchPlan | PreferencePlan

_REFERENCE: Final = 4 / 3  # preferences are compared with what the base alone makes of them: a forward pass
# The middle one of a few counts, without the first, which also loads code.
_TRIES: Final = 6
_ENOUGH_S: Final = 1.0
_THERE_ALREADY: Final = {"weights", "adapter", "overhead"}


@dataclasses.dataclass(frozen=True, slots=True)
class Forecast:
    """What is foretold of a run.

    Parameters
    ----------
    memory
        Bytes at the peak of a step, the whole process with the model in it (on a GPU: on the GPU); None where
        the model's shape is not known.
    seconds
        Of all steps.
    parameters
        How many numbers are trained.
    checkpointing
        Whether activations are computed again.
    """

    memory: int | None
    seconds: float
    parameters: int
    checkpointing: bool

    def to_plan(self) -> dict[str, Any]:
        """Return it as it stands in plan.json."""
        return dataclasses.asdict(self)


def forecast(
    parts: "Parts",
    recipe: "Recipe",
    batches: Batches,
    steps: int,
    parameters: int,
    trained: Callable[[], AbstractContextManager[None]],
) -> Forecast:
    """Return what a run will take; a micro-batch is computed there and back, and nothing is changed by it.

    Parameters
    ----------
    parameters
        How many numbers are trained.
    trained
        Switches to what is trained, for the block.
    """
    checkpointing, memory = _memory(parts, recipe, batches)
    recipe = dataclasses.replace(recipe, checkpointing=checkpointing)
    with trained(), TrainingMode(parts.module, recipe):
        seconds = _seconds(parts, batches) * (_REFERENCE if recipe.objective == "dpo" else 1.0)
    return Forecast(memory, seconds * recipe.accumulate * steps, parameters, checkpointing)


def _memory(parts: "Parts", recipe: "Recipe", batches: Batches) -> tuple[bool, int | None]:
    device = parts.loaded.device
    kind = "cpu" if device == "cpu" else "gpu"
    target = Target(device, None, kind=kind)  # type: ignore[arg-type] # one of two words
    try:
        jobs = [_job(parts, recipe, batches, again) for again in (False, True)]
        amounts = [part_bytes(job, target) for job in jobs]
    except LlamaError:  # a kind of model that plans do not know
        return bool(recipe.checkpointing), None
    more = [sum(each[name] for name in each.keys() - _THERE_ALREADY) for each in amounts]
    needed = more[0] > available_memory(device)
    checkpointing = needed if recipe.checkpointing is None else recipe.checkpointing
    if device == "cpu":  # what a notebook has imported and holds is measured, not foretold
        return checkpointing, memory_now(parts.module) + more[checkpointing]
    return checkpointing, sum(amounts[checkpointing].values())


def _job(parts: "Parts", recipe: "Recipe", batches: Batches, checkpointing: bool) -> Job:
    shape = Shape.from_config(parts.loaded.checked.config)
    loaded = parts.loaded
    train: Train = "full" if recipe.method == "full" else "qlora" if loaded.quant else "lora"
    first = batches.micro_batch(0)
    lines, width = first.ids.shape
    return Job(
        shape,
        quant=loaded.quant or "none",
        dtype=loaded.dtype,
        context=width,
        batch=lines,
        train=train,
        rank=recipe.rank,
        targets=_targets(parts, recipe),
        checkpointing=checkpointing,
        stored=loaded.bytes if train != "full" else None,
        trained=first.trained_tokens / first.trained.numel(),
    )


def _targets(parts: "Parts", recipe: "Recipe") -> tuple[str, ...]:
    from llama_nb.tuning.targets import resolve_target

    if recipe.method == "full":
        return ()
    return tuple(
        dict.fromkeys(name.rpartition(".")[2] for name in resolve_target(parts.module, recipe.target))
    )


def _seconds(parts: "Parts", batches: Batches) -> float:
    """Return the seconds that a micro-batch takes."""
    batch = batches.micro_batch(0)
    weights = trained_parameters(parts.module).values()
    took: list[float] = []
    while not took or (len(took) < _TRIES and sum(took) < _ENOUGH_S):
        started = time.perf_counter()
        trained_loss(parts.module, batch).backward()
        took.append(time.perf_counter() - started)
        for each in weights:
            each.grad = None
    return statistics.median(took[1:] or took)
