"""DPO in our loop: the published formula, the reference is the base, and it goes on exactly."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.loop import Order
from llama_nb.tuning.preference import Preference, PreferencePlan, adapters_off
from llama_nb.tuning.preference_rows import PreferenceRow
from tests.tuning.adapted import add_trained, logits, tiny_llama
from tests.tuning.loops import RECIPE, Watcher, adapted, learn, same_weights

DPO = RECIPE.replace(objective="dpo", lr=1e-2, steps=6, save_every=2, evaluate_every=0)


def pairs(count: int = 8) -> list[PreferenceRow]:
    """Answers that count upwards are better than those that count downwards."""
    found = []
    for number in range(count):
        prompt = np.arange(20 + number % 3, 24, dtype=np.int32)
        better = np.arange(24, 24 + 4 + number % 4, dtype=np.int32)
        found.append(PreferenceRow(prompt, better, better[::-1][:-1].copy(), f"row {number}"))
    return found


def plan_of(rows: list[PreferenceRow]) -> PreferencePlan:
    return PreferencePlan(rows, batch=2, seed=0)


def answer_logprob(module, prompt, answer) -> torch.Tensor:
    ids = torch.tensor(np.concatenate([prompt, answer]), dtype=torch.int64)[None]
    logprobs = F.log_softmax(module(ids).logits[0, :-1].float(), -1)
    return logprobs.gather(-1, ids[0, 1:, None])[len(prompt) - 1 :].sum()


def test_the_loss_and_its_gradient_are_those_of_the_paper():
    adapters = adapted(DPO.replace(dropout=0.0))
    module = adapters.module
    adapters.delete("a")
    add_trained(adapters, "a")
    rows = pairs(2)
    batch = plan_of(rows).micro_batch(0)
    with adapters.training("a"):
        weight = next(each for each in module.parameters() if each.requires_grad)
        terms = []
        for row in rows:
            margin = answer_logprob(module, row.prompt, row.chosen) - answer_logprob(
                module, row.prompt, row.rejected
            )
            with torch.no_grad(), adapters_off(module):
                reference = answer_logprob(module, row.prompt, row.chosen) - answer_logprob(
                    module, row.prompt, row.rejected
                )
            terms.append(-F.logsigmoid(0.3 * (margin - reference)))
        plain = torch.stack(terms).sum()
        ours = Preference(0.3).loss(module, batch)
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
        (first,), (second,) = torch.autograd.grad(ours, weight), torch.autograd.grad(plain, weight)
        torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-4)


def test_without_its_adapter_the_model_is_the_base_and_afterwards_as_before():
    adapters = adapted()
    base = logits(tiny_llama())
    adapters.delete("a")
    add_trained(adapters, "a")
    adapters.use("a")
    with adapters.training("a"):
        adapters.module.train()
        wanted = [each.requires_grad for each in adapters.module.parameters()]
        before = logits(adapters.module)
        with adapters_off(adapters.module):
            assert torch.equal(logits(adapters.module), base)
        assert torch.equal(logits(adapters.module), before)
        assert [each.requires_grad for each in adapters.module.parameters()] == wanted
        assert adapters.module.training


def test_it_prefers_what_it_is_shown_and_goes_on_exactly():
    rows = pairs()
    held = [plan_of(pairs(2)).micro_batch(0)]
    outcome, whole, adapters = learn(DPO, batches=plan_of(rows), validation=held)
    assert outcome.state == "finished"
    # Nothing is preferred over what the base prefers, at first; dropout of a B of zeros changes nothing.
    assert whole.losses[0] == pytest.approx(0.6931472, abs=1e-6)
    assert whole.validations[-1][1] < whole.validations[0][1] == pytest.approx(0.6931472, abs=1e-6)
    assert outcome.validation_loss < 0.67
    stop = Watcher(lambda call: Order(stop=True) if call == 9 else None)
    _, before, _ = learn(DPO, stop, batches=plan_of(rows), validation=held)
    _, after, resumed = learn(DPO, start=before.states[-1], batches=plan_of(rows), validation=held)
    assert 0 < len(before.losses) < len(whole.losses)
    assert before.losses + after.losses == whole.losses
    assert same_weights(resumed, adapters)


def test_every_pair_comes_once_an_epoch():
    plan = PreferencePlan(pairs(7), batch=2, seed=3)
    assert plan.per_epoch == 4
    assert [plan.pairs(number) for number in range(4)] == [2, 2, 2, 1]
    lengths = [plan.trained_tokens(number) for number in range(8)]
    assert (
        sum(lengths[:4]) == sum(lengths[4:]) == sum(len(row.chosen) + len(row.rejected) for row in pairs(7))
    )
    batch = plan.micro_batch(0)
    assert batch.trained_tokens == lengths[0]
    assert batch.ids.shape[0] == 4


def test_without_an_adapter_there_is_no_reference():
    batch = plan_of(pairs()).micro_batch(0)
    with pytest.raises(TrainingError, match="DPO compares the model with what it was"):
        Preference(0.1).loss(tiny_llama(), batch)


@pytest.mark.full
def test_the_loss_is_that_of_trls_trainer(tmp_path, stories260k):
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(stories260k)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    theirs = DPOTrainer(
        tiny_llama(),
        args=DPOConfig(tmp_path, use_cpu=True, report_to="none", beta=0.3, bf16=False, max_length=None),
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]),
    )
    adapters = adapted(DPO)
    adapters.delete("a")
    add_trained(adapters, "a")
    model = theirs.model
    adapter = {name.replace(".default.", "."): each for name, each in model.named_parameters()}
    for name, value in adapters.weights("a").items():
        adapter[name].data.copy_(value)
    rows = pairs(2)
    given = [
        {
            "prompt_ids": row.prompt.tolist(),
            "chosen_ids": row.chosen.tolist(),
            "rejected_ids": row.rejected.tolist(),
        }
        for row in rows
    ]
    expected = theirs.compute_loss(model.eval(), theirs.data_collator(given))
    with adapters.training("a"):
        ours = Preference(0.3).loss(adapters.module, plan_of(rows).micro_batch(0)) / len(rows)
    assert float(ours.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)
    assert float(ours.detach()) != pytest.approx(0.6931472, abs=1e-3)
