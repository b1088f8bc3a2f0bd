"""Trackers that get the figures of a run too: trackio, wandb, TensorBoard, by transformers' own callbacks.

Nothing of transformers' Trainer is imported where a recipe names no tracker.
"""

import tempfile
from collections.abc import Mapping
from typing import Any

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.recipe import Recipe


class Trackers:
    """The callbacks of a recipe's `report_to`; without one, nothing.

    Parameters
    ----------
    folder
        Where those that write files put them; "" is a temporary folder.
    steps
        Of the run.
    rank
        Only the first process reports.

    Raises
    ------
    TrainingError
        If a tracker's library is not installed.
    """

    def __init__(self, recipe: Recipe, folder: str, steps: int, rank: int = 0) -> None:
        self._handler: Any = None
        if not recipe.report_to or rank:
            return
        from transformers import TrainerControl, TrainerState, TrainingArguments
        from transformers.integrations import get_reporting_integration_callbacks
        from transformers.trainer_callback import CallbackHandler

        self._arguments = TrainingArguments(
            folder or tempfile.gettempdir(), use_cpu=True, report_to="none", save_strategy="no"
        )
        self._state = TrainerState(
            max_steps=steps, is_local_process_zero=True, is_world_process_zero=True, epoch=0
        )
        self._control = TrainerControl()
        try:
            kinds = get_reporting_integration_callbacks(list(recipe.report_to))
            self._handler = CallbackHandler([kind() for kind in kinds], None, None, None, None)
        except (RuntimeError, ImportError) as error:
            raise TrainingError(
                f"report_to names {', '.join(recipe.report_to)}, and {str(error).splitlines()[0][:200]}",
                f"pip install {' '.join(recipe.report_to)}; or leave report_to out.",
            ) from None
        self._handler.on_train_begin(self._arguments, self._state, self._control)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Hand on the figures of a step."""
        if self._handler is not None:
            self._state.global_step = step
            self._handler.on_log(self._arguments, self._state, self._control, dict(figures))

    def close(self) -> None:
        """Say that the run is over."""
        if self._handler is not None:
            self._handler.on_train_end(self._arguments, self._state, self._control)
            self._handler = None
