"""What is taken beside weights and cache: what batches change, and figures that were measured."""

import dataclasses

import pytest

from llama_nb.planner import working
from llama_nb.planner.job import Target
from llama_nb.planner.plan import estimate
from llama_nb.planner.shape import Shape
from tests.planner.configs import EIGHT, SMALL

EIGHT_B, SMALL_B = Shape.from_config(EIGHT), Shape.from_config(SMALL)
NOWHERE = Target("", None, kind="cpu")
MB = 10**6


def plan(shape=EIGHT_B, **asked):
    return estimate(shape, name="model", device=NOWHERE, **asked)


def test_keys_and_values_are_repeated_for_every_sequence_of_a_batch():
    one, four = plan(context=8192), plan(context=8192, batch=4)
    layer = 2 * 8192 * 2  # keys and values of one head dimension in bfloat16
    repeated = layer * EIGHT_B.heads * EIGHT_B.head_dim
    growing = layer * EIGHT_B.kv_heads * EIGHT_B.head_dim + one.kv_cache_bytes // 4
    assert four.activation_bytes - one.activation_bytes == pytest.approx(3 * (repeated + growing), rel=1e-6)


def test_a_cache_keeps_no_room_beyond_the_models_context():
    layer = 2 * EIGHT_B.kv_heads * EIGHT_B.head_dim * 2  # bytes of a token in one layer
    other = dataclasses.replace(EIGHT_B, context=None)
    for context, beyond in ((131_072, 0), (120_000, 11_072), (8192, 8192 // 4)):
        job, endless = plan(context=context).job, plan(other, context=context).job
        assert working._growth(job) == pytest.approx(layer * (context + beyond * 32))
        assert working._growth(endless) == layer * (context + context / 4 * 32)


def test_a_prompt_that_is_computed_at_once_needs_no_mask():
    chunk = working.chunk_tokens(SMALL_B, NOWHERE)
    assert chunk > 1024
    with_mask = plan(SMALL_B, context=2 * chunk).activation_bytes
    at_once = plan(SMALL_B, context=chunk).activation_bytes
    assert with_mask - at_once > chunk * 2 * chunk  # a mask has at least a byte for each pair


@pytest.mark.parametrize(
    ("quant", "train", "measured"),
    [
        ("none", None, 373),
        ("nf4", None, 414),
        ("int8-quanto", None, 378),
        ("none", "lora", 422),
        ("nf4-double", "qlora", 422),  # peft imports bitsandbytes itself
    ],
)
def test_the_bare_process_is_what_was_measured(quant, train, measured):
    found = plan(quant=quant, train=train)
    assert found.total_bytes - found.growth_bytes == pytest.approx(measured * MB, rel=0.01)


@pytest.mark.parametrize(
    ("vocabulary", "measured"), [(128_256, 52.7), (32_000, 16.5), (8000, 6.3), (2048, 2.1)]
)
def test_a_tokenizer_takes_what_was_measured(vocabulary, measured):
    shape = Shape.from_config({**SMALL, "vocab_size": vocabulary})
    assert working.tokenizer_bytes(shape, NOWHERE) == pytest.approx(measured * MB, rel=0.1, abs=1.3 * MB)
