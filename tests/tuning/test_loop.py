"""The loop: it learns, goes on exactly, obeys, lets others in between, and leaves the model as it was."""

import itertools

import pytest
import torch

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.loop import Order, Setup, train
from llama_nb.tuning.ranks import Place, Ranks
from tests.tuning.adapted import tiny_llama
from tests.tuning.loops import RECIPE, Watcher, adapted, learn, plan, rows, same_weights


@pytest.fixture(scope="module")
def whole():
    """One training from the first step to the last."""
    return learn()


def test_it_learns_and_says_so_step_by_step(whole):
    outcome, watcher, _ = whole
    assert (outcome.state, outcome.step, outcome.steps) == ("finished", 8, 8)
    assert [each.step for each in watcher.metrics] == list(range(1, 9))
    assert [step for step, _ in watcher.validations] == [0, 4, 8]
    assert outcome.validation_loss == watcher.validations[-1][1] < watcher.validations[0][1] - 0.1
    assert [state.step for state in watcher.states] == [3, 6, 8]
    last = watcher.metrics[-1]
    assert last.gradient_norm > 0
    assert last.seconds > 0
    assert last.memory > 0
    assert 0 < last.trained_tokens < last.tokens
    # A tenth of the steps is not whole here: the rate rises for one step and falls along half a cosine.
    assert last.lr < watcher.metrics[1].lr == pytest.approx(RECIPE.lr)


@pytest.mark.parametrize("stop_at", [1, 2, 5, 6, 9, 13])
def test_a_stop_at_any_micro_batch_and_a_resume_equal_one_run_to_the_last_digit(whole, stop_at):
    _, uninterrupted, adapters = whole
    outcome, before, _ = learn(watcher=Watcher(lambda call: Order(stop=True) if call == stop_at else None))
    assert outcome.state == "stopped"
    assert before.states[-1].step == outcome.step == len(before.metrics)
    torch.manual_seed(stop_at)  # the random state of another process
    _, after, resumed = learn(start=before.states[-1])
    assert before.losses + after.losses == uninterrupted.losses
    assert same_weights(resumed, adapters)
    assert after.validations[-1] == uninterrupted.validations[-1]


def test_every_state_that_is_kept_is_one_to_go_on_from(whole):
    _, uninterrupted, _ = whole
    for state in uninterrupted.states[:-1]:
        _, after, _ = learn(start=state)
        assert after.losses == uninterrupted.losses[state.step :]


def test_who_is_served_in_between_changes_nothing(whole):
    _, uninterrupted, adapters = whole
    ours = adapted()

    def chat(call):
        with ours.as_chats_see(), torch.inference_mode():
            ours.module(torch.tensor([[1, 2, 3]]))
        torch.manual_seed(call)
        torch.randn(7)
        torch.set_num_threads(2)
        ours.module.eval()

    _, watcher, _ = learn(watcher=Watcher(chat), adapters=ours)
    assert watcher.losses == uninterrupted.losses
    assert same_weights(ours, adapters)


def test_others_wait_for_one_micro_batch_at_most():
    passes, waited = [], []
    ours = adapted()
    ours.module.model.register_forward_pre_hook(lambda *_: passes.append(1))
    _, watcher, _ = learn(watcher=Watcher(lambda _: waited.append(len(passes))), adapters=ours)
    assert max(later - earlier for earlier, later in itertools.pairwise(waited)) == 1
    assert watcher.calls >= 16


def test_the_module_and_torch_are_left_as_they_were():
    ours = adapted()
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    learn(adapters=ours)
    assert torch.equal(torch.randn(3), expected)
    assert torch.get_num_threads() == threads
    assert not ours.module.training
    assert not any(each.requires_grad for each in ours.module.parameters())
    assert all(each.grad is None for each in ours.module.parameters())
    linear = [part for part in ours.module.modules() if type(part) is torch.nn.Linear]
    assert not any("forward" in vars(part) for part in linear)


def test_a_new_learning_rate_holds_from_the_next_step_on_and_in_the_checkpoint():
    order = Watcher(lambda call: Order(lr=1e-4) if call == 9 else None)
    _, watcher, _ = learn(watcher=order)
    rates = [each.lr for each in watcher.metrics]
    assert rates[1] > 1e-2
    assert max(rates[4:]) < 1e-4
    assert watcher.states[-1].numbers["lr"] == 1e-4
    state = next(each for each in watcher.states if each.step == 6)
    _, after, _ = learn(start=state)
    assert after.losses == watcher.losses[6:]


def test_save_now_keeps_the_last_boundary_even_in_the_middle_of_a_step(whole):
    order = Watcher(lambda call: Order(save=True) if call == 5 else None)
    _, watcher, _ = learn(watcher=order)
    assert watcher.states[0].step in (1, 2)
    assert watcher.losses == whole[1].losses
    _, after, _ = learn(start=watcher.states[0])
    assert after.losses == whole[1].losses[watcher.states[0].step :]


def test_a_state_holds_plain_numbers_and_the_names_of_pefts_files(whole):
    _, watcher, adapters = whole
    state = watcher.states[-1]
    names = {f"base_model.model.{name}" for name in state.weights()}
    assert names == set(adapters.weights("a"))
    assert set(state.part("moment1/")) == set(state.weights())
    assert state.numbers["micro_batch"] == 16
    assert all(tensor.device.type == "cpu" for tensor in state.tensors.values())


@pytest.mark.parametrize("method", ["dora", "rslora", "full"])
def test_other_methods_learn_and_go_on_exactly(method):
    recipe = RECIPE.replace(method=method, lr=3e-3, dropout=0.0, steps=4, save_every=2)
    if method == "full":

        def go(start=None):
            watcher = Watcher()
            data = rows()
            setup = Setup(tiny_llama(), recipe, plan(recipe, data[:20]), start=start, threads=1)
            return train(setup, watcher), watcher
    else:

        def go(start=None):
            return learn(recipe, start=start)[:2]

    outcome, watcher = go()
    assert outcome.state == "finished"
    assert watcher.losses[-1] < watcher.losses[0]
    _, after = go(watcher.states[0])
    assert after.losses == watcher.losses[2:]


def test_checkpointing_computes_the_same(whole):
    _, plain, _ = learn(RECIPE.replace(steps=2))
    _, again, ours = learn(RECIPE.replace(steps=2, checkpointing=True))
    assert again.losses == pytest.approx(plain.losses, abs=1e-6)
    assert not any(getattr(part, "gradient_checkpointing", False) for part in ours.module.modules())


def test_a_step_is_the_same_however_it_is_cut_into_micro_batches():
    recipe = RECIPE.replace(dropout=0.0, packing=False, steps=1, batch=8, accumulate=1, epochs=None)
    data = rows(8)
    _, one, first = learn(recipe, batches=plan(recipe, data))
    smaller = recipe.replace(batch=2, accumulate=4)
    _, four, second = learn(smaller, batches=plan(smaller, data))
    assert four.losses == pytest.approx(one.losses, abs=1e-6)
    for name, value in first.weights("a").items():
        torch.testing.assert_close(second.weights("a")[name], value, atol=1e-5, rtol=1e-4)


def test_processes_that_cannot_share_a_step_evenly_are_refused():
    with pytest.raises(TrainingError, match="3 processes cannot share 2 batches") as caught:
        learn(ranks=Ranks(Place(0, 3, 0)))
    assert "1 or 2" in caught.value.hint


def test_nothing_to_train_is_refused():
    setup = Setup(tiny_llama(), RECIPE, plan(RECIPE, rows()))
    with pytest.raises(TrainingError, match="No weight of the model is to be trained"):
        train(setup, Watcher())


def test_a_state_of_another_recipe_is_refused(whole):
    other = RECIPE.replace(target="q_proj")
    with pytest.raises(TrainingError, match="does not fit what is trained"):
        learn(other, start=whole[1].states[0])


def test_every_weight_is_trained_in_float32_only():
    recipe = RECIPE.replace(method="full")
    setup = Setup(tiny_llama(dtype=torch.bfloat16), recipe, plan(recipe, rows()))
    with pytest.raises(TrainingError, match="some are bfloat16"):
        train(setup, Watcher())
