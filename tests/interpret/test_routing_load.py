"""Loads of experts: counted by hand, and what must hold whatever the routing is."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from llama_nb.core.errors import TraceError
from llama_nb.interpret import routing_load
from llama_nb.interpret.routing_load import Load, blocks, count_choices, load_of
from tests.interpret.given_routing import given_trace

# Six tokens of two layers with four experts: layer 1 uses 0, 0, 0, 1, 1, 2; layer 3 only expert 3.
CHOSEN = [[0, 3], [0, 3], [0, 3], [1, 3], [1, 3], [2, 3]]


def test_shares_evenness_and_dead_experts_are_those_counted_by_hand():
    found = load_of(given_trace(CHOSEN))
    assert found.tokens == 6
    assert found.counts.tolist() == [[3, 2, 1, 0], [0, 0, 0, 6]]
    assert found.shares == pytest.approx(np.array([[1 / 2, 1 / 3, 1 / 6, 0], [0, 0, 0, 1]]))
    assert found.dead == ((1, 3), (3, 0), (3, 1), (3, 2))
    assert found.max_over_mean == pytest.approx([2, 4])
    # Counts 3, 2, 1, 0: mean 1.5, variance (2.25 + .25 + .25 + 2.25) / 4 = 1.25. One of four: sqrt(3).
    assert found.cv == pytest.approx([math.sqrt(1.25) / 1.5, math.sqrt(3)])


def test_the_balance_loss_is_experts_times_the_sum_of_shares_times_mean_scores():
    # Mean scores of layer 1: .4, .3, .2, .1, so 4 * (.5 * .4 + .4 * .3 ... ) by hand.
    mass = [[[2.4, 1.8, 1.2, 0.6], [0, 0, 0, 6]]]
    found = load_of(given_trace(CHOSEN, mass=mass))
    assert found.balance == pytest.approx([4 * (0.4 / 2 + 0.3 / 3 + 0.2 / 6), 4])


def test_with_two_experts_a_token_each_counts():
    found = load_of(given_trace([[[0, 1]], [[0, 2]]]))
    assert found.shares == pytest.approx(np.array([[0.5, 0.25, 0.25, 0]]))
    assert found.shares.sum() == pytest.approx(1)


def test_a_domain_is_compared_with_all_others_and_unlabelled_tokens_are_among_those():
    trace = given_trace(
        CHOSEN,
        starts=[0, 2, 4, 6],
        labels=["sums", "", "code"],
        mass=[[[1, 1, 0, 0]] * 2, [[0, 0, 2, 2]] * 2, [[1, 0, 0, 1]] * 2],
    )
    code = load_of(trace, "code")
    assert (code.domain, code.tokens) == ("code", 2)
    assert code.counts[0].tolist() == [0, 1, 1, 0]
    assert code.difference[0] == pytest.approx([-0.75, 0.5 - 0.25, 0.5, 0])
    assert code.difference[1] == pytest.approx([0, 0, 0, 0])
    assert code.balance[0] == pytest.approx(4 * 0.5 * 0.5)
    whole = load_of(trace)
    assert whole.difference is None
    assert whole.counts.tolist() == load_of(given_trace(CHOSEN)).counts.tolist()
    assert whole.balance[1] == pytest.approx(4 * 3 / 8)
    frame = code.to_frame()
    assert list(frame) == ["layer", "expert", "count", "share", "difference"]
    assert frame.iloc[1].tolist() == [1, 1, 1, 0.5, 0.25]


@pytest.mark.parametrize("domain", ["poems", "Code"])
def test_an_unknown_domain_is_named_with_those_there_are(domain):
    with pytest.raises(TraceError, match=f"{domain}.*There are: code"):
        load_of(given_trace(CHOSEN, labels=["code"]), domain)
    with pytest.raises(TraceError, match="no labels"):
        load_of(given_trace(CHOSEN), domain)


def test_without_tokens_nothing_is_dead_and_nothing_uneven():
    found = Load((1,), np.zeros((1, 4), np.int64), np.zeros((1, 4)), 0)
    assert found.dead == ()
    assert found.cv.tolist() == found.max_over_mean.tolist() == found.balance.tolist() == [0]


@st.composite
def routings(draw):
    experts = draw(st.integers(2, 9))
    k = draw(st.integers(1, 2))
    shape = (draw(st.integers(1, 40)), draw(st.integers(1, 4)), k)
    chosen = draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, experts - 1)))
    groups = draw(arrays.arrays(np.int16, shape[0], elements=st.integers(-1, 2)))
    return experts, chosen, groups


@settings(deadline=None, max_examples=50)
@given(routings())
def test_counts_are_those_of_a_plain_loop_whatever_the_blocks(drawn):
    experts, chosen, groups = drawn
    expected = np.zeros((3, chosen.shape[1], experts), dtype=int)
    for token, group in enumerate(groups):
        for layer in range(chosen.shape[1]):
            for expert in chosen[token, layer]:
                if group >= 0:
                    expected[group, layer, expert] += 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routing_load, "_BLOCK", 7)
        found = count_choices(chosen, experts, groups, 3)
    assert (found == expected).all()
    assert (count_choices(chosen, experts)[0].sum(axis=1) == chosen[:, 0].size).all()


@settings(deadline=None, max_examples=50)
@given(routings(), st.data())
def test_what_holds_of_every_load(drawn, data):
    experts, chosen, _ = drawn
    counts = count_choices(chosen, experts)[0]
    mass = data.draw(arrays.arrays(np.float64, counts.shape, elements=st.floats(0.01, 9)))
    found = Load(tuple(range(len(counts))), counts, mass, len(chosen))
    assert found.shares.sum(axis=1) == pytest.approx(1)
    assert (found.cv >= 0).all()
    assert (found.cv <= math.sqrt(experts - 1) + 1e-9).all()
    assert (found.max_over_mean >= 1 - 1e-9).all()
    assert (found.max_over_mean <= experts + 1e-9).all()
    assert (found.balance <= experts + 1e-9).all()
    assert len(found.dead) == int((counts == 0).sum())
    even = Load(found.layers, counts, np.ones(counts.shape), len(chosen))
    assert even.balance == pytest.approx(1)  # whatever the choices, if all scores are alike


def test_blocks_cover_all_tokens_once():
    assert list(blocks(5, 10**9)) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    assert list(blocks(0, 3)) == []
    assert list(blocks(1_000_001, 1)) == [(0, 1_000_000), (1_000_000, 1_000_001)]


def test_a_corpus_in_a_file_is_counted_without_being_in_memory(tmp_path):
    shape = (1_000_000, 3, 2)
    np.lib.format.open_memmap(tmp_path / "chosen.npy", mode="w+", dtype=np.uint8, shape=shape).flush()
    chosen = np.load(tmp_path / "chosen.npy", mmap_mode="r")
    tracemalloc.start()
    found = count_choices(chosen, 64, np.zeros(shape[0], np.int16), 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[0, :, 0].tolist() == [2_000_000] * 3
    assert peak < 60e6, "indices of all of it would be 48 MB, twice"


def test_it_says_in_a_line_what_it_is():
    assert repr(load_of(given_trace(CHOSEN))) == "<load of 4 experts in L1, L3: 6 tokens>"
