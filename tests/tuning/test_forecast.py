"""What a run will take: arithmetic and one tried micro-batch, which change nothing in the model."""

import contextlib

import pytest
import torch

from llama_nb.tuning import forecast as module_of_it
from llama_nb.tuning.forecast import forecast
from llama_nb.tuning.preparing import prepare
from llama_nb.tuning.starting import start
from tests.tuning.runs import RECIPE, persona, tiny


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The parts of a finished run, and what it computed on."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("run")
    parts = tiny(root / "tiny")
    run = start(parts, persona(), RECIPE.replace(steps=1), name="persona", root=root).wait(90)
    yield parts, prepare(run.files, parts), run
    parts.engine.close()


def foretold(parts, prepared, recipe=None, steps=10):
    adapters = parts.adapters
    count = adapters.facts("persona").parameters
    recipe = recipe or prepared.recipe
    return forecast(parts, recipe, prepared.batches, steps, count, lambda: adapters.training("persona"))


def test_a_forecast_leaves_the_model_as_it_was(prepared):
    parts, data, _ = prepared
    weights = {name: value.clone() for name, value in parts.module.state_dict().items()}
    random = torch.get_rng_state()
    found = foretold(parts, data)
    assert found.seconds > 0
    assert found.checkpointing is False
    assert found.memory > parts.loaded.bytes
    assert torch.equal(torch.get_rng_state(), random)
    after = parts.module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in weights.items())
    assert not parts.module.training
    assert not any(each.requires_grad or each.grad is not None for each in parts.module.parameters())


def test_more_steps_take_longer_and_no_more_memory(prepared, monkeypatch):
    parts, data, _ = prepared
    monkeypatch.setattr(module_of_it, "_seconds", lambda *_: 0.5)
    monkeypatch.setattr(module_of_it, "memory_now", lambda _module: 10**9)
    few, many = foretold(parts, data, steps=10), foretold(parts, data, steps=1000)
    assert (few.seconds, many.seconds) == (0.5 * 2 * 10, 0.5 * 2 * 1000)
    assert few.memory == many.memory


def test_activations_are_computed_again_where_memory_is_short(prepared, monkeypatch):
    parts, data, _ = prepared
    monkeypatch.setattr(module_of_it, "memory_now", lambda _module: 10**9)
    open_recipe = data.recipe.replace(checkpointing=None)
    roomy = foretold(parts, data, open_recipe)
    monkeypatch.setattr(module_of_it, "available_memory", lambda _device: 0)
    tight = foretold(parts, data, open_recipe)
    assert (roomy.checkpointing, tight.checkpointing) == (False, True)
    assert tight.memory <= roomy.memory
    chosen = foretold(parts, data, data.recipe.replace(checkpointing=False))
    assert chosen.checkpointing is False


def test_what_was_decided_is_kept_for_the_next_life(prepared):
    parts, _, run = prepared
    plan = run.files.plan
    assert (plan["max_tokens"], plan["checkpointing"]) == (128, False)
    run.files.write_plan({"checkpointing": True, "max_tokens": 64})
    with contextlib.ExitStack() as back:
        back.callback(run.files.write_plan, {"checkpointing": False, "max_tokens": 128})
        again = prepare(run.files, parts)
    assert (again.recipe.max_tokens, again.recipe.checkpointing) == (64, True)


def test_what_the_process_holds_already_is_measured(prepared, monkeypatch):
    parts, data, _ = prepared
    foretold_at = {}
    for held in (10**9, 2 * 10**9):
        monkeypatch.setattr(module_of_it, "memory_now", lambda _module, held=held: held)
        foretold_at[held] = foretold(parts, data).memory
    step = foretold_at[10**9] - 10**9
    assert 0 < step < 200e6
    assert foretold_at[2 * 10**9] - 2 * 10**9 == step
