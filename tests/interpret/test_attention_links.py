"""The strongest links of a trace, against whole matrices."""

import numpy as np

from llama_nb.core.stop import StopFlag
from llama_nb.interpret import attention_links
from llama_nb.interpret.attention_links import first_head, strongest, telling
from llama_nb.interpret.attention_twin import AttentionView, attention_twin
from tests.traces import random_trace


def test_the_strongest_weights_are_those_of_the_matrix():
    trace = random_trace(60)
    weights = trace.matrix(1, 2)
    found = strongest(trace, 1, 2, 20)
    assert [weight for *_, weight in found] == sorted(weights.ravel(), reverse=True)[:20]
    assert all(weights[query, key] == weight for query, key, weight in found)


def test_a_window_has_its_own_strongest():
    trace = random_trace(60)
    window = trace.matrix(0, 0)[30:40, 5:25]
    found = strongest(trace, 0, 0, 5, rows=(30, 40), cols=(5, 25))
    assert [weight for *_, weight in found] == sorted(window.ravel(), reverse=True)[:5]
    assert all(30 <= query < 40 and 5 <= key < 25 for query, key, _ in found)


def test_what_tells_something_is_neither_the_first_nor_the_own_token():
    trace = random_trace(60)
    weights = trace.matrix(2, 3)
    found, on_first = telling(trace, 2, 3, 10)
    assert on_first == np.float32(weights[1:, 0].mean())
    weights[:, 0] = 0
    np.fill_diagonal(weights, 0)
    assert [weight for *_, weight in found] == sorted(weights.ravel(), reverse=True)[:10]


def test_a_long_text_is_sampled(monkeypatch):
    monkeypatch.setattr(attention_links, "SAMPLED", 8)
    looked = []
    trace = random_trace(50)
    rows = trace.rows
    trace.rows = lambda layer, heads, start, stop: looked.append(start) or rows(layer, heads, start, stop)
    strongest(trace, 0, 0, 3)
    assert looked == sorted(set(looked))
    assert (looked[0], looked[-1], len(looked)) == (0, 49, 8)


def test_it_ends_when_it_is_stopped():
    stop = StopFlag()
    stop.set("enough")
    assert strongest(random_trace(20), 0, 0, 3, stopped=lambda: stop.reason) == []


def test_the_first_head_looks_elsewhere_than_at_the_usual_places():
    trace = random_trace(30)
    last = range(22, 30)
    elsewhere = [
        sum(1 - row[at, 0] - row[at, at] - row[at, at - 1] for at in last)
        for row in (trace.matrix(1, head) for head in range(4))
    ]
    assert first_head(trace, 1) == elsewhere.index(max(elsewhere))
    assert first_head(random_trace(1), 0) in range(4)


def test_a_text_of_one_token_has_no_links():
    twin = attention_twin(random_trace(1), watched=True)
    assert twin.links == ()
    assert twin.picture.tolist() == [[255]]
    assert len(twin.facts) == 2


def test_a_view_says_which_head():
    view = AttentionView(random_trace(12), 2, 3)
    assert "L2 H3, key/value head 1 of 2" in view.text()
    assert "0x" not in repr(view)


def test_the_picture_of_a_long_text_is_small():
    assert attention_twin(random_trace(300), 0, 0, watched=True).picture.shape == (128, 128)
    assert attention_twin(random_trace(200), 0, 0, watched=True).picture.shape == (200, 200)
