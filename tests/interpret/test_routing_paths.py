"""Paths through experts: a few tokens counted by hand, and what must add up whatever the routing is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from llama_nb.core.errors import TraceError
from llama_nb.interpret import routing_load, routing_paths
from llama_nb.interpret.routing_paths import Flow, path_counts, paths_of
from tests.interpret.given_routing import given_trace

CHOSEN = [[0, 1, 1], [0, 1, 2], [0, 2, 2], [3, 1, 1]]


def test_flows_of_one_expert_a_token_are_counts():
    found = paths_of(given_trace(CHOSEN))
    assert (found.tokens, found.layers, found.together) == (4, (1, 3, 5), None)
    assert np.argwhere(found.flows).tolist() == [
        [0, 0, 1],
        [0, 0, 2],
        [0, 3, 1],
        [1, 1, 1],
        [1, 1, 2],
        [1, 2, 2],
    ]
    assert found.flows[found.flows > 0].tolist() == [2, 1, 1, 2, 1, 1]
    first = found.transition(1)
    assert first[0] == pytest.approx([0, 2 / 3, 1 / 3, 0])
    assert first[3].tolist() == [0, 1, 0, 0]
    assert first[1].tolist() == [0, 0, 0, 0], "no token comes from there"


def test_the_largest_flows_come_first_and_what_is_left_is_said():
    flows, rest = paths_of(given_trace(CHOSEN)).largest(2)
    assert flows == [Flow(1, 0, 3, 1, 0.5), Flow(3, 1, 5, 1, 0.5)]
    assert rest == pytest.approx(0.5)
    flows, rest = paths_of(given_trace(CHOSEN)).largest()
    assert (len(flows), rest) == (6, 0)


def test_the_largest_flows_near_a_layer_are_those_out_of_the_layers_around_it():
    given = given_trace([[0] * 12] * 4)
    found = paths_of(given)
    flows, rest = found.largest(near=given.layers[5])
    assert ([flow.layer for flow in flows], rest) == (list(given.layers[2:9]), 0)
    assert [flow.next for flow in flows] == list(given.layers[3:10])
    for edge, around in ((0, given.layers[:7]), (-1, given.layers[-8:-1])):
        assert [flow.layer for flow in found.largest(near=given.layers[edge])[0]] == list(around)
    few = paths_of(given_trace(CHOSEN))
    assert few.largest(near=5) == few.largest()


def test_a_token_of_several_experts_counts_for_each_pair_by_their_weights():
    chosen = [[[0, 1], [2, 3]]]
    found = paths_of(given_trace(chosen, weights=[[[3, 1], [0.5, 0.5]]]))
    assert found.flows[0, 0].tolist() == [0, 0, 0.375, 0.375]
    assert found.flows[0, 1].tolist() == [0, 0, 0.125, 0.125]
    assert found.together[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4, [0] * 4]
    assert found.look().kind == "together"


def test_of_very_many_tokens_some_are_counted_and_that_is_said(monkeypatch):
    monkeypatch.setattr(routing_paths, "_MOST_SEVERAL", 3)
    trace = given_trace([[[at % 4, (at + 1) % 4]] * 2 for at in range(9)])
    found = paths_of(trace)
    assert (found.tokens, found.asked) == (3, 9)
    # Tokens 0, 4 and 8, all of the experts 0 and 1.
    assert found.together[0, 0].tolist() == [3, 3, 0, 0]
    assert paths_of(trace, positions=[1, 2]).tokens == 2
    assert paths_of(given_trace([[0, 1]] * 9)).tokens == 9, "one expert each is quick"


def test_weights_that_are_all_nothing_count_alike():
    found = paths_of(given_trace([[[0, 1], [2, 3]]], weights=[[[0, 0], [1, 0]]]))
    assert found.flows[0, 0].tolist() == [0, 0, 0.5, 0]


def test_only_what_is_asked_for_is_followed():
    words = [" a", " b", " a", " a"]
    trace = given_trace(CHOSEN, words=words, starts=[0, 2, 4], labels=["sums", "code"])
    assert (trace.paths("code").tokens, trace.paths("code").of) == (2, "code")
    assert trace.paths(token=" a").tokens == 3
    assert trace.paths(positions=[3, 3]).flows[0, 3, 1] == 1
    both = trace.paths("sums", token=" a")
    assert (both.tokens, both.flows[1, 1, 1], both.flows.sum()) == (1, 1, 2)
    with pytest.raises(TraceError, match=r"No token is left.*code.*b"):
        trace.paths("code", token=" b")
    with pytest.raises(TraceError, match="'b'"):
        trace.paths(token="b")
    with pytest.raises(TraceError, match="no token 4"):
        trace.paths(positions=[4])
    with pytest.raises(TraceError, match="poems"):
        trace.paths("poems")


def test_layers_that_lead_nowhere_are_refused():
    found = paths_of(given_trace(CHOSEN))
    with pytest.raises(TraceError, match="L5 is the last"):
        found.transition(5)
    with pytest.raises(TraceError, match=r"Layer 2 has no experts.*L1, L3, L5"):
        found.transition(2)
    assert found.look(5).matrix is None


def test_one_layer_has_no_flows():
    found = paths_of(given_trace([[0], [1]]))
    assert found.flows.shape == (0, 4, 4)
    assert found.largest() == found.largest(near=1) == ([], 0)
    assert found.to_frame().empty


def test_as_a_frame():
    frame = paths_of(given_trace(CHOSEN)).to_frame()
    assert list(frame) == ["layer", "expert", "next_layer", "next_expert", "count", "share"]
    assert frame.iloc[0].tolist() == [1, 0, 3, 1, 2, 0.5]
    assert frame["share"].sum() == pytest.approx(2)


@st.composite
def routings(draw):
    experts, k = draw(st.integers(3, 7)), draw(st.integers(1, 3))
    shape = draw(st.integers(1, 20)), draw(st.integers(1, 4))
    orders = draw(arrays.arrays(np.float64, (*shape, experts), elements=st.floats(0, 1), unique=True))
    weights = draw(arrays.arrays(np.float32, (*shape, k), elements=st.floats(0.125, 1, width=32)))
    return experts, np.argsort(orders, axis=-1)[..., :k], weights


@settings(deadline=None, max_examples=50)
@given(routings())
def test_each_token_goes_on_once_and_blocks_make_no_difference(drawn):
    experts, chosen, weights = drawn
    layers = range(chosen.shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routing_load, "_BLOCK", 9)
        found = path_counts(chosen, weights, layers=layers, experts=experts)
    whole = path_counts(chosen, weights, layers=layers, experts=experts)
    assert found.flows == pytest.approx(whole.flows, abs=1e-5)
    assert found.flows.sum(axis=(1, 2)) == pytest.approx(len(chosen))
    for at in range(1, len(found.flows)):
        # What comes to an expert goes on from it.
        assert found.flows[at - 1].sum(axis=0) == pytest.approx(found.flows[at].sum(axis=1), abs=1e-4)
    if chosen.shape[2] > 1:
        assert (found.together == whole.together).all()
        assert (found.together == found.together.transpose(0, 2, 1)).all()
        assert (np.trace(found.together, axis1=1, axis2=2) == chosen[:, 0].size).all()
    half = np.arange(len(chosen)) % 2 == 0
    one, other = (
        path_counts(chosen, weights, layers=layers, experts=experts, among=among) for among in (half, ~half)
    )
    assert one.flows + other.flows == pytest.approx(whole.flows, abs=1e-5)
    assert one.tokens + other.tokens == len(chosen)
