"""Model, optimiser and training loop, on toy sizes."""

import argparse
import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, LlamaForCausalLM

from tools import train_cria
from tools.cria import model as models
from tools.cria.optimiser import Optimiser, Rates, decay_now, orthogonal, plain_knots, schedule

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "head_dim": 8,
}
RECIPE = {
    "vocabulary": {"size": 500, "glued": 40}, "tokenizer_texts": 60, "shape": SHAPE,
    "rates": {"matrices": 0.02, "others": 0.004}, "warm_up": 2, "clip": 1.0, "decay_share": 0.4,
    "stages": [{"from_step": 0, "plan": [[64, 2], [48, 1]],
                "mixture": {"64": {"chat": 1, "additions": 1}, "48": {"copies": 1, "repeated_tokens": 1}}}],
}  # fmt: skip


def options(folder: Path, steps: int) -> argparse.Namespace:
    recipe = folder.parent / "recipe.json"
    recipe.write_text(json.dumps(RECIPE))
    return argparse.Namespace(
        out=str(folder),
        tokens=steps * 176,
        architecture="dense",
        seed=3,
        recipe=str(recipe),
        workers=0,
        save_every=1e9,
    )


def weights(folder: Path) -> torch.Tensor:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["flat"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    # Toy matrices are slower on several threads, and much slower on a busy machine.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train_cria.train(options(folder, 5))
    return folder


def test_a_resumed_training_equals_an_unbroken_one(trained, tmp_path, monkeypatch):
    whole_control = train_cria.control
    folder = tmp_path / "broken"
    steps = iter(range(100))
    monkeypatch.setattr(train_cria, "control", lambda out: {"stop": True} if next(steps) == 2 else {})
    train_cria.train(options(folder, 5))
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    monkeypatch.setattr(train_cria, "control", whole_control)
    train_cria.train(options(folder, 5))
    assert torch.equal(weights(folder), weights(trained))
    losses = [
        [json.loads(line)["loss"] for line in (run / "metrics.jsonl").open()] for run in (folder, trained)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 5


def test_a_stage_changes_the_mixture_on_the_way(trained, tmp_path):
    folder = tmp_path / "staged"
    args = options(folder, 5)
    later = {
        "from_step": 3,
        "plan": [[64, 2], [48, 1]],
        "mixture": {"64": {"story": 1}, "48": {"sum_sheet": 1}},
    }
    Path(args.recipe).write_text(json.dumps(RECIPE | {"stages": [*RECIPE["stages"], later]}))
    train_cria.train(args)
    first, second = (
        [json.loads(line)["loss"] for line in (run / "metrics.jsonl").open()] for run in (trained, folder)
    )
    assert first[:3] == second[:3]
    assert first[3] != second[3]


def test_what_is_exported_loads_and_computes_the_same(trained):
    loaded = LlamaForCausalLM.from_pretrained(trained / "export", dtype=torch.float32)
    text = AutoTokenizer.from_pretrained(trained / "export")
    ids = text("What is a token?", return_tensors="pt").input_ids
    with torch.no_grad():
        lean = models.forward_of(loaded)(ids)
        assert torch.allclose(lean, loaded(ids).logits, atol=1e-5)
    assert loaded.generation_config.eos_token_id == models.marks(text.backend_tokenizer)["eos_token_id"]


def test_the_sister_with_experts_has_a_forward_too(trained):
    learned = Tokenizer.from_file(str(trained / "tokenizer.json"))
    sister = models.build("moe", learned, 1, SHAPE | {"num_key_value_heads": 2})
    flat = models.flatten(sister)
    models.attach(sister, flat)
    ids = torch.tensor([learned.encode("What is a token?").ids])
    assert models.forward_of(sister)(ids).shape == (1, ids.shape[1], 500)
    assert any("router" in name for name, _ in sister.named_parameters())


def test_orthogonal_matrices_have_singular_values_near_one():
    stack = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(stack))
    assert values.min() > 0.4
    assert values.max() < 1.4
    assert torch.allclose(orthogonal(stack.transpose(1, 2)), orthogonal(stack).transpose(1, 2), atol=1e-5)


def test_the_schedule_warms_up_stays_and_decays():
    knots = plain_knots(15, 4, 1 / 3)
    factors = [schedule(step, knots) for step in range(15)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4:10] == [1.0] * 6
    assert factors[10:] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
    assert decay_now(knots, 6, 2) == [[0, 0.0], [4, 1.0], [6, 1.0], [8, 0.0]]


def test_the_optimiser_leaves_nothing_out(trained):
    learned = Tokenizer.from_file(str(trained / "tokenizer.json"))
    model = models.build("dense", learned, 1, SHAPE)
    flat = models.flatten(model)
    models.attach(model, flat)
    before = flat.clone()
    optimiser = Optimiser(model, flat, Rates())
    optimiser.step(torch.randn(flat.numel(), generator=torch.Generator().manual_seed(1)), 0, 1.0)
    assert bool((flat != before).all())
