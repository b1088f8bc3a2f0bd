"""Each stage equals transformers' processor, or a plain computation over the whole vocabulary."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    TypicalLogitsWarper,
)

from llama_nb.core.errors import SamplingError
from llama_nb.core.sampling import STAGES, Sampling
from llama_nb.engines import penalties
from llama_nb.engines.head import HEAD, find_head
from llama_nb.engines.penalties import Past
from llama_nb.engines.sampler import Sampler, draws
from llama_nb.engines.token_words import TokenWords, find_words
from tests.engines.logits import SHAPES, make_logits

SIZES = [512, 999, 1000, 1001, 4096, 128_256]
PLAIN = {"temperature": 1.0, "top_p": 1.0}
wide = settings(max_examples=60, deadline=None)


def last(logits, draw=lambda: 0.0, **options):
    """The distribution that a token is drawn from, as (kept, logits) over the whole vocabulary."""
    head = Sampler(Sampling(**{**PLAIN, **options}), [0]).choose(logits, draw).steps[-1][1]
    kept = np.zeros(len(logits), dtype=bool)
    kept[head.ids] = True
    values = np.full(len(logits), -np.inf)
    if head.tail is not None:
        rest = head.tail.logits()
        kept |= np.isfinite(rest)
        values[:] = rest
    values[head.ids] = head.logits
    return kept, values


def softmax(logits):
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return weights / weights.sum()


def agree(kept, expected, chances, limit=1e-5):
    """Equal but for tokens whose probability lies within rounding of the least likely one kept."""
    differing = np.flatnonzero(kept != expected)
    if len(differing) == 0:
        return True
    edge = chances[kept].min()
    return bool(np.all(np.abs(np.log(chances[differing] + 1e-300) - np.log(edge + 1e-300)) < 1e-3)) or (
        chances[differing].sum() < limit
    )


@wide
@given(
    shape=st.sampled_from(SHAPES),
    size=st.sampled_from(SIZES),
    seed=st.integers(0, 9999),
    mass=st.sampled_from([0.05, 0.2, 0.5, 0.9, 0.99]),
)
def test_typical_sampling_equals_transformers(shape, size, seed, mass):
    logits = make_logits(shape, size, seed)
    chances = softmax(logits)
    # In float64: the reference's own float32 sums go wrong on large vocabularies.
    theirs = TypicalLogitsWarper(mass)(torch.zeros((1, 1)), torch.from_numpy(logits.astype(np.float64))[None])
    expected = np.isfinite(theirs[0].numpy())
    kept, _ = last(logits, typical_p=mass)
    differing = kept != expected
    if differing.any():
        # Tokens at the edge: their distance from the entropy is that of the farthest one kept, to rounding.
        entropy = -(chances[chances > 0] * np.log(chances[chances > 0])).sum()
        with np.errstate(divide="ignore"):
            distance = np.abs(-np.log(chances) - entropy)
        edge = distance[expected].max()
        assert (
            np.all(np.abs(distance[differing] - edge) < 1e-3 * max(1, edge))
            or chances[differing].sum() < 1e-5
        )
    assert kept.any()


@wide
@given(
    shape=st.sampled_from(SHAPES),
    size=st.sampled_from(SIZES),
    seed=st.integers(0, 9999),
    value=st.sampled_from([1e-6, 3e-4, 1e-3, 0.02, 0.3, 0.9]),
    eta=st.booleans(),
)
def test_epsilon_and_eta_equal_transformers(shape, size, seed, value, eta):
    logits = make_logits(shape, size, seed)
    theirs = EtaLogitsWarper(value) if eta else EpsilonLogitsWarper(value)
    scores = theirs(torch.zeros((1, 1)), torch.from_numpy(logits.astype(np.float64))[None])[0].numpy()
    kept, _ = last(logits, **({"eta_cutoff": value} if eta else {"epsilon_cutoff": value}))
    chances = softmax(logits)
    expected = np.isfinite(scores)
    if expected.sum() > 1 and chances[expected].max() == chances[expected].min() and kept.sum() == 1:
        return  # all equal and all below the cutoff: theirs keeps every one of the likeliest, ours the first
    assert agree(kept, expected, chances)


@wide
@given(
    shape=st.sampled_from(SHAPES),
    size=st.sampled_from(SIZES),
    seed=st.integers(0, 9999),
    count=st.sampled_from([0.1, 0.5, 1.0, 2.5, 6.0]),
    heat=st.sampled_from([0.3, 1.0, 4.0]),
)
def test_top_n_sigma_keeps_what_is_near_the_largest_logit_at_any_temperature(shape, size, seed, count, heat):
    logits = make_logits(shape, size, seed)
    finite = logits[np.isfinite(logits)].astype(np.float64)
    expected = logits >= finite.max() - count * finite.std()
    kept, _ = last(logits, top_n_sigma=count, temperature=heat)
    assert agree(kept, expected, softmax(logits))


@wide
@given(
    shape=st.sampled_from(SHAPES),
    size=st.sampled_from(SIZES),
    seed=st.integers(0, 9999),
    spread=st.sampled_from([0.2, 0.6, 2.0]),
    exponent=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_dynamic_temperature_follows_the_entropy(shape, size, seed, spread, exponent):
    logits = make_logits(shape, size, seed)
    chances = softmax(logits)
    count = int(np.isfinite(logits).sum())
    entropy = -(chances[chances > 0] * np.log(chances[chances > 0])).sum()
    low, high = max(0.01, 0.6 - spread), 0.6 + spread
    heat = low + (high - low) * (min(1.0, entropy / math.log(count)) ** exponent if count > 1 else 1.0)
    _, values = last(logits, temperature=0.6, dynatemp_range=spread, dynatemp_exponent=exponent)
    # Sums over 128,256 float32 numbers leave 1e-4 of an entropy uncertain, which a root makes much of near 0.
    assume(count > 1 and (entropy > 0.2 or exponent >= 1))
    there = np.isfinite(values)
    np.testing.assert_allclose(values[there], logits[there] / heat, rtol=2e-3, atol=1e-4)


@wide
@given(
    shape=st.sampled_from(SHAPES),
    size=st.sampled_from(SIZES),
    seed=st.integers(0, 9999),
    threshold=st.sampled_from([0.0001, 0.01, 0.1, 0.4]),
)
def test_xtc_drops_all_likely_tokens_but_the_last(shape, size, seed, threshold):
    logits = make_logits(shape, size, seed)
    chances = softmax(logits)
    assume(not np.any(np.abs(chances - threshold) < 1e-9))
    order = np.argsort(-logits, kind="stable")
    likely = int((chances >= threshold).sum())
    dropped = set(order[: likely - 1].tolist()) if likely > 1 else set()
    kept, _ = last(logits, draw=lambda: 0.0, xtc_probability=0.5, xtc_threshold=threshold)
    assert set(np.flatnonzero(np.isfinite(logits) & ~kept).tolist()) == dropped
    untouched, _ = last(logits, draw=lambda: 0.9, xtc_probability=0.5, xtc_threshold=threshold)
    np.testing.assert_array_equal(untouched, np.isfinite(logits))


@wide
@given(shape=st.sampled_from(SHAPES), size=st.sampled_from(SIZES), seed=st.integers(0, 999))
def test_mirostat_cuts_by_surprise_and_adapts_to_the_token(shape, size, seed):
    logits = make_logits(shape, size, seed)
    chances = softmax(logits)
    sampler = Sampler(Sampling(**PLAIN, mirostat_tau=3.0, mirostat_eta=0.2), [0])
    limit = sampler.surprise
    assert limit == 6.0
    choice = sampler.choose(logits, lambda: 0.7)
    head = choice.steps[-1][1]
    with np.errstate(divide="ignore"):
        bits = -np.log2(chances)
    expected = bits <= limit
    if not expected.any():
        expected[int(np.argmax(logits))] = True
    kept = np.zeros(size, dtype=bool)
    kept[head.ids] = True
    assert agree(kept, expected, chances)
    left = chances * kept
    surprise = -np.log2(left[choice.id] / left.sum())
    assert sampler.surprise == pytest.approx(limit - 0.2 * (surprise - 3.0), abs=1e-3)


def test_mirostat_comes_to_the_surprise_that_was_asked_for():
    sampler = Sampler(Sampling(**PLAIN, mirostat_tau=2.0, mirostat_eta=0.1, seed=1), [0])
    random = np.random.default_rng(0)
    surprises = []
    for _ in range(1500):
        logits = (random.standard_normal(2000) * 2.5).astype(np.float32)
        before = sampler.surprise
        sampler.choose(logits, random.random)
        surprises.append(2.0 - (sampler.surprise - before) / 0.1)
    assert np.mean(surprises[300:]) == pytest.approx(2.0, abs=0.1)


tokens = st.lists(st.integers(0, 6), min_size=0, max_size=40)


@wide
@given(prompt=tokens, reply=tokens, size=st.integers(1, 5))
def test_no_repeat_ngram_equals_transformers(prompt, reply, size):
    ids = prompt + reply
    assume(len(ids) >= 1)
    logits = np.zeros(10, dtype=np.float32)
    theirs = NoRepeatNGramLogitsProcessor(size)(torch.tensor([ids]), torch.from_numpy(logits.copy())[None])
    past = Past(Sampling(no_repeat_ngram=size), prompt, reply)
    assert set(penalties.no_repeat_ngram(past).ids.tolist()) == set(
        np.flatnonzero(~np.isfinite(theirs[0].numpy())).tolist()
    )


@wide
@given(
    ids=st.lists(st.integers(0, 6), min_size=1, max_size=30),
    words=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_banned_words_equal_transformers(ids, words):
    logits = torch.zeros((1, 10))
    theirs = NoBadWordsLogitsProcessor([list(word) for word in words])(torch.tensor([ids]), logits)
    past = Past(Sampling(), ids)
    edit = penalties.banned(past, [tuple(word) for word in words])
    assert set(edit.ids.tolist()) == set(np.flatnonzero(~np.isfinite(theirs[0].numpy())).tolist())


def plain_dry(ids, allowed, window, breakers):
    """DRY as its first description goes: for each earlier place that looks like the end, walk backwards."""
    ids = ids[-window:] if window else ids
    longest = {}
    if not ids or ids[-1] in breakers:
        return longest
    for place in range(len(ids) - 1):
        following = ids[place + 1]
        if ids[place] != ids[-1] or following in breakers:
            continue
        length = 1
        while length < 50 and place - length >= 0:
            one, other = ids[place - length], ids[-1 - length]
            if one != other or other in breakers:
                break
            length += 1
        longest[following] = max(longest.get(following, 0), length)
    return {token: length - allowed for token, length in longest.items() if length >= allowed}


@settings(max_examples=200, deadline=None)
@given(
    prompt=tokens,
    reply=tokens,
    allowed=st.integers(1, 4),
    window=st.sampled_from([0, 5, 20]),
    breakers=st.sets(st.integers(0, 6), max_size=2),
)
def test_dry_equals_its_description(prompt, reply, allowed, window, breakers):
    sampling = Sampling(dry_multiplier=0.8, dry_allowed_length=allowed, penalty_window=window)
    past = Past(sampling, prompt, reply, breakers.__contains__)
    ids, longer = past.repeated(allowed)
    assert dict(zip(ids.tolist(), longer.tolist(), strict=True)) == plain_dry(
        prompt + reply, allowed, window, breakers
    )


def test_dry_is_the_same_in_the_prompt_and_token_by_token_and_over_many_tokens():
    random = np.random.default_rng(3)
    ids = random.integers(0, 4, 3000).tolist()
    sampling = Sampling(dry_multiplier=1.0)
    whole, stepwise = Past(sampling, ids), Past(sampling, ids[:10], ids[10:])
    for one, other in zip(whole.repeated(2), stepwise.repeated(2), strict=True):
        np.testing.assert_array_equal(one, other)
    assert dict(zip(*(part.tolist() for part in whole.repeated(2)), strict=True)) == plain_dry(
        ids, 2, 0, set()
    )


def test_a_dry_penalty_grows_with_each_repeated_token():
    past = Past(Sampling(dry_multiplier=0.8), [1, 2, 3, 4, 9, 1, 2, 3])
    ids, how = penalties.dry(past, 0.8, 1.75, 2)
    assert ids.tolist() == [4]
    assert how(np.zeros(1, np.float32), np.arange(1))[0] == pytest.approx(-0.8 * 1.75 ** (3 - 2))


@pytest.mark.parametrize("window", [0, 2, 4, 100])
def test_penalties_see_the_window_only(window):
    logits = np.ones(10, dtype=np.float32)
    options = {"repetition_penalty": 2.0, "presence_penalty": 0.25, "frequency_penalty": 0.5}
    sampler = Sampler(Sampling(temperature=0, penalty_window=window, **options), [1, 2], [3, 3, 4])
    everything = [1, 2, 3, 3, 4]
    seen = everything[-window:] if window else everything
    counted = [3, 3, 4] if not window else everything[max(2, 5 - window) :]
    expected = np.ones(10)
    for token in set(seen):
        expected[token] /= 2
    for token in set(counted):
        expected[token] -= 0.25 + 0.5 * counted.count(token)
    np.testing.assert_allclose(sampler._edited(logits), expected)


def words_of(**options):
    vocabulary = {"sun": (5,), " sun": (6,), "sunny day": (5, 7, 8), " sunny day": (6, 7, 8), "a": (9,)}
    texts = {5: "sun", 6: " sun", 7: "ny", 8: " day", 9: "a", 3: "\n\n"}
    return find_words(Sampling(**options), lambda text: vocabulary.get(text, ()), texts.__getitem__, 10)


def test_words_are_looked_up_with_and_without_a_space():
    words = words_of(logit_bias={"sun": 2, 9: -100, 5: 1}, banned=["sunny day", "a"])
    assert dict(zip(words.bias_ids.tolist(), words.bias.tolist(), strict=True)) == {5: 3, 6: 2, 9: -100}
    assert words.banned == ((5, 7, 8), (6, 7, 8), (9,))
    assert words.breaks(3)
    assert not words.breaks(5)


def test_a_bias_that_cannot_be_is_refused():
    with pytest.raises(SamplingError, match="'sunny day', which is 3 tokens here: 5, 7, 8"):
        words_of(logit_bias={"sunny day": 1})
    with pytest.raises(SamplingError, match="token 10; the vocabulary has 10 tokens"):
        words_of(logit_bias={10: 1})


def test_bias_and_bans_act():
    logits = np.zeros(10, dtype=np.float32)
    words = TokenWords(np.array([4]), np.array([5.0], np.float32), ((4, 7), (2,)), lambda _: False)
    sampler = Sampler(Sampling(**PLAIN, logit_bias={4: 5}, banned=["x"]), [0], (), words)
    choice = sampler.choose(logits, lambda: 0.5)
    assert choice.id == 4
    assert 2 not in choice.steps[-1][1].ids
    after = sampler.choose(logits, lambda: 0.5).steps[-1][1]
    assert set(range(10)) - set(after.ids.tolist()) == {2, 7}, "7 would complete the banned word 4 7"


def test_banning_everything_bans_nothing():
    logits = np.zeros(3, dtype=np.float32)
    words = TokenWords(np.empty(0, np.int64), np.empty(0, np.float32), ((0,), (1,), (2,)), lambda _: False)
    for heat in (0, 1):
        sampling = Sampling(temperature=heat, top_p=1, banned=["x"])
        assert Sampler(sampling, [0], (), words).choose(logits, lambda: 0.5).id in (0, 1, 2)


EVERYTHING = {
    "repetition_penalty": 1.3, "presence_penalty": 0.2, "frequency_penalty": 0.1, "dry_multiplier": 0.8,
    "no_repeat_ngram": 3, "temperature": 0.8, "top_k": 300, "top_p": 0.95, "min_p": 0.001, "typical_p": 0.97,
    "epsilon_cutoff": 1e-5, "eta_cutoff": 1e-5, "top_n_sigma": 5, "xtc_probability": 0.5, "mirostat_tau": 8,
}  # fmt: skip
PAST = [3, 4, 5, 6, 3, 4, 5]


@wide
@given(
    order=st.permutations(STAGES),
    shape=st.sampled_from(SHAPES),
    size=st.sampled_from([512, 3000]),
    seed=st.integers(0, 99),
)
def test_any_order_acts_in_that_order_and_equals_its_stages_one_by_one(order, shape, size, seed):
    logits = make_logits(shape, size, seed)
    sampling = Sampling(**EVERYTHING, order=order)
    sampler = Sampler(sampling, PAST)
    traced = sampler.trace(logits)
    on = [name for name in order if name in EVERYTHING or name in ("dry", "xtc", "mirostat")]
    assert [name for name, _ in traced] == ["logits", *on]
    # The chain as it runs makes the first changes to all logits at once; the trace makes each to the head.
    chosen = sampler.choose(logits, lambda: 0.0)
    ran, step = chosen.steps[-1][1], traced[-1][1]
    assert set(ran.ids.tolist()) == set(step.ids.tolist())
    np.testing.assert_allclose(ran.logits, step.logits, rtol=1e-4, atol=1e-4)
    assert chosen.id in ran.ids


def test_a_trace_changes_nothing():
    logits = make_logits("normal", 3000, 1)
    sampling = Sampling(**EVERYTHING)
    traced, plain = Sampler(sampling, PAST), Sampler(sampling, PAST)
    numbers = np.random.default_rng(0).random(40).tolist()
    one, other = iter(numbers), iter(numbers)
    for _ in range(10):
        traced.trace(logits)
        assert traced.choose(logits, lambda: next(one)).id == plain.choose(logits, lambda: next(other)).id


@pytest.mark.parametrize(
    ("options", "count"), [({}, 1), ({"temperature": 0}, 0), ({"xtc_probability": 0.3}, 2)]
)
def test_each_token_takes_as_many_random_numbers(options, count):
    sampling = Sampling(**options)
    drawn = []
    Sampler(sampling, [0]).choose(make_logits("normal", 600, 1), lambda: drawn.append(1) or 0.5)
    assert len(drawn) == draws(sampling) == count


@pytest.mark.parametrize("stage", ["typical_p", "epsilon_cutoff", "eta_cutoff", "top_n_sigma", "top_p"])
def test_a_stage_that_keeps_more_than_the_head_widens_it(stage):
    logits = np.linspace(0, -0.5, 20_000, dtype=np.float32)
    value = {"typical_p": 0.9, "epsilon_cutoff": 1e-7, "eta_cutoff": 1e-7, "top_n_sigma": 3, "top_p": 0.9}[
        stage
    ]
    kept, _ = last(logits, **{stage: value})
    assert kept.sum() > 10 * HEAD


def test_edits_reach_tokens_outside_of_the_head():
    logits = np.linspace(0, -20, 5000, dtype=np.float32)
    head = find_head(logits, 100)
    raised = head.change(
        np.array([4999, 0]), lambda values, which: values + np.array([30, -5], np.float32)[which]
    )
    assert raised.ids[0] == 4999
    assert raised.logits[0] == pytest.approx(10.0, abs=1e-4)
    assert len(raised.ids) == 100
