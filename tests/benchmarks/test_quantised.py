"""The ratios of quantised models are ours to the peer's, round by round."""

import pytest

from benchmarks import quantised
from benchmarks.quantised import Side
from llama_nb.loading import quantize


def test_ratios_of_a_method():
    ours, peer = Side(2.0, 60, (10.0, 30.0, 22.0)), Side(4.0, 50, (10.0, 10.0, 20.0))
    load, weights, decode = quantised.rows_of("nf4", ours, peer)
    assert (load.what, load.ratio, load.met) == ("nf4: load", 0.5, None)
    assert weights.ratio == pytest.approx(1.2)
    assert decode.ratio == pytest.approx(1.1)  # the median of 1.0, 3.0 and 1.1
    assert decode.met
    assert decode.ours.startswith("22.0 tokens/s")


def test_a_slower_round_than_the_peers_is_not_met():
    ours, peer = Side(1.0, 1, (9.0,)), Side(1.0, 1, (10.0,))
    assert not list(quantised.rows_of("int8", ours, peer))[2].met


def test_every_method_is_one_that_loads():
    assert {name for name in quantised.METHODS if name} <= set(quantize.names())
