"""accelerate's figures are its own, and what is left out of them is what stands between them and ours."""

import pytest

from benchmarks import estimates
from llama_nb.planner.shape import Shape

TINY = {
    "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 256, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 512, "vocab_size": 1000,
    "tie_word_embeddings": False, "parameters": 1,
}  # fmt: skip


def test_estimate_memory_counts_the_model_without_its_head():
    head = 1000 * 256
    parameters = Shape.from_config(TINY).parameters
    totals = estimates.theirs(TINY)
    assert totals["float16"] == pytest.approx(2 * (parameters - head), rel=1e-3)
    assert totals["int8"] == pytest.approx(totals["float16"] / 2)
    assert totals["int4"] == pytest.approx(totals["float16"] / 4)


@pytest.mark.parametrize("quant", ["none", "int8", "nf4"])
def test_what_is_left_out_adds_up(quant):
    plan = estimates.ours(TINY, "tiny", quant, 1024)
    total = plan.weights_bytes * 0.75
    parts = estimates.left_out(plan, total)
    assert total + sum(parts.values()) == pytest.approx(plan.total_bytes)
    assert (
        parts["KV cache"] == 2 * 2 * 2 * 64 * 2 * 1024
    )  # keys and values, layers, heads, width, bytes, tokens


def test_a_row_shows_both_and_the_parts():
    plan = estimates.ours(TINY, "tiny", "nf4", 1024)
    row = estimates.row("tiny", "int4", plan, plan.total_bytes / 2)
    assert row.what == "tiny, int4 (nf4), 1,024 tokens"
    assert row.ratio == 2.0
    assert "KV cache" in row.peer
