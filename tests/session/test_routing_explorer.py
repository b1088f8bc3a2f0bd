"""What is looked at of a routing trace, and what a change of its model does to the text that is looked at."""

import pandas as pd
import pytest

import llama_nb as llama
from llama_nb.core.errors import ModelGone, TraceError
from llama_nb.core.stop import StopFlag
from llama_nb.session.expert_weights import expert_weights
from llama_nb.session.routing_explorer import WINDOW, RoutingLook
from llama_nb.session.routing_whatif import Changes, parts_of, read_changes, what_if
from tests.routing_traces import drawn_trace


@pytest.fixture(scope="module")
def mixture():
    made = llama.load("cria-moe", name="mixture of the explorer")
    yield made
    made.unload(force=True)


def test_it_begins_in_the_middle_and_refuses_what_there_is_not():
    trace = drawn_trace(20, labels=["a", "b"])
    assert RoutingLook(trace).layer == 3
    with pytest.raises(TraceError, match="Layer 2 has no experts: those that have are 1, 3, 5"):
        RoutingLook(trace, 2)
    with pytest.raises(TraceError, match="no domain 'c'"):
        RoutingLook(trace, 1, "c")
    look = RoutingLook(trace)
    for wrong in (lambda: look.go(3, 20), lambda: look.open(1, 8), lambda: look.choose_pane("pain")):
        with pytest.raises(TraceError):
            wrong()
    assert (look.layer, look.token, look.expert, look.pane) == (3, None, None, "tokens")


def test_a_trace_that_grows_is_followed_at_its_end():
    class Growing:
        growing = True
        length = 10

        def now(self):
            return drawn_trace(self.length)

    trace = Growing()
    look = RoutingLook(trace)
    assert (look.length, look.start, look.stop) == (10, 0, 10)
    assert look.domains() is None
    before = look.load()
    trace.length = WINDOW + 100
    assert look.length == 10
    look.grow()
    assert (look.length, look.start, look.stop) == (WINDOW + 100, 100, WINDOW + 100)
    assert look.load().tokens > before.tokens
    trace.growing = False
    look.move(7)
    look.grow()
    assert look.start == 7


def test_loads_and_twins_are_computed_once():
    look = RoutingLook(drawn_trace(30, labels=["a", "b", "a", "b"]))
    assert look.load() is look.load()
    assert look.domains() is look.domains()
    first = look.twin()
    assert look.twin() is first
    look.choose_domain("b")
    assert look.twin() is not first
    assert look.load().domain == "b"


def test_a_domain_is_looked_at_where_its_first_text_ends():
    look = RoutingLook(drawn_trace(3 * WINDOW, labels=["a", "b", "c", "b"]))
    each = 3 * WINDOW // 4
    look.choose_domain("b")
    assert (look.token, look.start) == (2 * each - 1, 2 * each - 1 - WINDOW // 2)
    look.go(3, 3 * each + 5)
    look.choose_domain("b")
    assert look.token == 3 * each + 5  # it is of that domain already
    look.choose_domain("")
    assert look.token == 3 * each + 5
    look.choose_domain("a")
    assert (look.token, look.start) == (each - 1, each - 1 - WINDOW // 2)
    assert look.start <= look.token < look.stop


def test_the_tokens_of_a_text_are_found_by_what_a_page_has_of_them():
    texts = ["x" * 300] * 4 + [" b"] * 6
    trace = drawn_trace(10, texts=texts)
    assert RoutingLook(trace).paths("", "x" * 200).tokens == 4
    assert RoutingLook(trace).paths("", " b").tokens == 6


def test_changes_are_read_once_each():
    trace = drawn_trace(10)
    said = {"ban": [[1, 2], [1, 2]], "force": [[3, 0]], "drop": [5, 5], "top_k": 2}
    changes = read_changes(said, trace)
    assert changes == Changes(((1, 2),), ((3, 0),), (5,), 2)
    assert read_changes(changes.record(), trace) == changes
    assert read_changes(said, drawn_trace(10, shared=False)) is None
    names = [part.name for part in parts_of(changes, 8)]
    assert names == ["L1 E2", "L3 E0", "L5 shared expert", "top-2 of 8"]


def tried(look, changes, position=None):
    return what_if(look, parts_of(changes, 8), position, StopFlag(), lambda _: None)


def test_a_change_is_tried_on_the_text_that_is_looked_at(mixture):
    texts = ["Once upon a time there was a cat.", "12 + 7 = 19", "The dog ran to the sea."]
    trace = mixture.routing(pd.DataFrame({"text": texts, "label": ["story", "sum", "story"]}), label="label")
    look = RoutingLook(trace)
    starts = trace.starts.tolist()
    change = Changes(drop=(1, 3, 5))

    assert tried(look, change)["position"] == starts[1] - 1
    look.choose_domain("sum")
    found = tried(look, change)
    assert found["position"] == starts[2] - 1
    direct = mixture.routing_effect(texts[1], drop_shared=True)
    assert found["loss_after"] == pytest.approx(direct.loss_after, rel=1e-3)
    assert found["kl"] == pytest.approx(direct.kl, rel=1e-3)
    place = starts[2] + 3
    third = tried(look, change, place)
    assert third["position"] == place
    assert third["loss_before"] == pytest.approx(
        mixture.routing_effect(texts[2], drop_shared=True).loss_before, rel=1e-3
    )
    with pytest.raises(TraceError, match="no token"):
        tried(look, change, starts[-1])


def test_without_its_model_nothing_is_tried():
    with pytest.raises(ModelGone, match="tiny is not loaded any more"):
        tried(RoutingLook(drawn_trace(10)), Changes(drop=(1,)))


def test_the_weights_of_experts_are_compared_once(mixture):
    first = expert_weights(mixture, StopFlag())
    assert first.norms.shape == (3, 8)
    assert expert_weights(mixture, StopFlag()) is first
