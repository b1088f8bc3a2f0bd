"""What a training run is to do, as one frozen value that a file can hold.

Checked by the table of parameters when it is made. Knows neither data nor model: `steps_for` is told how many
batches an epoch has.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from llama_nb.core.errors import TrainingError, did_you_mean
from llama_nb.tuning.parameters import PARAMETERS, TRACKERS, read_number, read_word

HELP: Final[Mapping[str, tuple[str, str]]] = {
    name: (parameter.help, parameter.turn) for name, parameter in PARAMETERS.items()
}
TARGETS: Final = ("attention", "all-linear")
# Without a length of its own a run has three epochs; small data is gone through more often, up to twenty
# times, until so many steps are made, since three of them would teach nothing.
_EPOCHS: Final = 3
_MOST_EPOCHS: Final = 20
_FEWEST_STEPS: Final = 60
# What is usual for a LoRA on a model 4,096 wide (Llama 3.1 8B). AdamW's best rate for matrices goes with the
# inverse of the width (arXiv:2203.03466), so narrower models learn at a higher one.
_USUAL_LR: Final = 2e-4
_USUAL_WIDTH: Final = 4096
_HIGHEST_LR: Final = 1e-2
# Every weight moves in full training, and preferences are followed in small steps: a tenth of it.
_CAREFUL: Final = 0.1
# How often a run validates, saves and asks its prompts, unless the recipe says. Answers come token by token:
# they cost a small model more than the steps between them.
_A_RUN: Final = {"evaluate": 10, "save": 10, "sample": 4}
_TRUE: Final = ("true", "on", "yes", "1")
_FALSE: Final = ("false", "off", "no", "0")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train; `HELP` says of every parameter what it is and what happens when it is turned.

    Numbers given as text ("2e-4") are accepted. `Recipe.of(**options)` refuses unknown names with the
    nearest, and makes alpha twice a rank that is given alone.

    Parameters
    ----------
    target
        "attention" (q, k, v and o), "all-linear", or names of layers: a list, or "q_proj,v_proj".
    warmup, validation
        Below 1 a share (of the steps, of the rows), from 1 on a number of them.
    steps, epochs
        The length of the run, by one of them; else three epochs, or more of small data.
    evaluate_every, save_every, sample_every
        Steps; 0 is at the end only, None ten times a run (samples: four times).
    lr, max_tokens, checkpointing
        None: decided for the model and the memory when the run begins (the rate: `for_model`).

    Raises
    ------
    TrainingError
        If a value is not of its kind or outside its range.
    """

    rank: int = 16
    alpha: float = 32.0
    target: str | tuple[str, ...] = "attention"
    dropout: float = 0.0
    method: str = "lora"
    objective: str = "sft"
    beta: float = 0.1
    lr: float | None = None
    schedule: str = "cosine"
    warmup: float = 0.03
    weight_decay: float = 0.0
    clip: float = 1.0
    steps: int | None = None
    epochs: float | None = None
    batch: int = 4
    accumulate: int = 1
    max_tokens: int | None = None
    packing: bool = True
    mask: str = "assistant"
    overlong: str = "cut"
    validation: float = 0.05
    seed: int = 0
    evaluate_every: int | None = None
    save_every: int | None = None
    keep_checkpoints: int = 3
    sample_prompts: tuple[str, ...] = ()
    sample_every: int | None = None
    sample_tokens: int = 64
    checkpointing: bool | None = None
    report_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, parameter in PARAMETERS.items():
            if parameter.limits is not None:
                self._set(name, read_number(name, getattr(self, name)))
            elif parameter.choices and name != "report_to":
                self._set(name, read_word(name, getattr(self, name)))
        self._set("target", _targets(self.target))
        self._set("packing", _switch("packing", self.packing))
        self._set("checkpointing", _switch("checkpointing", self.checkpointing, optional=True))
        self._set("sample_prompts", _prompts(self.sample_prompts))
        self._set("report_to", _trackers(self.report_to))
        for name in ("warmup", "validation"):
            _share_or_count(name, getattr(self, name))
        if self.steps is not None and self.epochs is not None:
            raise TrainingError(
                f"The recipe has both steps={self.steps} and epochs={self.epochs:g}.",
                "Give one of them: steps counts optimiser steps, epochs goes through the data.",
            )
        if self.objective == "dpo" and self.method == "full":
            raise TrainingError(
                "DPO compares the model with what it was, and with every weight trained that is gone.",
                "Train an adapter: method lora, dora or rslora.",
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def of(cls, **options: Any) -> "Recipe":
        """Return the recipe of these options; None leaves a parameter as it is by default.

        Raises
        ------
        TrainingError
            If a name is unknown (the hint has the nearest), or a value wrong.
        """
        for name in options:
            if name not in PARAMETERS:
                raise TrainingError(
                    f"{name!r} is not a parameter of training.",
                    did_you_mean(name, PARAMETERS) or f"The parameters are: {', '.join(PARAMETERS)}.",
                )
        given = {name: value for name, value in options.items() if value is not None}
        recipe = cls(**given)
        if "alpha" not in given and "rank" in given:
            recipe = dataclasses.replace(recipe, alpha=2.0 * recipe.rank)
        return recipe

    def for_model(self, hidden: int) -> "Recipe":
        """Return the recipe with a learning rate: its own, else what is usual for a model `hidden` wide."""
        if self.lr is not None:
            return self
        usual = min(_HIGHEST_LR, _USUAL_LR * _USUAL_WIDTH / hidden)
        careful = self.method == "full" or self.objective == "dpo"
        return dataclasses.replace(self, lr=float(f"{usual * (_CAREFUL if careful else 1):.2g}"))

    def replace(self, **changes: Any) -> "Recipe":
        """Return a copy with some parameters changed; unknown names are refused with the nearest one."""
        return Recipe.of(**{**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as plain JSON values; `Recipe.of(**values)` gives the same recipe again."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def steps_for(self, per_epoch: int) -> int:
        """Return the optimiser steps of the run when an epoch has `per_epoch` batches."""
        if self.steps is not None:
            return self.steps
        if self.epochs is not None:
            return max(1, math.ceil(per_epoch * self.epochs / self.accumulate))
        usual, most = (math.ceil(per_epoch * epochs / self.accumulate) for epochs in (_EPOCHS, _MOST_EPOCHS))
        return max(usual, min(_FEWEST_STEPS, most))

    def warmup_steps(self, steps: int) -> int:
        """Return how many of `steps` the learning rate rises."""
        return math.ceil(self.warmup * steps) if self.warmup < 1 else min(steps, int(self.warmup))

    def every(self, name: str, steps: int) -> int:
        """Return after how many steps `name` ("evaluate", "save", "sample") is due; 0 is only at the end."""
        given: int | None = getattr(self, f"{name}_every")
        return max(1, steps // _A_RUN[name]) if given is None else given

    def validation_rows(self, rows: int) -> int:
        """Return how many of `rows` are held back to measure on; at least one stays to learn from."""
        asked = math.ceil(self.validation * rows) if self.validation < 1 else int(self.validation)
        return max(0, min(asked, rows - 1))


def _targets(given: Any) -> str | tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else list(given or ())
    cleaned = tuple(dict.fromkeys(str(name).strip() for name in names if str(name).strip()))
    if not cleaned:
        raise TrainingError(
            "target names no layer.", "It is attention, all-linear, or names such as q_proj,v_proj."
        )
    if len(cleaned) == 1 and cleaned[0].lower().replace("_", "-") in TARGETS:
        return cleaned[0].lower().replace("_", "-")
    return cleaned


def _switch(name: str, given: Any, *, optional: bool = False) -> bool | None:
    if isinstance(given, bool) or (given is None and optional):
        return given
    word = str(given).strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise TrainingError(f"{name} is {str(given)[:60]!r}.", "It is true or false.")
    return word in _TRUE


def _prompts(given: Any) -> tuple[str, ...]:
    prompts = (given,) if isinstance(given, str) else tuple(given or ())
    for prompt in prompts:
        if not isinstance(prompt, str) or not prompt.strip():
            raise TrainingError(
                f"sample_prompts holds {str(prompt)[:60]!r}.", "Each prompt is a text of at least one word."
            )
    return prompts


def _trackers(given: Any) -> tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else tuple(given or ())
    cleaned = tuple(dict.fromkeys(str(name).strip().lower() for name in names if str(name).strip()))
    for name in cleaned:
        if name not in TRACKERS:
            near = did_you_mean(name, TRACKERS) or f"It is one of: {', '.join(TRACKERS)}."
            raise TrainingError(f"report_to names {name[:60]!r}.", near)
    return cleaned


def _share_or_count(name: str, value: float) -> None:
    if value >= 1 and not float(value).is_integer():
        raise TrainingError(
            f"{name} is {value:g}: from 1 on it is a whole number.",
            f"{PARAMETERS[name].help.capitalize()}.",
        )
