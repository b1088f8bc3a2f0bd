"""A parameter that is said to have no effect has none: the sampler is asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_nb.core.no_effect import no_effect, sentences
from llama_nb.core.sampling import FIELDS, STAGES, Sampling
from llama_nb.engines.sampler import Sampler
from llama_nb.engines.token_words import TokenWords

PROMPT, REPLY = [1, 2, 3, 1, 2, 3, 4], [5, 1, 2]
VALUES = {
    "temperature": st.sampled_from([0.0, 0.3, 1.0, 1.7]),
    "top_k": st.sampled_from([0, 1, 5]),
    "top_p": st.sampled_from([0.3, 1.0]),
    "min_p": st.sampled_from([0.0, 0.2]),
    "repetition_penalty": st.sampled_from([1.0, 1.5]),
    "presence_penalty": st.sampled_from([0.0, 0.7]),
    "frequency_penalty": st.sampled_from([0.0, 0.4]),
    "penalty_window": st.sampled_from([0, 2]),
    "no_repeat_ngram": st.sampled_from([0, 2]),
    "dry_multiplier": st.sampled_from([0.0, 2.0]),
    "dry_base": st.sampled_from([1.1, 3.0]),
    "dry_allowed_length": st.sampled_from([1, 2]),
    "dry_breakers": st.sampled_from([(), ("x",)]),
    "dynatemp_range": st.sampled_from([0.0, 0.5]),
    "dynatemp_exponent": st.sampled_from([0.5, 2.0]),
    "typical_p": st.sampled_from([0.2, 1.0]),
    "epsilon_cutoff": st.sampled_from([0.0, 0.05]),
    "eta_cutoff": st.sampled_from([0.0, 0.1]),
    "top_n_sigma": st.sampled_from([0.0, 0.8]),
    "xtc_probability": st.sampled_from([0.0, 1.0]),
    "xtc_threshold": st.sampled_from([0.05, 0.3, 0.6]),
    "mirostat_tau": st.sampled_from([0.0, 2.0]),
    "mirostat_eta": st.sampled_from([0.1, 0.9]),
    "order": st.permutations(STAGES).map(lambda names: tuple(names[:4])),
}


def final(sampling, logits):
    """The ids and probabilities that a token is drawn from after two tokens, where mirostat has adapted."""
    words = TokenWords(np.empty(0, np.int64), np.empty(0, np.float32), (), lambda token: False)
    sampler = Sampler(sampling, PROMPT, REPLY, words)
    sampler.choose(logits, lambda: 0.4)
    if sampling.greedy:
        return [sampler.choose(logits, lambda: 0.0).id], [1.0]
    head = sampler.trace(logits)[-1][1]
    return head.ids.tolist(), head.chances().tolist()


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({}, optional=VALUES), st.integers(0, 100), st.data())
def test_what_has_no_effect_changes_nothing(given_values, seed, data):
    logits = (np.random.default_rng(seed).standard_normal(300) * 3).astype(np.float32)
    sampling = Sampling(**given_values)
    expected = final(sampling, logits)
    idle = [name for name in no_effect(sampling) if name in VALUES]
    for name in idle:
        changed = final(sampling.replace(**{name: data.draw(VALUES[name], label=name)}), logits)
        assert changed[0] == expected[0], name
        np.testing.assert_allclose(changed[1], expected[1], rtol=1e-6)


IDLE = [
    ({}, {"dynatemp_exponent", "xtc_threshold", "mirostat_eta", "dry_base", "penalty_window"}),
    ({"temperature": 0}, {"top_k", "top_p", "min_p", "typical_p", "xtc_probability", "seed", "mirostat_tau"}),
    ({"top_k": 1}, {"temperature", "top_p", "min_p", "xtc_probability", "seed"}),
    ({"xtc_threshold": 0.6, "xtc_probability": 1}, {"xtc_probability"}),
]


@pytest.mark.parametrize(("values", "named"), IDLE, ids=[str(values) for values, _ in IDLE])
def test_what_has_no_effect_is_named_with_its_reason(values, named):
    found = no_effect(Sampling(**values))
    assert named <= set(found) <= set(FIELDS)
    assert all(found.values())


BUSY = [
    ({}, {"temperature", "top_p", "top_k", "min_p", "seed", "xtc_probability", "dry_multiplier"}),
    ({"repetition_penalty": 1.1}, {"penalty_window"}),
    ({"dry_multiplier": 1}, {"dry_base", "dry_allowed_length", "dry_breakers", "penalty_window"}),
    ({"temperature": 0}, {"temperature", "repetition_penalty", "banned", "max_tokens", "stop"}),
    ({"xtc_probability": 0.5}, {"xtc_threshold"}),
    ({"mirostat_tau": 3}, {"mirostat_eta"}),
    ({"top_k": 1, "typical_p": 0.5, "order": "typical_p"}, {"temperature", "seed"}),
]


@pytest.mark.parametrize(("values", "named"), BUSY, ids=[str(values) for values, _ in BUSY])
def test_what_acts_is_not_named(values, named):
    assert named.isdisjoint(no_effect(Sampling(**values)))


def test_a_reason_is_one_sentence_for_all_that_it_holds_for():
    sampling = Sampling(temperature=0, top_k=5)
    assert sentences(["top_k", "top_p", "temperature", "min_p"], sampling) == [
        "top_k, top_p and min_p have no effect: at temperature 0 the likeliest token is always taken."
    ]
    assert sentences(["xtc_threshold"], Sampling()) == [
        "xtc_threshold has no effect: xtc_probability is off."
    ]
    assert sentences(["temperature"], sampling) == []
