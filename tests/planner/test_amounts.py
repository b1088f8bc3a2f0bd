"""Amounts as people write them, and what is none."""

import pytest

from llama_nb.core.errors import CostError
from llama_nb.planner.amounts import parse_number, parse_share, parse_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("50M", 50e6),
        ("1.5B", 1.5e9),
        ("200k", 200e3),
        ("1 m", 1e6),
        ("1,000,000", 1e6),
        ("1_000", 1e3),
        ("2e6", 2e6),
        ("0.5T", 5e11),
        (" 7 ", 7),
        (3, 3),
        (2.5e6, 2.5e6),
    ],
)
def test_tokens_as_people_write_them(text, tokens):
    assert parse_tokens(text) == tokens


@pytest.mark.parametrize(
    "text",
    ["", "many", "-5", "-5M", "50Q", "0", "1e99", "9" * 400, "nan", "inf", "1.5.2M", "50MB", "k", True, None],
)
def test_what_is_no_number_of_tokens_is_refused(text):
    with pytest.raises(CostError) as caught:
        parse_tokens(text)
    assert "50M" in caught.value.hint
    assert len(caught.value.message) < 120


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 0.5, 10**400])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(CostError):
        parse_tokens(value)


@pytest.mark.parametrize(
    ("text", "share"), [("0.8", 0.8), ("80%", 0.8), (0, 0), (1, 1), ("100 %", 1), ("5%", 0.05)]
)
def test_shares(text, share):
    assert parse_share("input_share", text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["80", 80, "-1%", "half", "", float("nan"), True, None, "101%"])
def test_a_share_outside_is_refused_by_name(text):
    with pytest.raises(CostError, match="input_share"):
        parse_share("input_share", text)


def test_a_share_that_divides_is_not_zero():
    with pytest.raises(CostError, match="above 0"):
        parse_share("utilisation", 0, above_zero=True)


def test_whole_numbers_are_whole():
    assert parse_number("batch", "4", 1, 8, whole=True) == 4
