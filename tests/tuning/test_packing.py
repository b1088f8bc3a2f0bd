"""Micro-batches: each row once an epoch, in an order that a number gives; packed rows do not see others."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from llama_nb.tuning.encoding import Row
from llama_nb.tuning.order import shuffled
from llama_nb.tuning.packing import PADDING, BatchPlan, MicroBatch, attention_mask_for, collate

ORDER = [6, 1, 5, 2, 7, 4, 3, 0]  # of 8 with seed 3; written down, so that another order would be noticed


def make_rows(count, most=40, seed=0):
    """Return rows of 3 to `most` tokens; the first token of row i is i, the second half is trained."""
    generator = np.random.Generator(np.random.Philox(seed))
    rows = []
    for number in range(count):
        length = int(generator.integers(3, most + 1))
        ids = generator.integers(0, 64, length).astype(np.int32)
        ids[0] = number
        rows.append(Row(ids, np.arange(length) >= length // 2, f"row {number}"))
    return rows


def plan(rows, **options):
    return BatchPlan(rows, **{"batch": 4, "packing": False, "max_tokens": 64, "seed": 7, **options})


def rows_in(batch: MicroBatch):
    """Return the first token of every row in a micro-batch, each row being whole and in its place."""
    first = []
    for line in range(batch.ids.shape[0]):
        segments = batch.segments[line]
        for number in range(int(segments.max()) + 1):
            places = (segments == number).nonzero()[:, 0]
            assert places.tolist() == list(range(int(places[0]), int(places[-1]) + 1))
            assert batch.positions[line, places].tolist() == list(range(len(places)))
            assert not batch.trained[line, places[0]]
            first.append(int(batch.ids[line, places[0]]))
    return first


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("batch", [1, 4])
def test_every_epoch_has_every_row_once_in_another_order(packing, batch):
    batches = plan(make_rows(41), packing=packing, batch=batch)
    epochs = []
    for epoch in range(3):
        numbers = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        epochs.append([first for number in numbers for first in rows_in(batches.micro_batch(number))])
    assert all(sorted(epoch) == list(range(41)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("packing", [False, True])
def test_a_micro_batch_is_a_function_of_its_number_alone(packing):
    rows = make_rows(30)
    forwards, backwards = plan(rows, packing=packing), plan(rows, packing=packing)
    numbers = range(2 * forwards.per_epoch + 1)
    first = {number: forwards.micro_batch(number) for number in numbers}
    for number in reversed(numbers):
        again = backwards.micro_batch(number)
        assert torch.equal(again.ids, first[number].ids)
        assert torch.equal(again.trained, first[number].trained)
        assert backwards.trained_tokens(number) == again.trained_tokens
    other = plan(rows, packing=packing, seed=8).micro_batch(0)
    assert rows_in(other) != rows_in(first[0])


def test_the_order_is_the_same_wherever_it_is_computed():
    assert shuffled(8, seed=3, epoch=0).tolist() == ORDER
    assert shuffled(8, seed=3, epoch=1).tolist() != ORDER
    assert shuffled(8, seed=-1, epoch=0).tolist() != shuffled(8, seed=1, epoch=0).tolist()


def test_packs_are_full_and_never_too_long():
    batches = plan(make_rows(200), packing=True, batch=1, max_tokens=64)
    made = [batches.micro_batch(number) for number in range(batches.per_epoch)]
    assert max(batch.ids.shape[1] for batch in made) <= 64
    assert sum(batch.tokens for batch in made) == batches.tokens_per_epoch
    assert batches.per_epoch <= 1.05 * batches.tokens_per_epoch / 64 + 1


def test_rows_of_like_length_stand_together_without_packing():
    batches = plan(make_rows(400), batch=8)
    made = [batches.micro_batch(number) for number in range(batches.per_epoch)]
    padding = sum(int((batch.segments == PADDING).sum()) for batch in made)
    assert padding < 0.12 * batches.tokens_per_epoch
    longest = [batch.ids.shape[1] for batch in made]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


def test_a_mask_is_made_only_where_rows_are_packed():
    rows = make_rows(6)
    assert attention_mask_for(collate([[row] for row in rows])) is None
    mask = attention_mask_for(collate([rows[:2], rows[2:3]]))
    width = mask.shape[-1]
    assert mask.shape == (2, 1, width, width)
    assert mask.dtype is torch.bool
    first = len(rows[0])
    assert not mask[0, 0, first:, :first].any()
    assert mask[0, 0].diagonal().all()
    assert not mask[0, 0].triu(1).any()


def test_impossible_rows_are_refused():
    for rows, options in (([], {}), (make_rows(3), {"max_tokens": 2}), (make_rows(3), {"batch": 0})):
        with pytest.raises(ValueError, match="lines of"):
            plan(rows, **options)


def loss_and_gradients(module, batches):
    """Return the summed loss of some micro-batches and the gradients of all weights."""
    module.zero_grad()
    total = 0.0
    dtype = None if module.config._attn_implementation == "sdpa" else module.dtype
    for batch in batches:
        logits = module(
            input_ids=batch.ids, position_ids=batch.positions, attention_mask=attention_mask_for(batch, dtype)
        ).logits
        wanted = batch.trained[:, 1:]
        loss = F.cross_entropy(logits[:, :-1][wanted], batch.ids[:, 1:][wanted], reduction="sum")
        loss.backward()
        total += float(loss.detach())
    return total, {name: weight.grad.clone() for name, weight in module.named_parameters()}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_rows_have_the_loss_and_gradients_of_rows_alone(attention):
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, attn_implementation=attention,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = LlamaForCausalLM(config)
    rows = make_rows(12)
    alone, wanted = loss_and_gradients(module, [collate([[row]]) for row in rows])
    for batches in (plan(rows, packing=True, batch=2), plan(rows, packing=False, batch=5)):
        loss, found = loss_and_gradients(module, [batches.micro_batch(n) for n in range(batches.per_epoch)])
        assert loss == pytest.approx(alone, rel=1e-5)
        for name, gradient in wanted.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)
