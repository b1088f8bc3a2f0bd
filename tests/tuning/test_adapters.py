"""Adapters in a module: off is exact, mixing adds up, training has its adapter alone, chats see theirs."""

import math

import pytest
import torch
from torch import nn

from llama_nb.core.adapter import NO_ADAPTER, mix_label, read_mix
from llama_nb.core.errors import AdapterError, TrainingError, UnsupportedError
from llama_nb.tuning.adapter_facts import check_adapter_name
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.targets import linear_layers, resolve_target
from tests.tuning.adapted import adapters_of, add_trained, logits, tiny_llama


@pytest.fixture
def module():
    return tiny_llama()


@pytest.fixture
def adapters(module):
    return adapters_of(module)


# --- coming and going ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "dora", "rslora"])
def test_a_new_adapter_changes_nothing_and_is_off(module, adapters, method):
    before = logits(module)
    adapters.create("fresh", Recipe.of(method=method, rank=4))
    assert adapters.names == ("fresh",)
    assert adapters.active == {}
    assert torch.equal(logits(module), before)
    adapters.use("fresh")
    assert adapters.active == {"fresh": 1.0}
    assert torch.allclose(logits(module), before, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["lora", "dora"])
def test_off_is_what_it_was_before_to_the_last_bit(dtype, method):
    module = tiny_llama(dtype=dtype)
    before = logits(module)
    adapters = adapters_of(module)
    add_trained(adapters, "a", method=method, target="all-linear")
    assert torch.equal(logits(module), before)
    adapters.use("a")
    assert not torch.equal(logits(module), before)
    assert all(value.dtype == torch.float32 for value in adapters.weights("a").values())
    adapters.off()
    assert torch.equal(logits(module), before)
    adapters.delete("a")
    assert torch.equal(logits(module), before)


def test_what_is_off_costs_nothing(module, adapters):
    add_trained(adapters, "a", target="q_proj")
    add_trained(adapters, "b", target="q_proj,up_proj")
    queries, ups = module.model.layers[0].self_attn.q_proj, module.model.layers[0].mlp.up_proj
    plain = lambda layer: "forward" in vars(layer)  # noqa: E731
    assert plain(queries)
    assert plain(ups)
    adapters.use("a")
    assert not plain(queries)
    assert plain(ups)
    with adapters.training("b"):
        assert not plain(ups)
    assert plain(ups)


def test_the_last_one_that_goes_leaves_the_module_as_it_was(module, adapters):
    kinds = [type(part) for part in module.modules()]
    add_trained(adapters, "a", target="attention")
    add_trained(adapters, "b", target="mlp.down_proj")
    adapters.use("b")
    with_b = logits(module)
    adapters.delete("a")
    assert torch.equal(logits(module), with_b)
    assert type(module.model.layers[0].self_attn.q_proj) is nn.Linear
    adapters.delete("b")
    assert [type(part) for part in module.modules()] == kinds
    assert not hasattr(module, "peft_config")
    assert adapters.names == ()
    assert adapters.active == {}


@pytest.mark.parametrize("name", ["train", "keys", "type", "v1.2", "my run", "lora_A", "ärger", "7", "a+b"])
def test_names_that_peft_could_not_take(module, adapters, name):
    add_trained(adapters, name, seed=1)
    add_trained(adapters, "other", seed=2)
    adapters.use(name)
    on = logits(module)
    adapters.use("other")
    assert not torch.equal(logits(module), on)
    adapters.use(name)
    assert torch.equal(logits(module), on)
    adapters.delete(name)
    assert adapters.names == ("other",)


@pytest.mark.parametrize("name", ["", "off", "None", "base", "-x", "a/b", "a:b", "..", "x" * 81, "a\nb", 3])
def test_names_that_no_adapter_can_have(name):
    with pytest.raises(AdapterError, match="cannot be called"):
        check_adapter_name(name)


def test_a_name_twice_and_names_that_are_not_there(adapters):
    adapters.create("persona", Recipe.of(rank=4))
    with pytest.raises(AdapterError, match="already"):
        adapters.create("persona", Recipe.of(rank=4))
    with pytest.raises(AdapterError, match="no adapter 'persone'") as caught:
        adapters.use("persone")
    assert caught.value.hint == "Did you mean 'persona'?"
    adapters.delete("persona")
    with pytest.raises(AdapterError, match="There is none yet"):
        adapters.use("persona")


def test_the_same_seed_begins_the_same_and_the_global_random_state_stays(adapters):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    adapters.create("a", Recipe.of(rank=4, seed=1))
    assert torch.equal(torch.rand(3), expected)
    adapters.create("b", Recipe.of(rank=4, seed=1))
    adapters.create("c", Recipe.of(rank=4, seed=2))
    a, b, c = (adapters.weights(name) for name in "abc")
    assert all(torch.equal(a[path], b[path]) for path in a)
    assert any(not torch.equal(a[path], c[path]) for path in a)


def test_facts(adapters):
    adapters.create("a", Recipe.of(rank=8, method="rslora", target="q_proj,v_proj"))
    facts = adapters.facts("a")
    assert (facts.method, facts.rank, facts.alpha) == ("rslora", 8, 16.0)
    assert (facts.target, facts.layers) == (("q_proj", "v_proj"), 4)
    assert facts.parameters == 2 * (8 * (32 + 32) + 8 * (32 + 16))
    scaling = adapters.module.model.layers[0].self_attn.q_proj.scaling
    assert list(scaling.values()) == [16 / math.sqrt(8)]


def test_without_peft_one_sentence_says_what_to_install(adapters, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match="need peft") as caught:
        adapters.create("a", Recipe.of(rank=4))
    assert caught.value.hint == "pip install 'llama-nb[train]'"
    assert adapters.names == ()


# --- where it sits ------------------------------------------------------------------------------------------


def test_targets(module):
    assert resolve_target(module, "attention") == ("k_proj", "o_proj", "q_proj", "v_proj")
    assert set(resolve_target(module, "all-linear")) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert resolve_target(module, ["layers.1.mlp.up_proj"]) == ("layers.1.mlp.up_proj",)
    assert "model.layers.0.self_attn.q_proj" in linear_layers(module)
    assert not any("lm_head" in path for path in linear_layers(module))


def test_a_typo_names_what_there_is_the_nearest_first(module):
    with pytest.raises(AdapterError, match="no layer 'q_porj'") as caught:
        resolve_target(module, ["q_porj"])
    assert caught.value.hint.startswith("There are: q_proj, ")
    with pytest.raises(AdapterError):
        resolve_target(module, "q_proj,,v_proj")
    with pytest.raises(AdapterError):
        resolve_target(module, "proj")


def test_a_rank_of_zero_is_refused_with_its_range():
    with pytest.raises(TrainingError, match="rank"):
        Recipe.of(rank=0)


# --- mixing -------------------------------------------------------------------------------------------------


def _update(adapters, name, path):
    layer = adapters.module.get_submodule(path)
    return layer.get_delta_weight(adapters.key(name))


def test_a_mix_is_the_weighted_sum_of_the_updates(module, adapters):
    add_trained(adapters, "a", seed=1)
    add_trained(adapters, "b", seed=2, rank=2, target="all-linear")
    adapters.mix({"a": 0.7, "b": -0.3})
    mixed = logits(module)
    assert adapters.active == {"a": 0.7, "b": -0.3}
    adapters.use("a")  # the scale is as before
    once = logits(module)
    adapters.mix({"a": 1})
    assert torch.equal(logits(module), once)
    adapters.mix({"a": 1, "b": 1})
    updates = {}
    for path, layer in module.named_modules():
        if hasattr(layer, "lora_A"):
            updates[path] = -0.3 * _update(adapters, "b", path)
            if adapters.key("a") in layer.lora_A:
                updates[path] += 0.7 * _update(adapters, "a", path)
    for name in ("a", "b"):
        adapters.delete(name)
    with torch.no_grad():
        for path, update in updates.items():
            module.get_submodule(path).weight += update
    assert torch.allclose(logits(module), mixed, atol=1e-5)


def test_weights_out_of_range_and_doras_in_a_mix(adapters):
    add_trained(adapters, "a")
    add_trained(adapters, "d", method="dora")
    adapters.use("a")
    for weight in (math.nan, math.inf, 11.0, -11.0):
        with pytest.raises(AdapterError, match="-10 to 10"):
            adapters.mix({"a": weight})
    with pytest.raises(AdapterError, match="d is a DoRA"):
        adapters.mix({"a": 1, "d": 1})
    with pytest.raises(AdapterError, match="d is a DoRA"):
        adapters.mix({"d": 0.5})
    assert adapters.active == {"a": 1.0}
    adapters.mix({"d": 1})
    adapters.mix({"a": 0})
    assert adapters.active == {}


def test_mixes_as_they_are_written():
    assert read_mix(["a:0.7", "b:-1e-1", "c"]) == {"a": 0.7, "b": -0.1, "c": 1.0}
    assert mix_label({}) == ""
    assert mix_label({"a": 1.0}) == "a"
    assert mix_label({"a": 0.7, "b": 1.0}) == "a:0.7 b:1"
    for words in (["a:x"], ["a:"], [":1"], ["a:nan"], ["a", "a:2"], []):
        with pytest.raises(AdapterError):
            read_mix(words)


# --- for one request ----------------------------------------------------------------------------------------


def test_a_request_may_ask_for_another_one(module, adapters):
    base = logits(module)
    add_trained(adapters, "a", seed=1)
    add_trained(adapters, "b", seed=2)
    adapters.use("a")
    with_a = logits(module)
    with adapters.asked(NO_ADAPTER):
        assert torch.equal(logits(module), base)
    with adapters.asked("b"):
        with_b = logits(module)
    assert not torch.equal(with_b, with_a)
    with adapters.asked(None):
        assert torch.equal(logits(module), with_a)
    with pytest.raises(AdapterError), adapters.asked("c"):
        pass
    assert torch.equal(logits(module), with_a)
    assert [adapters.label(name) for name in (None, NO_ADAPTER, "b")] == ["a", "", "b"]


# --- training -----------------------------------------------------------------------------------------------


def _trainable(module):
    return {name for name, value in module.named_parameters() if value.requires_grad}


def test_in_training_only_its_numbers_have_gradients(module, adapters):
    add_trained(adapters, "chat", seed=1)
    adapters.use("chat")
    seen = logits(module)
    adapters.create("new", Recipe.of(rank=2, dropout=0.5))
    assert _trainable(module) == set()
    with adapters.training("new"):
        assert adapters.trained == "new"
        key = adapters.key("new")
        assert len(_trainable(module)) == 16
        assert all(f".{key}." in name for name in _trainable(module))
        module.train()
        loss = module(torch.tensor([[1, 2, 3]])).logits.float().pow(2).mean()
        loss.backward()
        with pytest.raises(AdapterError, match="being trained"):
            adapters.delete("new")
        with pytest.raises(AdapterError, match="being trained already"), adapters.training("chat"):
            pass
        grads = {name for name, value in module.named_parameters() if value.grad is not None}
        assert grads == _trainable(module)
    module.eval()
    assert _trainable(module) == set()
    assert torch.equal(logits(module), seen)


def test_chats_in_between_see_theirs_and_may_switch(module, adapters):
    base = logits(module)
    add_trained(adapters, "chat", seed=1)
    add_trained(adapters, "new", seed=2, dropout=0.5)
    with adapters.training("new"):
        module.train()
        during = _trainable(module)
        with adapters.as_chats_see():
            assert not any(part.training for part in module.modules())
            assert _trainable(module) == set()
            assert torch.equal(logits(module), base)
            adapters.use("new")
            assert not torch.equal(logits(module), base)
            with adapters.asked("chat"):
                assert _trainable(module) == set()
            add_trained(adapters, "third", seed=3)
            with pytest.raises(AdapterError, match="being trained"):
                adapters.delete("new")
        assert module.training
        assert all(part.training for part in module.modules())
        assert _trainable(module) == during
        assert adapters.active == {"new": 1.0}
    module.eval()
    live = logits(module)
    adapters.use("new")
    assert torch.equal(logits(module), live)


def test_what_goes_wrong_in_the_block_leaves_the_chats_view(module, adapters):
    add_trained(adapters, "a")
    base = logits(module)
    with pytest.raises(RuntimeError, match="boom"), adapters.training("a"):
        raise RuntimeError("boom")
    assert adapters.trained is None
    assert torch.equal(logits(module), base)
    assert _trainable(module) == set()


# --- numbers ------------------------------------------------------------------------------------------------


def test_weights_are_live_and_put_weights_is_exact(adapters):
    add_trained(adapters, "a", seed=1, method="dora")
    taken = {path: value.clone() for path, value in adapters.weights("a").items()}
    assert {path.rpartition("layers.0.self_attn.")[2] for path in taken if "layers.0" in path} >= {
        "q_proj.lora_A.weight", "q_proj.lora_B.weight", "q_proj.lora_magnitude_vector",
    }  # fmt: skip
    live = adapters.weights("a")
    adapters.put_weights("a", {path: value + 1 for path, value in taken.items()})
    assert all(torch.equal(live[path], taken[path] + 1) for path in taken)
    path = next(iter(taken))
    with pytest.raises(AdapterError, match="is missing"):
        adapters.put_weights("a", {other: value for other, value in taken.items() if other != path})
    with pytest.raises(AdapterError, match="no place"):
        adapters.put_weights("a", {**taken, "x": taken[path]})
    with pytest.raises(AdapterError, match="shape"):
        adapters.put_weights("a", {**taken, path: taken[path][:1]})
    assert all(torch.equal(live[path], taken[path] + 1) for path in taken)
