"""Offers: worked out by hand, and level where both cost the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_nb.catalog.prices import ApiPrice, Rent
from llama_nb.planner.offers import Api, Own


def api(price_in, price_out, share=0.5):
    return Api("Groq", ApiPrice("groq", "m", price_in, price_out, "2026", "x"), share)


def server(capacity, monthly):
    return Own("Lambda", Rent("lambda", "H100 SXM", 1, "2026", "x"), 1, 16, 1.0, capacity, monthly)


def test_a_provider_by_hand():
    # 8 M prompt tokens at 0.5 and 2 M answer tokens at 2 dollars per million.
    assert api(0.5, 2, 0.8).monthly(10e6) == pytest.approx(8 * 0.5 + 2 * 2)


def test_servers_are_rented_whole():
    one = server(1e9, 1000)
    assert [one.monthly(tokens) for tokens in (1, 1e9, 1e9 + 1, 2.5e9)] == [1000, 1000, 2000, 3000]
    assert one.per_million_full == pytest.approx(1)


def test_level_by_hand():
    # 1000 dollars a month against 2 dollars per million: 500 M, half of what the server can do.
    assert server(1e9, 1000).break_even(api(2, 2)) == pytest.approx(500e6)
    assert server(1e9, 1000).break_even(api(1, 1)) == pytest.approx(1e9)
    assert server(1e9, 1000).break_even(api(0.9, 0.9)) is None
    assert server(1e9, 1000).break_even(api(0, 0)) is None


amounts = st.floats(0.001, 1e3)


@given(amounts, amounts, st.floats(0, 1), st.floats(1e3, 1e12), st.floats(0.01, 1e6))
@settings(max_examples=300, deadline=None)
def test_at_the_level_both_cost_the_same(price_in, price_out, share, capacity, monthly):
    offer, own = api(price_in, price_out, share), server(capacity, monthly)
    level = own.break_even(offer)
    if level is None:
        assert own.monthly(capacity) > offer.monthly(capacity) * (1 - 1e-9)
        return
    assert level <= capacity
    assert own.monthly(level) == pytest.approx(offer.monthly(level), rel=1e-9)
    assert own.monthly(level * 0.99) >= offer.monthly(level * 0.99)
