"""The chain equals transformers' processors, and what it records is true."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llama_nb.core.sampling import Sampling
from llama_nb.engines.head import find_head
from llama_nb.engines.sampler import NonFiniteLogitsError, Sampler
from tests.engines.logits import SHAPES, make_logits


def reference(logits: np.ndarray, sampling: Sampling, seen: list[int]) -> np.ndarray:
    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature != 1:
        processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        processors.append(MinPLogitsWarper(sampling.min_p))
    # In float64, so that the reference's own sums over 128,256 tokens are right.
    scores = processors(torch.tensor([seen]), torch.from_numpy(logits.astype(np.float64))[None])
    return scores[0].numpy()


def borderline(scores: np.ndarray, differing: np.ndarray, sampling: Sampling, kept: np.ndarray) -> bool:
    """Whether tokens kept by one side only are ties with, or within rounding of, the last token kept."""
    worst = scores[kept].min()
    return bool(np.all(np.abs(scores[differing] - worst) < 1e-3)) or (
        sampling.top_p < 1
        and bool(
            np.abs(np.exp(scores[differing] - scores.max())).sum()
            < 1e-5 * np.exp(scores - scores.max()).sum()
        )
    )


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    size=st.sampled_from([512, 999, 1000, 1001, 4096, 32_000, 128_256]),
    seed=st.integers(0, 10_000),
    temperature=st.sampled_from([0.05, 0.6, 1.0, 1.7, 20.0]),
    top_k=st.sampled_from([0, 1, 2, 40, 999, 1000, 1500, 200_000]),
    top_p=st.sampled_from([1e-6, 0.3, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    penalty=st.sampled_from([1.0, 1.3, 0.8]),
)
def test_the_chain_equals_transformers_processors(
    shape, size, seed, temperature, top_k, top_p, min_p, penalty
):
    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=penalty
    )
    logits = make_logits(shape, size, seed)
    seen = [3, 5, 5, 7]
    expected = reference(logits, sampling, seen)
    sampler = Sampler(sampling, seen)
    head = sampler.choose(logits, lambda: 0.5).steps[-1][1]
    kept = np.zeros(size, dtype=bool)
    kept[head.ids] = True
    if head.tail is not None:
        kept |= np.isfinite(logits)
    wanted = np.isfinite(expected)
    differing = np.flatnonzero(kept != wanted)
    if len(differing):
        scores = reference(
            logits, Sampling(temperature=temperature, top_p=1.0, repetition_penalty=penalty), seen
        )
        assert borderline(scores, differing, sampling, kept)
        if shape not in ("flat", "ties", "masked"):
            assert abs(int(kept.sum()) - int(wanted.sum())) <= 2
    both = head.ids[wanted[head.ids]]
    ours = head.logits[wanted[head.ids]]
    np.testing.assert_allclose(ours, expected[both], rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    size=st.sampled_from([512, 5000, 128_256]),
    seed=st.integers(0, 1000),
    count=st.integers(1, 3000) | st.integers(100_000, 130_000),
)
def test_the_head_is_the_likeliest_tokens_in_order(shape, size, seed, count):
    logits = make_logits(shape, size, seed)
    head = find_head(logits, count)
    order = np.argsort(-logits, kind="stable")[: min(count, size)]
    order = order[np.isfinite(logits[order])]
    np.testing.assert_array_equal(head.ids, order)


def test_entropy_and_logprobs_are_those_of_the_whole_distribution():
    for shape in SHAPES:
        logits = make_logits(shape, 4096, 1)
        choice = Sampler(Sampling(), [0]).choose(logits, lambda: 0.3, 20)
        true = torch.log_softmax(torch.from_numpy(logits).double(), 0)
        chances = true.exp()
        entropy = float(-(chances[chances > 0] * true[chances > 0]).sum())
        assert choice.entropy == pytest.approx(entropy, abs=1e-4)
        assert choice.logprob == pytest.approx(float(true[choice.id]), abs=1e-4)
        for candidate in choice.candidates:
            assert candidate.logprob == pytest.approx(float(true[candidate.id]), abs=1e-4)
        assert [c.logprob for c in choice.candidates] == sorted(
            (c.logprob for c in choice.candidates), reverse=True
        )


def test_draws_follow_the_distribution_beyond_the_head_too():
    size = 5000
    logits = np.zeros(size, dtype=np.float32)
    sampler = Sampler(Sampling(temperature=1, top_p=1), [0])
    drawn = [sampler.choose(logits, lambda u=u: u).id for u in np.linspace(0, 0.99999, 500)]
    assert len(set(drawn)) == 500
    assert max(drawn) > 4900


@settings(max_examples=50, deadline=None)
@given(
    uniform=st.floats(0, 1, exclude_max=True),
    shape=st.sampled_from(SHAPES),
    top_p=st.sampled_from([0.9, 1.0]),
)
def test_a_removed_token_is_never_chosen(uniform, shape, top_p):
    logits = make_logits(shape, 3000, 7)
    choice = Sampler(Sampling(temperature=1.3, top_p=top_p, min_p=0.02), [0]).choose(logits, lambda: uniform)
    assert np.isfinite(logits[choice.id])
    assert choice.id in choice.steps[-1][1].ids


def test_candidates_say_what_the_sampler_left_of_them():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))
    choice = Sampler(Sampling(temperature=1, top_k=2, top_p=1), [0]).choose(logits, lambda: 0.0, 4)
    assert [c.id for c in choice.candidates] == [0, 1, 2, 3]
    assert choice.candidates[0].sampled == pytest.approx(math.log(0.625), abs=1e-6)
    assert choice.candidates[2].sampled is None
    (record,) = choice.records
    assert (record.name, record.kept, record.removed) == ("top_k", 2, (2, 3))
    assert record.mass == pytest.approx(0.2, abs=1e-6)


def test_records_name_each_stage_in_order_and_their_kept_shrink():
    logits = make_logits("normal", 128_256, 3)
    sampling = Sampling(temperature=0.8, top_k=100, top_p=0.9, min_p=0.05)
    records = Sampler(sampling, [0]).choose(logits, lambda: 0.5).records
    assert [record.name for record in records] == ["temperature", "top_k", "top_p", "min_p"]
    kept = [record.kept for record in records]
    assert kept == sorted(kept, reverse=True)
    assert records[0].mass == 0
    assert all(0 <= record.mass < 1 for record in records)


def test_greedy_takes_the_first_of_equal_tokens_as_torch_does():
    logits = np.array([0, 2, 2, 1], dtype=np.float32)
    choice = Sampler(Sampling(temperature=0), [0]).choose(logits, lambda: 0.9, 4)
    assert choice.id == int(torch.from_numpy(logits).argmax()) == 1
    assert [c.sampled for c in choice.candidates] == [0.0, None, None, None]


def test_presence_and_frequency_count_the_reply_only():
    logits = np.zeros(8, dtype=np.float32)
    sampler = Sampler(
        Sampling(temperature=0, presence_penalty=0.5, frequency_penalty=0.25), [0, 0, 1], [2, 2, 3]
    )
    choice = sampler.choose(logits, lambda: 0.0, 8)
    assert choice.id == 0
    scores = sampler._edited(logits)
    # 0 was chosen once now: 0.5 + 0.25; 2 stands twice in the reply: 0.5 + 2 x 0.25.
    np.testing.assert_allclose(scores[:5], [-0.75, 0, -1.0, -0.75, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_numbers_are_named(bad):
    logits = np.zeros(600, dtype=np.float32)
    logits[300] = bad
    with pytest.raises(NonFiniteLogitsError):
        Sampler(Sampling(), [0]).choose(logits, lambda: 0.5)
    with pytest.raises(NonFiniteLogitsError):
        Sampler(Sampling(), [0]).choose(np.full(600, -np.inf, dtype=np.float32), lambda: 0.5)
