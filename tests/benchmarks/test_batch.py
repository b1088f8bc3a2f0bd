"""How the turns of a batch become rows; nothing is measured here."""

import pytest

from benchmarks.batch import Turn, _rows


def test_the_ratio_is_the_median_of_the_turns_ratios():
    turns = [Turn((80.0, 40.0), (10.0, 4.0), 20.0), Turn((90.0, 40.0), (10.0, 8.0), None),
             Turn((10.0, 40.0), (10.0, 5.0), 5.0)]  # fmt: skip
    plain, work, peer = _rows("a model", turns, budgeted=True)
    assert (plain.ratio, plain.budget, plain.met) == (8.0, ">= 8x", True)
    assert plain.ours == "80 tokens/s"
    assert (work.ours, work.ratio, work.met) == ("25.0 ms/token", 8.0, None)
    assert peer.ratio == pytest.approx(3.0)


def test_without_a_peer_or_a_budget_there_is_no_verdict():
    rows = _rows("a model", [Turn((70.0, 40.0), (10.0, 4.0), None)], budgeted=False)
    assert [row.met for row in rows] == [None, None]
