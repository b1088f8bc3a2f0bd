"""A run that learns from preferences: from its folder alone, measured on others, and refused early."""

import pytest
import torch

from llama_nb.core.errors import DataError, TrainingError
from llama_nb.tuning.data import read_data
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.starting import start
from tests.tuning.runs import PERSONA, tiny

PREFERENCES = [
    {"prompt": record["prompt"], "chosen": record["completion"], "rejected": "I do not know."}
    for record in PERSONA
]
DPO = {
    "objective": "dpo",
    "rank": 4,
    "steps": 12,
    "batch": 4,
    "lr": 5e-3,
    "sample_every": 0,
    "sample_tokens": 2,
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    torch.set_num_threads(1)
    made = tiny(tmp_path_factory.mktemp("tiny"))
    yield made
    made.engine.close()


def test_what_is_chosen_becomes_likelier_than_what_is_rejected(parts, tmp_path):
    recipe = Recipe.of(**DPO, validation=4, evaluate_every=4)
    run = start(parts, read_data(PREFERENCES), recipe, name="polite", root=tmp_path / "runs").wait(90)
    assert run.status.state == "finished"
    losses = [record["loss"] for record in run.metrics() if "loss" in record]
    held = [record["validation_loss"] for record in run.metrics() if "validation_loss" in record]
    # Without any preference the loss of a pair is log 2.
    assert losses[0] == pytest.approx(0.6931, abs=1e-3)
    assert losses[-1] < 0.6
    assert held[-1] < 0.6
    data = run.files.data
    assert (data["rows"], data["validation_rows"]) == (36, 4)
    assert run.files.plan["max_tokens"] == 256
    assert (run.folder / "adapter" / "adapter_model.safetensors").is_file()


def test_what_is_wrong_is_said_before_there_is_a_folder(parts, tmp_path):
    root = tmp_path / "runs"
    with pytest.raises(DataError, match=r"data\[0\]: this is no preference"):
        start(parts, read_data(PERSONA), Recipe.of(**DPO), name="odd", root=root)
    with pytest.raises(DataError, match=r"data\[0\]: a preference has two answers"):
        start(parts, read_data(PREFERENCES), Recipe(), name="odd", root=root)
    with pytest.raises(TrainingError, match="DPO compares the model with what it was"):
        Recipe.of(**DPO, method="full")
    assert not root.exists()
