"""An explorer that follows an answer: shown once there are rows, drawn again as they come, not too often."""

import types

import pytest

from llama_nb.core import events
from llama_nb.core.events import ReplyAdvanced, TokenEvent
from llama_nb.widgets import growing_trace
from llama_nb.widgets.attention_explorer import growing
from tests.traces import random_trace

TOKEN = ReplyAdvanced(types.SimpleNamespace(), TokenEvent("a", 1))


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(growing_trace, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_it_is_shown_at_the_first_token_behind_the_prompt_and_follows(wire, notebook, clock):
    view = growing(1, 2, output=notebook)
    with view.watching():
        events.publish(TOKEN)
        assert notebook.shown == []
        trace = random_trace(6)
        trace.growing = True
        view.follow(trace)
        events.publish(TOKEN)
        assert len(notebook.shown) == 1
        grown = []
        view.explorer.grow = lambda: grown.append(clock[0])
        for _ in range(10):
            clock[0] += 0.125
            events.publish(TOKEN)
    assert len(grown) == 3
    events.publish(TOKEN)
    assert len(grown) == 3
    view.end()
    assert len(grown) == 4
    assert (view.explorer.view["layer"], view.explorer.view["head"]) == (1, 2)
    view.explorer.close()


def test_a_head_that_there_is_not_is_tried_once(wire, notebook, clock, caplog):
    view = growing(1, 99, output=notebook)
    with view.watching():
        view.follow(random_trace(6))
        for _ in range(5):
            clock[0] += 1
            events.publish(TOKEN)
    assert view.explorer is None
    assert notebook.shown == []
    assert caplog.records == []
    view.end()
