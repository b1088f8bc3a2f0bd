"""Trackers: transformers' own callbacks get the figures of a run, and only where a recipe names one."""

import sys

import pytest
from transformers import TrainerCallback, integrations

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.ranks import ALONE
from llama_nb.tuning.trackers import Trackers
from tests.tuning.loops import RECIPE, learn


def test_losses_and_rates_reach_a_tracker_step_by_step(monkeypatch, tmp_path):
    told = []

    class Tracker(TrainerCallback):
        def on_train_begin(self, args, state, control, **more):
            told.append(("begin", state.max_steps))

        def on_log(self, args, state, control, logs=None, **more):
            told.append((state.global_step, sorted(logs)))

        def on_train_end(self, args, state, control, **more):
            told.append(("end", state.global_step))

    monkeypatch.setattr(integrations, "get_reporting_integration_callbacks", lambda names: [Tracker])
    learn(RECIPE.replace(report_to="trackio", steps=2, evaluate_every=0), folder=str(tmp_path))
    figures = ["grad_norm", "learning_rate", "loss", "tokens"]
    assert told == [
        ("begin", 2), (0, ["eval_loss"]), (1, figures), (2, figures), (2, ["eval_loss"]), ("end", 2),
    ]  # fmt: skip


def test_a_tracker_that_is_not_installed_is_named_before_the_first_step(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)

    def missing(names):
        raise RuntimeError("TensorBoardCallback requires tensorboard to be installed.")

    monkeypatch.setattr(integrations, "get_reporting_integration_callbacks", missing)
    with pytest.raises(TrainingError, match="requires tensorboard") as caught:
        Trackers(RECIPE.replace(report_to="tensorboard"), "", 2)
    assert "pip install tensorboard" in caught.value.hint


def test_without_one_nothing_is_imported_and_other_processes_report_nothing(monkeypatch):
    def never(names):
        raise AssertionError(names)

    monkeypatch.setattr(integrations, "get_reporting_integration_callbacks", never)
    for recipe, rank in ((RECIPE, ALONE.rank), (RECIPE.replace(report_to="wandb"), 1)):
        trackers = Trackers(recipe, "", 2, rank)
        trackers.log(1, {"loss": 1.0})
        trackers.close()
