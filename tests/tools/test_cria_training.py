"""Model, optimiser and training loop, on toy sizes."""

import argparse
import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, Llama4ForCausalLM, LlamaForCausalLM

from tools import train_cria
from tools.cria import experts
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


def sister(trained: Path):
    """A model with experts, on one flat vector."""
    learned = Tokenizer.from_file(str(trained / "tokenizer.json"))
    model = models.build("moe", learned, 1, SHAPE | {"num_hidden_layers": 5, "num_key_value_heads": 2})
    models.attach(model, models.flatten(model))
    return model


def test_the_sister_with_experts_computes_what_its_own_forward_does(trained):
    model = sister(trained)
    ids = torch.randint(0, 500, (2, 70), generator=torch.Generator().manual_seed(0))
    loads = experts.Loads(experts.fresh_loads(model))
    with torch.no_grad():
        lean, own = models.forward_of(model, loads)(ids), model(ids, use_cache=False).logits
    assert own.std() > 0.1
    assert torch.allclose(lean, own, atol=1e-5)
    assert [int(counts.sum()) for counts in loads.counts] == [140, 140]
    assert float(loads.imbalance) == pytest.approx(2.0)  # one a layer where the running shares are even


def test_an_expert_that_got_much_costs_more_and_the_others_are_preferred(trained):
    model = sister(trained)
    running = experts.fresh_loads(model)
    for _ in range(200):
        experts.update(running, torch.tensor([[8.0] + [1.0] * 7, [1.0] * 8]))
    assert running[0].tolist() == pytest.approx([8 / 15] + [1 / 15] * 7, abs=0.02)
    assert running[1].tolist() == pytest.approx([1 / 8] * 8)
    loads = experts.Loads(running)
    logits = torch.zeros(10, 8, requires_grad=True)
    loads.add(logits, torch.zeros(10, dtype=torch.long))
    loads.imbalance.backward()
    assert logits.grad is not None
    assert bool((logits.grad[:, 0] > 0).all())
    assert bool((logits.grad[:, 1:] < 0).all())


def test_a_resumed_training_of_the_sister_equals_an_unbroken_one(tmp_path, monkeypatch):
    shape = SHAPE | {"num_hidden_layers": 4, "num_key_value_heads": 2, "intermediate_size_mlp": 40}
    stage = {
        "from_step": 0,
        "plan": [[64, 2], [48, 1]],
        "mixture": {"64": {"programs": 1, "german_chat": 1}, "48": {"code_file": 1, "german_story": 1}},
    }
    own = {
        "shape": shape,
        "balance": 0.01,
        "stages": [stage],
        "tokenizer_corpus": {"programs": 1, "german_chat": 1},
    }
    for name, stops in (("whole", [9]), ("broken", [2, 9])):
        (tmp_path / name).mkdir()
        args = options(tmp_path / name / "run", 4)
        args.architecture = "moe"
        Path(args.recipe).write_text(json.dumps(RECIPE | own))
        for stop in stops:
            steps = iter(range(100))
            monkeypatch.setattr(train_cria, "control", lambda _, n=steps, s=stop: {"stop": next(n) == s})
            train_cria.train(args)
    whole, broken = (tmp_path / name / "run" for name in ("whole", "broken"))
    assert torch.equal(weights(whole), weights(broken))
    loads = torch.load(whole / "checkpoint.pt", weights_only=True)["loads"]
    assert loads.shape == (2, 8)
    assert loads.sum(-1).tolist() == pytest.approx([1, 1])
    made = Llama4ForCausalLM.from_pretrained(whole / "export", dtype=torch.float32)
    assert made.config.moe_layers == [1, 3]


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


@pytest.mark.parametrize("architecture", ["dense", "moe"])
def test_the_optimiser_leaves_nothing_out(trained, architecture):
    learned = Tokenizer.from_file(str(trained / "tokenizer.json"))
    model = models.build(architecture, learned, 1, SHAPE | {"num_key_value_heads": 2})
    flat = models.flatten(model)
    models.attach(model, flat)
    before = flat.clone()
    optimiser = Optimiser(model, flat, Rates())
    optimiser.step(torch.randn(flat.numel(), generator=torch.Generator().manual_seed(1)), 0, 1.0)
    assert bool((flat != before).all())
