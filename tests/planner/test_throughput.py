"""How many GPUs and how many tokens a second: worked out by hand from the makers' figures."""

import pytest

from llama_nb.catalog.gpus import parse_gpus
from llama_nb.core.errors import FitError
from llama_nb.planner.job import Job, Target
from llama_nb.planner.memory import kv_cache_bytes, quantised_bytes
from llama_nb.planner.plan import estimate
from llama_nb.planner.shape import Shape
from llama_nb.planner.throughput import fits, gpus_needed, largest_batch, memory, tokens_per_second

EIGHT = Shape.from_config(
    {
        "model_type": "llama",
        "num_hidden_layers": 32,
        "hidden_size": 4096,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
    }
)
H100 = parse_gpus("H100")


def job(batch=16, context=2048, quant="none"):
    return Job(EIGHT, quant, context=context, batch=batch)


def test_a_server_takes_what_the_plan_says():
    for count in (1, 2, 16):
        target = Target("H100", H100.memory, count, H100.bandwidth, H100.flops)
        plan = estimate(EIGHT, name="8b", device=target, context=2048, batch=16)
        assert sum(memory(job(), H100, count).values()) == plan.total_bytes
        assert fits(job(), H100, count) == (plan.verdict in ("fits", "tight"))


@pytest.mark.parametrize(
    ("gpus", "count"), [("H100", 1), ("32GB", 1), ("16GB", 2), ("2xH100", 2), ("4x24GB", 4)]
)
def test_as_many_gpus_as_hold_it(gpus, count):
    assert gpus_needed(job(), parse_gpus(gpus)) == count


def test_where_gpus_outnumber_key_heads_each_keeps_one():
    once = 16 * kv_cache_bytes(EIGHT, 2048, "bfloat16")
    assert memory(job(), H100, 8)["kv_cache"] == once == memory(job(), H100, 1)["kv_cache"]
    assert memory(job(), H100, 16)["kv_cache"] == 2 * once


def test_too_few_gpus_are_refused_with_the_number_that_holds_it():
    with pytest.raises(FitError) as caught:
        gpus_needed(job(batch=64, context=8192), parse_gpus("2x24GB"))
    assert "into 2x 24 GB: weights 16.1 GB, 64 caches" in caught.value.message
    assert caught.value.hint.startswith("8 of them hold it")


def test_no_number_of_gpus_is_endless():
    with pytest.raises(FitError, match="64x"):
        gpus_needed(job(batch=4096, context=131_072), parse_gpus("24GB"))


def test_the_bound_of_answers_by_hand():
    # A step reads 16.06 GB of weights without the 1.05 GB of the embedding, and 16 caches of 0.268 GB, at
    # 3,350 GB/s, and gives 16 tokens.
    step = (16_060_522_496 - 2 * 128_256 * 4096 + 16 * 268_435_456) / 3350e9
    assert tokens_per_second(job(), 1, H100, 0) == pytest.approx(16 / step, rel=1e-9)
    assert tokens_per_second(job(), 2, H100, 0) == pytest.approx(32 / step, rel=1e-9)


def test_the_bound_of_prompts_by_hand():
    # 2 x 8.03 B operations a token at 989.5 TFLOPS, and attention to half of 2,048 tokens: 4 operations for
    # each of 32 layers, 32 heads and 128 numbers.
    expected = 989.5e12 / (2 * EIGHT.active_parameters + 4 * 32 * 32 * 128 * 1024)
    assert tokens_per_second(job(), 1, H100, 1) == pytest.approx(expected, rel=1e-9)


def test_without_flops_a_prompt_counts_like_an_answer():
    gpu = parse_gpus("RTX 3060 12GB")
    assert gpu.flops is None
    assert tokens_per_second(job(), 2, gpu, 1) == tokens_per_second(job(), 2, gpu, 0)


def test_an_answer_is_never_faster_than_arithmetic():
    many = job(batch=4096, context=1)
    assert tokens_per_second(many, 1, H100, 0) == pytest.approx(989.5e12 / (2 * EIGHT.active_parameters))


def test_the_batch_is_what_fits():
    most = largest_batch(job(), 1, H100, 1000)
    assert 64 < most < 1000
    assert fits(job(batch=most), H100, 1)
    assert not fits(job(batch=most + 1), H100, 1)
    assert largest_batch(job(), 1, H100, 64) == 64


def test_more_gpus_are_named_only_where_they_would_hold_it():
    with pytest.raises(FitError) as caught:
        gpus_needed(job(batch=4096, context=131_072), parse_gpus("64x24GB"))
    assert "hold it" not in caught.value.hint


def test_a_mixture_reads_few_experts_for_few_sequences():
    scout = Shape.from_config(
        {"model_type": "llama4_text", "num_hidden_layers": 4, "hidden_size": 512, "num_attention_heads": 8,
         "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 1024, "intermediate_size_mlp": 1024,
         "num_local_experts": 16, "num_experts_per_tok": 1, "interleave_moe_layer_step": 1,
         "vocab_size": 1000, "attention_chunk_size": 8192, "no_rope_layer_interval": 4}
    )  # fmt: skip
    one = Job(scout, context=16)
    read = 3350e9 / tokens_per_second(one, 1, H100, 0)
    embedding = 2 * 1000 * 512
    active = 2 * scout.active_parameters - embedding
    assert read == pytest.approx(active + kv_cache_bytes(scout, 16, "bfloat16"), rel=1e-6)
    many = Job(scout, context=16, batch=64)
    read = 64 * 3350e9 / tokens_per_second(many, 1, H100, 0)
    assert read == pytest.approx(
        quantised_bytes(scout, "none") - embedding + 64 * kv_cache_bytes(scout, 16, "bfloat16"), rel=1e-6
    )
