"""Every parameter of a recipe: what it is, what happens when it is turned, and which values it may have.

Words and ranges only: the panel, the help and the checks of `tuning/recipe.py` all read this table. Knows
nothing of models, so whether a layer's name exists is said where the adapter is made.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from llama_nb.core.errors import TrainingError, did_you_mean
from llama_nb.core.sampling import Range

METHODS: Final = ("lora", "dora", "rslora", "full")
OBJECTIVES: Final = ("sft", "dpo")
SCHEDULES: Final = ("cosine", "linear", "constant")
MASKS: Final = ("assistant", "last", "all")
OVERLONG: Final = ("cut", "skip", "error")
TRACKERS: Final = ("trackio", "wandb", "tensorboard")
_MANY: Final = math.inf
_LONG: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `help` says what it is, `turn` what happens when it goes up or down.

    `limits` are those of a number, `choices` those of a word, `optional` parameters may be None.
    """

    help: str
    turn: str
    limits: Range | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False


def _number(
    help_: str,
    turn: str,
    low: float,
    high: float,
    *,
    open_: bool = False,
    whole: bool = False,
    optional: bool = False,
) -> Parameter:
    return Parameter(help_, turn, Range(low, high, help_, open_, whole), (), optional)


def _word(help_: str, turn: str, choices: tuple[str, ...]) -> Parameter:
    return Parameter(help_, turn, None, choices)


PARAMETERS: Final[Mapping[str, Parameter]] = {
    "rank": _number(
        "the width of the two small matrices that LoRA learns for each layer",
        "Up: more can be learned, with more memory, and small data is learned by heart sooner. "
        "Down: a smaller adapter that keeps closer to the base.",
        1,
        4096,
        whole=True,
    ),
    "alpha": _number(
        "how strongly the adapter speaks: its update is scaled by alpha / rank",
        "Up: works like a higher learning rate. Down: a gentler adapter. Twice the rank is usual.",
        0,
        65_536,
        open_=True,
    ),
    "target": Parameter(
        "which layers get an adapter: attention, all-linear, or names such as q_proj,v_proj",
        "More layers learn more at the same rank, and take more memory and time.",
    ),
    "dropout": _number(
        "the share of the adapter's inputs that each step leaves out at random",
        "Up: small data is learned by heart less easily, and learning is slower. 0 is usual for large data.",
        0,
        0.9,
    ),
    "method": _word(
        "what is trained: lora, dora (direction and magnitude apart), rslora (scaled by the root of the "
        "rank), or full (every weight)",
        "dora learns a little more and takes longer; rslora makes high ranks count; full needs memory for "
        "all weights, their gradients and moments, and cannot be switched off.",
        METHODS,
    ),
    "objective": _word(
        "what is learned: sft imitates the answers, dpo prefers one answer over another",
        "dpo needs pairs of chosen and rejected answers, and twice the time per row.",
        OBJECTIVES,
    ),
    "beta": _number(
        "dpo: how closely the model stays with what it was",
        "Up: it changes less. Down: it follows the preferences further, and may forget how to write.",
        0,
        100,
        open_=True,
    ),
    "lr": _number(
        "the learning rate: how far each step goes; none is what is usual for a model of this width",
        "Up: learns faster, until the loss jumps or grows. Down: safer and slower. Halve it when the loss "
        "is restless, double it when it hardly falls.",
        0,
        _MANY,
        open_=True,
        optional=True,
    ),
    "schedule": _word(
        "how the learning rate goes on after the warm-up: cosine and linear fall to 0, constant stays",
        "Falling rates end calmer; constant suits runs that may be prolonged.",
        SCHEDULES,
    ),
    "warmup": _number(
        "how long the learning rate rises from 0: a share of all steps below 1, else a number of steps",
        "Up: a gentler start. Down: the first steps, when AdamW knows little, go further.",
        0,
        _LONG,
    ),
    "weight_decay": _number(
        "how strongly AdamW pulls the trained weights towards 0",
        "Up: smaller updates, less learned by heart. 0 is usual for LoRA.",
        0,
        10,
    ),
    "clip": _number(
        "the longest gradient that a step takes as it is; longer ones are shortened. 0 is off",
        "Down: a single odd batch moves the weights less. Up or off: jumps are possible.",
        0,
        _MANY,
    ),
    "steps": _number(
        "how many optimiser steps the run has, instead of epochs",
        "Up: learns longer. Stop when the validation loss rises while the training loss still falls.",
        1,
        _LONG,
        whole=True,
        optional=True,
    ),
    "epochs": _number(
        "how often the run goes through the data",
        "Up: learns longer, and sooner or later by heart: watch the validation loss. Down: ends sooner.",
        0,
        100_000,
        open_=True,
        optional=True,
    ),
    "batch": _number(
        "how many rows are computed at once",
        "Up: steadier gradients and better use of the machine, with more memory. Down: less memory, and "
        "more, noisier steps per epoch.",
        1,
        65_536,
        whole=True,
    ),
    "accumulate": _number(
        "how many batches are summed up before a step is made",
        "Up: the gradient of a larger batch without its memory, and fewer steps per epoch.",
        1,
        65_536,
        whole=True,
    ),
    "max_tokens": _number(
        "the longest row in tokens; when packing, how many tokens a row holds",
        "Up: long conversations stay whole; memory and time grow. Down: they are cut or skipped.",
        8,
        _LONG,
        whole=True,
        optional=True,
    ),
    "packing": Parameter(
        "whether several short examples share a row, each seeing only itself",
        "On: no time is lost on padding, and an epoch has fewer steps. Off: more, smaller steps, which "
        "suits small data.",
    ),
    "mask": _word(
        "which tokens are learned: the assistant's, only its last turn, or all",
        "assistant teaches how to answer; all teaches to write the questions too.",
        MASKS,
    ),
    "overlong": _word(
        "what happens to rows longer than max_tokens: cut, skip or error",
        "cut keeps the beginning of each (plain texts go on in further rows); skip keeps only whole ones; "
        "error stops before the first step.",
        OVERLONG,
    ),
    "validation": _number(
        "what is held back to measure on: a share of the rows below 1, else a number of rows. 0 is none",
        "Up: a steadier measure, with less to learn from. 0: nothing shows when it learns by heart.",
        0,
        _LONG,
    ),
    "seed": _number(
        "the same seed gives the same run: order, dropout and the adapter's first values",
        "Another number shows how much of a result is luck.",
        0,
        2**32 - 1,
        whole=True,
    ),
    "evaluate_every": _number(
        "after how many steps the validation loss is measured; 0 is only at the end, none is ten times a run",
        "Up: faster. Down: a finer curve.",
        0,
        _LONG,
        whole=True,
        optional=True,
    ),
    "save_every": _number(
        "after how many steps a checkpoint is kept; 0 is only at the end, none is ten times a run",
        "Down: less is lost in a power cut, and more is written.",
        0,
        _LONG,
        whole=True,
        optional=True,
    ),
    "keep_checkpoints": _number(
        "how many of the newest checkpoints stay, beside the best one",
        "Up: more to go back to, and more disk.",
        1,
        100_000,
        whole=True,
    ),
    "sample_prompts": Parameter(
        "questions that are asked again and again while it learns",
        "Each is answered before and after: what the loss cannot show.",
    ),
    "sample_every": _number(
        "after how many steps they are asked; 0 is only at the end, none is four times a run",
        "Down: finer, and training waits for each answer.",
        0,
        _LONG,
        whole=True,
        optional=True,
    ),
    "sample_tokens": _number(
        "the longest of these answers, in tokens",
        "Up: longer answers, for which training waits.",
        1,
        100_000,
        whole=True,
    ),
    "checkpointing": Parameter(
        "whether activations are computed again instead of kept; none is when the memory needs it",
        "On: much less memory, about a third more time. Off: faster.",
        optional=True,
    ),
    "report_to": Parameter(
        "trackers that get the figures too: trackio, wandb, tensorboard",
        "They get losses and rates, by transformers' own integration; wandb sends them to its server.",
        choices=TRACKERS,
    ),
}


def read_number(name: str, value: Any) -> float | int | None:
    """Return the number that `value` says for the parameter `name`; texts such as "2e-4" are read.

    Raises
    ------
    TrainingError
        If it is no number, not whole where it must be, or outside its range.
    """
    parameter = PARAMETERS[name]
    limits = parameter.limits
    assert limits is not None
    if value is None and parameter.optional:
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError):
        raise TrainingError(
            f"{name} is {str(value)[:60]!r}, which is not a number.", f"Allowed: {limits}; {limits.meaning}."
        ) from None
    inside = limits.low < number if limits.low_open else limits.low <= number
    if not inside or not number <= limits.high or not math.isfinite(number):
        raise TrainingError(
            f"{name} is {str(value)[:60]}, outside its range.", f"Allowed: {limits}; {limits.meaning}."
        )
    if not limits.whole:
        return number
    if not number.is_integer():
        raise TrainingError(f"{name} is {value}, but must be a whole number.", f"Allowed: {limits}.")
    return int(value) if isinstance(value, int) else int(number)


def read_word(name: str, value: Any) -> str:
    """Return `value` if it is one of the words that the parameter `name` knows.

    Raises
    ------
    TrainingError
        If it is none of them; the hint has the nearest.
    """
    choices = PARAMETERS[name].choices
    word = str(value).strip().lower().replace("_", "-")
    if word not in choices:
        near = did_you_mean(word, choices)
        known = f"It is one of: {', '.join(choices)}."
        raise TrainingError(f"{name} is {str(value)[:60]!r}.", f"{near} {known}".strip())
    return word
