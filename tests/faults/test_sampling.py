"""FAULTS.md, Sampling: what may be typed for a sampling parameter, and what comes of it."""

import math

import pytest

from llama_nb.core.errors import SamplingError
from llama_nb.core.sampling import RANGES, TEXTS, Sampling
from tests.engines.opening import LILY, ids, open_folder, run

REFUSED = [
    ({"temperature": -1}, ["temperature", "-1", "0 to 100"]),
    ({"temperature": math.nan}, ["temperature", "nan", "0 to 100"]),
    ({"temperature": math.inf}, ["temperature", "inf"]),
    ({"temperature": "hot"}, ["temperature", "'hot'", "not a number"]),
    ({"temperature": True}, ["temperature", "True"]),
    ({"temperature": [0.7]}, ["temperature", "[0.7]"]),
    ({"top_p": 1.5}, ["top_p", "1.5", "more than 0 to 1"]),
    ({"top_p": 0}, ["top_p", "0", "more than 0"]),
    ({"min_p": 2}, ["min_p", "2", "0 to 1"]),
    ({"min_p": -0.1}, ["min_p", "-0.1"]),
    ({"top_k": -3}, ["top_k", "-3", "0 or more"]),
    ({"top_k": 2.5}, ["top_k", "2.5", "whole number"]),
    ({"repetition_penalty": 0}, ["repetition_penalty", "more than 0"]),
    ({"presence_penalty": 99}, ["presence_penalty", "99", "-10 to 10"]),
    ({"frequency_penalty": -math.inf}, ["frequency_penalty"]),
    ({"max_tokens": 0}, ["max_tokens", "0", "1 or more"]),
    ({"max_tokens": -5}, ["max_tokens", "-5", "1 or more"]),
    ({"seed": -1}, ["seed", "-1"]),
    ({"seed": 2**63}, ["seed"]),
    ({"stop": ("",)}, ["stop", "''", "at least one character"]),
    ({"stop": (7,)}, ["stop", "7"]),
    ({"typical_p": 0}, ["typical_p", "more than 0 to 1"]),
    ({"epsilon_cutoff": 1.1}, ["epsilon_cutoff", "1.1", "0 to 1"]),
    ({"top_n_sigma": -1}, ["top_n_sigma", "-1"]),
    ({"xtc_threshold": 2}, ["xtc_threshold", "2", "0 to 1"]),
    ({"mirostat_eta": 0}, ["mirostat_eta", "more than 0"]),
    ({"dry_allowed_length": 0}, ["dry_allowed_length", "1 or more"]),
    ({"dry_base": 0.5}, ["dry_base", "0.5", "1 to 10"]),
    ({"no_repeat_ngram": 1.5}, ["no_repeat_ngram", "whole number"]),
    ({"banned": [""]}, ["banned", "at least one character"]),
    ({"logit_bias": "sun"}, ["logit_bias", "'sun'", "JSON"]),
    ({"logit_bias": {"sun": "much"}}, ["logit_bias", "much"]),
    ({"logit_bias": {"sun": 101}}, ["logit_bias", "'sun'", "101", "-100 to 100"]),
    ({"logit_bias": {2.5: 1}}, ["logit_bias", "2.5"]),
    ({"order": "top_p,temprature"}, ["order", "'temprature'", "Did you mean 'temperature'?"]),
    ({"order": ("top_k", "top_k")}, ["order", "top_k", "twice"]),
]


@pytest.mark.parametrize(("given", "named"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_value_out_of_range_is_refused_with_the_range(given, named):
    with pytest.raises(SamplingError) as caught:
        Sampling(**given)
    for part in named:
        assert part in str(caught.value)


def test_an_unknown_option_gets_the_nearest_name():
    with pytest.raises(SamplingError, match="temperature"):
        Sampling().replace(temprature=0.5)


ACCEPTED = [
    {"temperature": "0.7"},
    {"temperature": 0},
    {"top_k": "40", "max_tokens": "3"},
    {"stop": []},
    {"stop": None},
    {"stop": "park"},
    {"seed": 0},
    {"seed": 2**53},
    {"banned": "park", "logit_bias": {"5": 1}},
    {"logit_bias": '{"403": -100}', "order": "top_p, temperature"},
]


@pytest.mark.parametrize("given", ACCEPTED, ids=str)
def test_what_is_in_range_runs(stories, given):
    events = run(stories, LILY, **{"max_tokens": 3, **given})
    assert events[-1].finish is not None
    assert 1 <= len(ids(events)) <= 3


EXTREMES = [
    {"temperature": 100},
    {"temperature": 1e-6, "top_p": 1},
    {"top_p": 1e-9},
    {"top_k": 10**9},
    {"min_p": 1},
    {"repetition_penalty": 10},
    {"repetition_penalty": 1e-3},
    {"presence_penalty": 10, "frequency_penalty": 10},
    {
        "presence_penalty": -10,
        "frequency_penalty": -10,
        "temperature": 5,
        "top_k": 3,
        "top_p": 0.1,
        "min_p": 0.9,
    },
    {"typical_p": 1e-9},
    {"epsilon_cutoff": 1},
    {"eta_cutoff": 1, "top_n_sigma": 1e-9},
    {"xtc_probability": 1, "xtc_threshold": 0},
    {"mirostat_tau": 100, "mirostat_eta": 1},
    {"mirostat_tau": 1e-3},
    {"dynatemp_range": 100, "dynatemp_exponent": 10},
    {"dry_multiplier": 100, "dry_base": 10, "dry_allowed_length": 1, "no_repeat_ngram": 1},
    {"penalty_window": 1, "repetition_penalty": 10},
]


@pytest.mark.parametrize("given", EXTREMES, ids=str)
def test_the_ends_of_every_range_still_choose_tokens(stories, given):
    events = run(stories, LILY, max_tokens=6, seed=3, **given)
    assert len(ids(events)) == 6
    assert all(math.isfinite(event.logprob) and event.entropy >= 0 for event in events)
    assert ids(events) == ids(run(stories, LILY, max_tokens=6, seed=3, **given))


def test_a_temperature_near_zero_is_greedy(stories):
    greedy = ids(run(stories, LILY, temperature=0, max_tokens=20))
    assert ids(run(stories, LILY, temperature=1e-6, seed=1, max_tokens=20)) == greedy
    assert ids(run(stories, LILY, temperature=2, top_k=1, seed=1, max_tokens=20)) == greedy


def test_every_parameter_has_a_range_with_a_meaning():
    assert set(RANGES) | set(TEXTS) == set(Sampling().to_dict())
    assert set(RANGES).isdisjoint(TEXTS)
    assert all(limits.meaning for limits in RANGES.values())
    assert all(TEXTS.values())


@pytest.fixture(scope="module")
def stories(stories260k):
    engine = open_folder(stories260k)
    yield engine
    engine.close()
