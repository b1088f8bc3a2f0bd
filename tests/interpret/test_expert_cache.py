"""Caches of experts against caches simulated by hand, and the optimum against every possible cache."""

import functools
import itertools
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from llama_nb.interpret.expert_cache import cache_sizes, simulate, stretches


def routing(tokens: int, layers: int, per_token: int, experts: int, seed: int = 0) -> Any:
    """Return chosen experts as a router's are: some far more often than others, and often the same again."""
    random = np.random.default_rng(seed)
    often = random.dirichlet(np.full(experts, 0.5), layers)
    found = np.empty((tokens, layers, per_token), np.uint8)
    for token, layer in itertools.product(range(tokens), range(layers)):
        if token and random.random() < 0.3:
            found[token, layer] = found[token - 1, layer]
        else:
            chances = (often[layer] + 0.01) / (often[layer] + 0.01).sum()
            found[token, layer] = random.choice(experts, per_token, replace=False, p=chances)
    return found


def lru_by_hand(chosen: Any, size: int) -> float:
    hits = 0
    for layer in range(chosen.shape[1]):
        cache: OrderedDict[int, None] = OrderedDict()
        for expert in chosen[:, layer].ravel().tolist():
            hits += expert in cache
            cache[expert] = None
            cache.move_to_end(expert)
            if len(cache) > size:
                cache.popitem(last=False)
    return hits / chosen.size


def most_hits(asked: tuple[int, ...], size: int) -> int:
    """Return the hits of the best of all caches, found by trying each."""

    @functools.cache
    def best(time: int, held: frozenset[int]) -> int:
        if time == len(asked):
            return 0
        wanted = asked[time]
        if wanted in held:
            return 1 + best(time + 1, held)
        if len(held) < size:
            return best(time + 1, held | {wanted})
        return max(best(time + 1, held - {each} | {wanted}) for each in held)

    return best(0, frozenset())


@pytest.mark.parametrize(("per_token", "experts"), [(1, 8), (2, 8), (1, 20), (4, 12)])
def test_least_recently_used_is_what_a_cache_does(per_token: int, experts: int) -> None:
    chosen = routing(300, 3, per_token, experts)
    for each in simulate(chosen, experts):
        assert each.lru == pytest.approx(lru_by_hand(chosen, each.experts), abs=1e-12)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = routing(200, 2, 2, 8)
    whole = simulate(chosen, 8)
    monkeypatch.setattr("llama_nb.interpret.expert_cache._BLOCK", 56)  # seven at once
    assert simulate(chosen, 8) == whole


@pytest.mark.parametrize("seed", range(4))
def test_no_cache_is_better_than_the_optimum(seed: int) -> None:
    chosen = routing(16, 2, 1, 5, seed)
    for each in simulate(chosen, 5):
        best = sum(most_hits(tuple(chosen[:, layer, 0].tolist()), each.experts) for layer in range(2))
        assert each.optimum * chosen.size == pytest.approx(best)


def test_order_of_the_three_and_of_the_sizes() -> None:
    found = simulate(routing(400, 4, 2, 32), 32)
    assert all(each.lru <= each.optimum + 1e-12 for each in found)
    for one, other in itertools.pairwise(found):
        assert one.lru <= other.lru
        assert one.optimum <= other.optimum
    # A cache of all misses each expert once only.
    chosen = routing(400, 4, 2, 32)
    first = sum(len(np.unique(chosen[:, layer])) for layer in range(4))
    assert found[-1].lru == found[-1].optimum == pytest.approx(1 - first / chosen.size)


@pytest.mark.parametrize(("tokens", "per_token"), [(30, 1), (400, 1), (30, 3), (400, 3)])
def test_without_any_pattern_is_what_drawn_experts_come_to(tokens: int, per_token: int) -> None:
    random = np.random.default_rng(0)
    runs = [
        np.stack([random.permutation(10)[:per_token] for _ in range(tokens)])[:, None] for _ in range(300)
    ]
    found = simulate(runs[0], 10)
    for each in found:
        drawn = [lru_by_hand(run, each.experts) for run in runs]
        assert each.random == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 300**0.5 + 1e-4)


def test_in_the_long_run_it_is_the_share_of_the_layer() -> None:
    for each in simulate(routing(16_000, 1, 1, 8), 8):
        assert each.random == pytest.approx(each.experts / 8, abs=0.002)


def test_an_expert_for_all_is_there_from_the_second_time_on() -> None:
    found = simulate(np.zeros((10, 2, 1), np.uint8), 4)
    assert [each.lru for each in found] == [0.9] * 4
    assert simulate(np.zeros((0, 2, 1), np.uint8), 4) == ()


def test_sizes() -> None:
    assert cache_sizes(8) == list(range(1, 9))
    assert cache_sizes(60) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 60]
    assert cache_sizes(128)[-3:] == [64, 96, 128]
    for experts in range(1, 400):
        assert cache_sizes(experts)[-1] == experts
        assert len(cache_sizes(experts)) <= 18


def test_long_corpora_are_simulated_in_stretches_from_everywhere() -> None:
    starts = np.arange(0, 100_001, 130)
    assert stretches(starts, 16_384, 1) == [slice(0, 16_384)]
    found = stretches(starts, 100_000, 1)
    assert sum(part.stop - part.start for part in found) == 16_384
    assert all(one.stop <= other.start for one, other in itertools.pairwise(found))
    assert all(part.start % 130 == 0 for part in found)
    assert found[-1].start > 90_000
    assert found[-1].stop <= 100_000
    one_text = stretches(np.array([0, 100_000]), 100_000, 8)
    assert sum(part.stop - part.start for part in one_text) == 2048
