"""Guards: what logs success elsewhere stops here, with a sentence, and the last good state stays."""

import itertools
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llama_nb.core.errors import TrainingError
from llama_nb.tuning import guards
from llama_nb.tuning.adapters import AdapterSet
from llama_nb.tuning.encoding import Row
from llama_nb.tuning.guards import DivergenceWatch
from llama_nb.tuning.loop import Order
from llama_nb.tuning.optimiser import rate_factor
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.training_mode import checkpoint_name, draws_random_numbers
from tests.tuning.adapted import tiny_llama
from tests.tuning.loops import RECIPE, Watcher, adapted, learn, plan

STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park with her "
    "dog. One day, she saw a big red ball and wanted to play with it."
)
TOO_FAST = RECIPE.replace(
    lr=1e8,
    warmup=0,
    steps=16,
    save_every=2,
    evaluate_every=0,
    batch=4,
    accumulate=1,
    packing=False,
    max_tokens=64,
)


def test_nan_in_the_base_is_named_before_a_step_is_made():
    ours = adapted()
    with torch.no_grad():
        ours.module.model.layers[1].mlp.down_proj.weight[3, 5] = math.nan
    watcher = Watcher()
    with pytest.raises(TrainingError, match=r"1 numbers.*first in model.layers.1.mlp.down_proj.weight"):
        learn(watcher=watcher, adapters=ours)
    assert not watcher.metrics
    assert not watcher.states


def test_nan_that_comes_on_the_way_stops_before_it_is_learned_and_keeps_the_last_good_state():
    ours = adapted()
    watcher = Watcher()
    wrong = {6}

    def spoil(_module, _given, output):
        return output * math.nan if len(watcher.metrics) + 1 in wrong else None

    ours.module.model.layers[1].register_forward_hook(spoil)
    with pytest.raises(TrainingError, match="The loss of step 6 is nan") as caught:
        learn(watcher=watcher, adapters=ours)
    assert "learning rate" in caught.value.hint
    assert [each.step for each in watcher.metrics] == [1, 2, 3, 4, 5]
    assert [state.step for state in watcher.states] == [3]
    kept = watcher.states[-1].weights()
    for name, value in ours.weights("a").items():
        assert torch.equal(kept[name.removeprefix("base_model.model.")], value)
    wrong.clear()
    outcome, after, _ = learn(start=watcher.states[-1], adapters=ours)
    assert outcome.state == "finished"
    assert after.losses == learn()[1].losses[3:]


def test_a_gradient_that_overflows_says_so():
    error = guards.not_finite(tiny_llama(), None, 7, 2.0, math.inf)
    assert "gradient of step 7 is inf" in error.message
    assert "Use a lower learning rate" in error.hint
    narrow = guards.not_finite(tiny_llama(dtype=torch.float16), None, 7, 2.0, math.inf)
    assert "--dtype float32" in narrow.hint


@pytest.fixture
def story(stories260k) -> tuple[AdapterSet, list[Row]]:
    """A trained model, and a text that it knows nearly by heart."""
    tokenizer = AutoTokenizer.from_pretrained(stories260k)
    ids = np.array(tokenizer(STORY).input_ids, dtype=np.int32)
    module = AutoModelForCausalLM.from_pretrained(stories260k, dtype=torch.float32).eval()
    adapters = adapted(TOO_FAST, module.requires_grad_(False))
    return adapters, [Row(ids[: 20 + more], np.arange(20 + more) >= 4) for more in range(16)]


@pytest.mark.parametrize("lr", [1e-1, 1e3, 1e8])
def test_a_learning_rate_far_too_high_pauses_and_keeps_nothing_ruined(lr, story):
    recipe = TOO_FAST.replace(lr=lr)
    adapters, data = story
    before = {name: value.clone() for name, value in adapters.weights("a").items()}
    outcome, watcher, _ = learn(recipe, adapters=adapters, batches=plan(recipe, data), validation=[])
    assert outcome.state == "paused"
    assert outcome.step == 0
    assert "loss" in outcome.reason
    assert f"train lr {lr / 10:.1g}" in outcome.hint
    assert not watcher.states
    assert all(torch.equal(value, before[name]) for name, value in adapters.weights("a").items())
    calmer = recipe.replace(lr=1e-3)
    outcome, _, _ = learn(calmer, adapters=adapters, batches=plan(recipe, data), validation=[])
    assert outcome.state == "finished"


@pytest.mark.parametrize("every", [0, 1])
def test_a_validation_loss_that_is_no_number_pauses_too(every, story):
    adapters, data = story
    recipe = TOO_FAST.replace(lr=1e30, steps=1 + every, evaluate_every=every)
    held = [plan(recipe, data).micro_batch(0)]
    outcome, watcher, _ = learn(recipe, adapters=adapters, batches=plan(recipe, data), validation=held)
    assert outcome.state == "paused"
    assert "it is a number still" in outcome.reason
    assert [step for step, _ in watcher.validations] == [0]
    assert not watcher.states


def test_what_was_good_before_is_kept(story):
    adapters, data = story
    recipe = TOO_FAST.replace(lr=1e-3)
    later = Watcher(lambda call: Order(lr=1e8) if call == 12 else None)
    outcome, _, _ = learn(recipe, later, adapters=adapters, batches=plan(recipe, data), validation=[])
    assert outcome.state == "paused"
    assert outcome.step == later.states[-1].step > 5
    kept = later.states[-1].weights()
    for name, value in adapters.weights("a").items():
        assert torch.equal(kept[name.removeprefix("base_model.model.")], value)


def test_one_ruinous_step_at_the_very_end_is_noticed(story):
    adapters, data = story
    recipe = TOO_FAST.replace(lr=1e8, steps=1)
    outcome, watcher, _ = learn(recipe, adapters=adapters, batches=plan(recipe, data), validation=[])
    assert outcome.state == "paused"
    assert not watcher.states


def test_a_step_that_the_memory_does_not_hold_says_what_takes_less():
    ours, watcher = adapted(), Watcher()

    def full(*_):
        if len(watcher.metrics) == 5 and ours.module.training:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore")

    ours.module.model.layers[1].register_forward_pre_hook(full)
    with pytest.raises(
        TrainingError, match=r"in step 6: CUDA out of memory. Tried to allocate 20.00 GiB"
    ) as said:
        learn(watcher=watcher, adapters=ours)
    assert "--batch 1 --accumulate 4, --checkpointing on" in said.value.hint
    assert [state.step for state in watcher.states] == [3]
    assert not ours.module.training


def test_a_save_that_a_user_orders_is_obeyed_at_once():
    watcher = Watcher(lambda call: Order(save=True, stop=True) if call == 6 else None)
    outcome, _, _ = learn(watcher=watcher)
    assert outcome.state == "stopped"
    assert len(watcher.states) == 1


def test_a_slow_rise_is_noticed_and_a_restless_loss_is_not():
    restless = DivergenceWatch(vocabulary=512)
    for step in range(200):
        assert not restless.look(2.0 + 1.5 * math.sin(step * 1.7))
        assert restless.healthy
    rising = DivergenceWatch(vocabulary=128_256)
    said = [rising.look(1.0 if step < 30 else min(5.0, 1.0 + 0.2 * (step - 30))) for step in range(120)]
    assert any("far above its best" in each for each in said)
    again = DivergenceWatch.of(128_256, rising.to_numbers())
    assert again == rising


def test_an_untrained_model_may_begin_above_chance():
    watch = DivergenceWatch(vocabulary=64)
    for step in range(50):
        assert not watch.look(9.0 - 0.1 * step)


def test_packed_four_bit_layers_are_refused_and_guarded_ones_are_not():
    module = tiny_llama()
    layer = module.model.layers[0].self_attn.q_proj
    layer.support_avx512bf16_for_cpu = False
    guards.check_quantised(module)
    layer.support_avx512bf16_for_cpu = True
    with pytest.raises(TrainingError, match="gradients through them are wrong"):
        guards.check_quantised(module)


def test_rates_rise_fall_and_stay():
    recipe = Recipe.of(warmup=4)
    rates = [rate_factor(recipe, 20, step) for step in range(20)]
    assert rates[:5] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[4:]))
    assert 0 < rates[-1] < 0.02
    linear = Recipe.of(warmup=0, schedule="linear")
    assert [rate_factor(linear, 4, step) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert rate_factor(Recipe.of(warmup=0, schedule="constant"), 4, 3) == 1.0


def test_names_in_checkpoints_are_those_of_pefts_files():
    stem = "model.layers.0.self_attn.q_proj"
    assert checkpoint_name(f"{stem}.lora_A.adapter1.weight") == f"{stem}.lora_A.weight"
    assert checkpoint_name(f"{stem}.lora_magnitude_vector.a.weight") == f"{stem}.lora_magnitude_vector"
    assert checkpoint_name("model.norm.weight") == "model.norm.weight"


def test_random_numbers_are_drawn_only_where_somebody_wants_them():
    assert not draws_random_numbers(tiny_llama())
    assert draws_random_numbers(adapted().module)
