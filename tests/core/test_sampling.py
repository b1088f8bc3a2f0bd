"""Ranges, text numbers and names of the sampling parameters."""

import json
import math

import pytest

from llama_nb.core.errors import SamplingError
from llama_nb.core.sampling import FIELDS, RANGES, Sampling, check_names


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", "hot"),
        ("temperature", True),
        ("temperature", None),
        ("top_p", 1.5),
        ("top_p", 0),
        ("min_p", 2),
        ("top_k", -3),
        ("top_k", 2.5),
        ("max_tokens", 0),
        ("max_tokens", -5),
        ("repetition_penalty", 0),
        ("seed", -1),
    ],
)
def test_a_value_outside_its_range_is_refused_with_the_range(name: str, value: object) -> None:
    with pytest.raises(SamplingError) as caught:
        Sampling(**{name: value})  # type: ignore[arg-type]
    assert name in caught.value.message
    assert repr(value) in caught.value.message
    assert str(RANGES[name]) in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [("temperature", "0.7", 0.7), ("top_k", "40", 40), ("seed", "7", 7), ("max_tokens", 64.0, 64)],
)
def test_numbers_given_as_text_are_accepted(name: str, value: object, kept: float) -> None:
    sampling = Sampling(**{name: value})  # type: ignore[arg-type]
    assert getattr(sampling, name) == kept
    assert type(getattr(sampling, name)) is type(kept)


def test_a_large_seed_keeps_every_digit() -> None:
    seed = 2**62 + 1
    assert Sampling(seed=seed).seed == seed


def test_temperature_zero_is_greedy() -> None:
    assert Sampling(temperature=0).greedy
    assert not Sampling(temperature=0.1).greedy


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SamplingError, match="Did you mean 'temperature'"):
        check_names({"temprature": 1})
    with pytest.raises(SamplingError, match="frequency_penalty"):
        Sampling().replace(zzz=1)


def test_one_stop_string_and_none_are_accepted_and_an_empty_one_is_not() -> None:
    assert Sampling(stop="END").stop == ("END",)  # type: ignore[arg-type]
    assert Sampling(stop=[]).stop == ()  # type: ignore[arg-type]
    with pytest.raises(SamplingError, match="stop"):
        Sampling(stop=("",))


def test_to_dict_and_back_is_the_same_value() -> None:
    sampling = Sampling(temperature=0, stop=("a", "b"), seed=3)
    assert Sampling(**sampling.to_dict()) == sampling
    assert set(sampling.to_dict()) == set(FIELDS)


def test_a_record_leaves_out_what_is_at_rest_and_gives_the_same_parameters():
    usual = Sampling().to_record()
    assert len(usual) == 10
    sampling = Sampling(temperature=1.5, dry_multiplier=0.8, banned=["sun"], logit_bias={"a": 1, 5: -2})
    record = sampling.to_record()
    assert set(record) == {*usual, "dry_multiplier", "banned", "logit_bias"}
    assert Sampling(**json.loads(json.dumps(record))) == sampling
