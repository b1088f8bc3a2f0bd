"""What of a trace stands in an output: which layer and tokens, and what there is to say."""

import numpy as np
import pytest

from llama_nb.core.errors import TraceError
from llama_nb.interpret.routing_load import load_of
from llama_nb.interpret.routing_twin import RoutingView, routing_twin
from llama_nb.render.routing import bundle
from tests.interpret.given_routing import given_trace
from tests.routing_traces import drawn_trace


def test_the_middle_layer_is_shown_and_another_one_if_asked_for():
    trace = drawn_trace(20)
    found = routing_twin(trace)
    assert found.layer == 3
    assert [token.experts for token in found.tokens] == [(int(row[1, 0]),) for row in trace.chosen]
    assert routing_twin(trace, 5).layer == 5
    with pytest.raises(TraceError, match="2 of tiny is no MoE layer"):
        routing_twin(trace, 2)
    assert found.load.shares == load_of(trace).shares.tolist()


def test_the_clearest_choices_have_the_strongest_colour():
    trace = drawn_trace(200)
    clear = np.array([token.clear for token in routing_twin(trace).tokens])
    margins = trace.margin[:, 1]
    assert (clear[np.argsort(margins)] == np.sort(clear)).all()
    assert clear.max() == 1
    assert 0 <= clear.min() < 0.1


def test_of_a_long_text_300_tokens_are_shown():
    found = routing_twin(drawn_trace(1_000))
    assert (len(found.tokens), found.count) == (300, 1_000)


def test_of_labelled_texts_one_of_each_label_is_begun():
    labels = ["sums", "sums", "code", "", "code"]
    found = routing_twin(drawn_trace(1_000, labels=labels))
    begins = [(at, token.begins) for at, token in enumerate(found.tokens) if token.begins is not None]
    assert begins == [(0, "sums"), (150, "code")]
    assert [token.text for token in found.tokens[150:152]] == [" w0", " w1"], (
        "token 400 is the third text's first"
    )
    assert found.domains.domains == ("sums", "code")
    assert found.domains.shown == 3


def test_a_domain_is_shown_with_its_own_load_and_texts():
    found = routing_twin(drawn_trace(60, labels=["sums", "code", "sums"]), None, "code")
    assert found.load.domain == "code"
    assert found.facts[1] == "Shown: 20 tokens of code, against all others"
    assert [token.begins for token in found.tokens if token.begins is not None] == ["code"]
    assert len(found.tokens) == 20


def test_texts_without_labels_follow_each_other():
    found = routing_twin(given_trace([[0], [1], [2]], starts=[0, 1, 3]))
    assert [token.begins for token in found.tokens] == ["", "", None]
    assert found.domains is None
    assert "3 tokens in 2 texts" in found.facts[0]


def test_what_the_model_wrote_and_what_was_changed_in_it_is_said():
    trace = drawn_trace(12, k=2, prompt=5)
    trace.off = "L3 E2 forbidden"
    found = routing_twin(trace)
    assert found.facts == (
        "8 experts in L1, L3, L5: 2 chosen + a shared one by a sigmoid; 12 tokens, 7 of them written by the "
        "model",
        "Changed in the model: L3 E2 forbidden",
    )
    many = routing_twin(drawn_trace(5, layers=range(1, 48, 2), experts=128, shared=False, gate="softmax"))
    assert many.facts[0] == "128 experts in 24 layers, L1 to L47: 1 chosen by a softmax; 5 tokens"


def test_margins_that_say_nothing_do_no_harm():
    trace = drawn_trace(4)
    trace.margin[:] = np.nan
    assert [token.clear for token in routing_twin(trace).tokens] == [1.0] * 4


def test_a_view_is_text_and_html():
    view = RoutingView(drawn_trace(9), 5)
    assert "Each token\u2019s expert in L5 (9 tokens)" in view.text()
    assert set(view._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_values_show_themselves():
    trace = drawn_trace(60, labels=["sums", "code", "sums", "code"])
    for value in (load_of(trace), trace.paths(), trace.expert(3, 2), trace.domain_table()):
        made = value._repr_mimebundle_()
        assert made["text/plain"]
        assert made["text/html"].startswith("<div")


def test_before_the_first_token_there_is_nothing_to_fall_over():
    found = routing_twin(given_trace(np.zeros((0, 2, 1), int), starts=[0, 0]))
    assert (found.tokens, found.count) == ((), 0)
    made = bundle(found, watched=True)
    assert "0 tokens" in made["text/plain"]
    assert made["text/html"]
