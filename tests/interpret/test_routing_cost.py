"""What experts cost: sums of the sizes and the hit rates, the words, and both twins."""

import dataclasses

import numpy as np
import pytest

from llama_nb.core.errors import TraceError
from llama_nb.interpret.expert_cache import simulate
from llama_nb.interpret.routing_cost import RoutingCost, cost_of
from tests.hostile.corpus import HTML
from tests.render.html_reader import HtmlReader
from tests.routing_traces import SIZES, drawn_trace


def test_caches_are_those_of_the_tokens_in_their_order() -> None:
    trace = drawn_trace(300, seed=1)
    cost = trace.cost()
    assert cost.cache == simulate(trace.chosen, 8)
    assert (cost.tokens, cost.simulated) == (300, 300)
    assert [each.experts for each in cost.cache] == list(range(1, 9))


def test_bytes_that_stay_and_that_are_brought() -> None:
    cost = cost_of(drawn_trace(300))
    assert cost.kept_bytes(8) == SIZES.total_bytes == 200_000 + 3 * 8 * 4_000
    assert cost.kept_bytes(2) == 200_000 + 3 * 2 * 4_000
    lru = {each.experts: each.lru for each in cost.cache}
    assert cost.moved_bytes(2) == pytest.approx((1 - lru[2]) * 3 * 4_000)
    assert cost.tokens_per_s(2, 1e9) == pytest.approx(1e9 / cost.moved_bytes(2))
    frame = cost.to_frame()
    assert list(frame.columns) == ["experts", "kept_bytes", "lru", "optimum", "random", "moved_bytes"]
    assert frame["moved_bytes"].is_monotonic_decreasing


def test_a_cache_that_misses_nothing_has_no_bound() -> None:
    cost = cost_of(drawn_trace(300))
    whole = dataclasses.replace(cost, cache=(dataclasses.replace(cost.cache[-1], lru=1.0),))
    assert whole.tokens_per_s(8, 1e9) == float("inf")


def test_a_batch_needs_more_experts_than_a_token_and_no_more_than_were_chosen() -> None:
    trace = drawn_trace(400, k=2)
    batch = dict(cost_of(trace).batch)
    assert batch[1] == pytest.approx(2 / 8)
    assert list(batch.values()) == sorted(batch.values())
    used = np.mean([len(np.unique(trace.chosen[:, layer])) / 8 for layer in range(3)])
    assert batch[256] == pytest.approx(used, abs=1e-6)
    draws = np.random.default_rng(0).integers(0, 400, (4000, 4))
    union = [np.mean([len(np.unique(trace.chosen[draw, layer])) / 8 for layer in range(3)]) for draw in draws]
    assert batch[4] == pytest.approx(np.mean(union), abs=0.01)


def test_more_experts_a_token_than_the_model_chooses() -> None:
    one, two = (cost_of(drawn_trace(300, k=k)) for k in (1, 2))
    assert (one.sizes.top_k, two.sizes.top_k) == (1, 2)
    assert two.sizes.token_bytes - one.sizes.token_bytes == 3 * 4_000
    assert "2 of 8 routed experts" in two.lines[0]


def test_a_long_corpus_is_tried_in_parts_and_says_so() -> None:
    cost = cost_of(drawn_trace(40_000, logits=False))
    assert (cost.tokens, cost.simulated) == (40_000, 16_384)
    assert any("16,384 tokens of it" in line for line in cost.lines)


def test_the_words_and_the_plan() -> None:
    cost = cost_of(drawn_trace(300))
    working, reading, caching, batching = cost.lines
    assert (
        "53.0 k of 74.0 k parameters work for a token: 1 of 8 routed experts in each of 3 MoE layers"
        in working
    )
    assert "296 kB in all; decoding a token reads 192 kB" in reading
    assert "2 of 8 experts of each layer" in caching
    assert "without any pattern 25 %" in caching
    assert "32 sequences at once need" in batching
    tried = cost.example
    assert tried is not None
    assert cost.plan == f"%llama plan tiny --offload 2 --hit-rate {tried.lru:.2f}"
    assert dataclasses.replace(cost, model="my model").plan.startswith('%llama plan "my model" --offload')


def test_no_tokens_cost_what_the_model_weighs() -> None:
    cost = cost_of(drawn_trace(0))
    assert (cost.cache, cost.batch) == ((), ())
    assert len(cost.lines) == 2
    assert cost.plan == "%llama plan tiny"
    assert "74.0 k" in cost._repr_mimebundle_()["text/plain"]


@pytest.mark.parametrize("experts", [0, 9, -1, 1.5, None])
def test_a_cache_that_was_not_tried(experts: int) -> None:
    with pytest.raises(TraceError, match="1, 2, 3, 4, 5, 6, 7, 8"):
        cost_of(drawn_trace(50)).moved_bytes(experts)


@pytest.mark.parametrize("bandwidth", [0, -1.0, float("nan")])
def test_a_bandwidth_that_is_none(bandwidth: float) -> None:
    with pytest.raises(TraceError, match="bandwidth"):
        cost_of(drawn_trace(50)).tokens_per_s(2, bandwidth)


def read(html: str) -> str:
    reader = HtmlReader()
    reader.feed(html)
    assert reader.faults == []
    return reader.text


def test_every_figure_is_in_both_twins() -> None:
    cost = cost_of(drawn_trace(300))
    bundle = cost._repr_mimebundle_()
    for twin in (bundle["text/plain"], read(bundle["text/html"])):
        for line in (*cost.lines, cost.plan):
            assert line in twin
        for each in cost.cache:
            assert f"{each.experts} of 8" in twin
            assert f"{100 * each.optimum:.0f} %" in twin
    assert "tiny" in repr(cost)


@pytest.mark.parametrize("hostile", HTML[:20])
def test_hostile_names_stay_text(hostile: str) -> None:
    cost: RoutingCost = dataclasses.replace(cost_of(drawn_trace(50)), model=hostile, title=hostile)
    read(cost._repr_mimebundle_()["text/html"])
    assert "\x1b" not in cost._repr_mimebundle_()["text/plain"]
