"""Comparisons on their way to whoever watches: deltas and checkpoints, Stop, twins, lines in a terminal."""

import threading

import pytest

from llama_nb.core.errors import EngineError
from llama_nb.core.events import subscribe
from llama_nb.runtime.environment import Environment
from llama_nb.session import registry
from llama_nb.session.compare import compare
from llama_nb.widgets import compare_view, live_compare, live_view
from llama_nb.widgets.compare_view import CompareView
from llama_nb.widgets.live_compare import LiveComparisons
from tests.session.fakes import FakeEngine, fake_model
from tests.widgets.conftest import BATCH, PAGE, TERMINAL

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m"


@pytest.fixture
def model(monkeypatch):
    """The only model; it answers with the seed's number of words, at a pace that lets batches be sent."""

    def rule(request):
        if request.sampling.seed == 13:
            raise EngineError("NaN in layer 3.", "Load it again.")
        return [f" word{number}" for number in range(10 * request.sampling.seed)]

    made = fake_model(FakeEngine(name="a", rule=rule, pace_s=0.002), name="a")
    monkeypatch.setattr(registry, "_models", {"a": made})
    monkeypatch.setattr(registry, "_current", "a")
    monkeypatch.setattr(live_view, "detect", lambda: PAGE)
    return made


@pytest.fixture
def watch(notebook, wire):
    """Show comparisons as in this environment; the views are closed afterwards."""
    ends = []

    def begin(environment: Environment):
        ends.append(subscribe(LiveComparisons(lambda: environment, notebook)))

    yield begin
    for end in ends:
        end()
    while live_compare._views:
        live_compare._views.pop().close()
    assert not [thread for thread in threading.enumerate() if thread.name == "llama-nb-page"]


def replay(wire, model_id):
    """The cells as a page puts them together from what it was sent."""
    state, deltas = {}, 0
    for data in wire.of(model_id):
        new = data.get("state", {})
        if "cells" in new:
            state = {"revision": new["revision"], "cells": [dict(cell) for cell in new["cells"]["cells"]]}
        content = data.get("content", {})
        if content.get("kind") == "delta":
            deltas += 1
            assert content["revision"] == state["revision"] + 1
            state["revision"] += 1
            for change in content["cells"]:
                cell = state["cells"][change["number"] - 1]
                for name, text in change.get("grow", {}).items():
                    cell[name] += text
                cell |= change.get("set", {})
    return state["cells"], deltas


def test_a_page_gets_every_answer_by_deltas_and_the_end_whole(watch, wire, notebook, model):
    watch(PAGE)
    found = compare("hi", seeds=[3, 4])
    view = live_compare._views[-1]
    cells, deltas = replay(wire, view.model_id)
    assert deltas >= 2  # one an answer at least; how many more, the time that writing takes decides
    assert [cell["common"] + cell["mark"] + cell["rest"] for cell in cells] == [cell.text for cell in found]
    assert [cell["state"] for cell in cells] == ["done", "done"]
    assert (view.running, view.status) == (False, "2 of 2 answered")
    assert view.twin["text/plain"] == found._repr_mimebundle_()["text/plain"]
    assert len(notebook.shown) == 1
    assert live_view.MIME in notebook.shown[0]


def test_a_delta_holds_what_grew_and_not_the_answer(watch, wire, model):
    watch(PAGE)
    compare("hi", seeds=[9])
    deltas = [content for content in wire.customs() if content.get("kind") == "delta"]
    grown = [change["grow"]["common"] for delta in deltas for change in delta["cells"] if "grow" in change]
    assert len(grown) > 3
    assert max(map(len, grown)) < 400
    assert not any("word0" in text for text in grown[1:])


def test_a_page_that_missed_something_gets_everything(watch, wire, model):
    watch(PAGE)
    compare("hi", seeds=[2])
    view = live_compare._views[-1]
    wire.messages.clear()
    wire.send(view.model_id, {"kind": "lost"})
    (state,) = wire.updates()
    assert set(state) == {"cells", "revision", "status"}


def test_the_button_stops_it_and_shows_only_where_a_stop_can_arrive(watch, wire, model):
    watch(PAGE)
    pressed = []

    def press(event):
        cell = getattr(event, "cell", None)
        if cell is not None and len(cell.text) > 20 and not pressed:
            (model_id,) = (
                key for key in wire.comms if any("cells" in d.get("state", {}) for d in wire.of(key))
            )
            wire.send(model_id, {"kind": "hello"})
            wire.send(model_id, {"kind": "nonsense"})
            pressed.append(model_id)
            wire.send(model_id, {"kind": "stop"})

    end = subscribe(press)
    try:
        found = compare("hi", seeds=[90, 91])
    finally:
        end()
    assert found.stopped
    assert [cell.state for cell in found] == ["done", "skipped"]
    view = live_compare._views[-1]
    assert {"stoppable": True} in wire.updates()
    assert not view.stoppable
    assert "stopped" in view.status
    assert "not begun" in view.html_twin()


def test_the_error_of_a_cell_is_shown_in_it(watch, wire, model):
    watch(PAGE)
    compare("hi", seeds=[2, 13])
    view = live_compare._views[-1]
    assert view.cells["cells"][1]["error"] == "NaN in layer 3."
    assert view.cells["cells"][1]["hint"] == "Load it again."
    assert view.error == ""


def test_what_models_wrote_is_cleaned(watch, wire, model):
    watch(PAGE)
    model.engine.rule = lambda request: [HOSTILE]
    compare(HOSTILE, seeds=2, system=HOSTILE)
    view = live_compare._views[-1]
    assert "\x1b" not in str(view.get_state())
    assert "<img" not in view.html_twin()


def test_a_comparison_that_is_done_can_be_shown_again(wire, model):
    found = compare("hi", seeds=[1, 2])
    view = CompareView(found)
    assert not view.running
    assert [cell["state"] for cell in view.cells["cells"]] == ["done", "done"]
    wire.send(view.model_id, {"kind": "hello"})
    assert not view.stoppable
    view.close()


def test_of_many_views_the_oldest_are_closed(watch, wire, model, monkeypatch):
    monkeypatch.setattr(live_compare, "MOST_VIEWS", 2)
    watch(PAGE)
    views = []
    for _ in range(3):
        compare("hi", seeds=[1])
        views.append(live_compare._views[-1])
    assert [view.comm is None for view in views] == [True, False, False]


def test_a_terminal_gets_a_line_an_answer_and_the_table(watch, notebook, model):
    watch(TERMINAL)
    compare("hi", seeds=[1, 2])
    lines = notebook.printed.splitlines()
    assert lines[:2] == ["[1 of 2: seed 1, done]", "[2 of 2: seed 2, done]"]
    assert "2 answers of a to" in notebook.printed
    assert notebook.shown == []


def test_where_nobody_watches_there_is_one_output_without_rates(watch, notebook, model):
    watch(BATCH)
    compare("hi", seeds=[1, 2])
    (shown,) = notebook.shown
    assert set(shown) == {"text/plain", "text/html"}
    assert "tokens/s" not in str(shown)


def test_when_the_widget_cannot_be_made_the_answers_are_shown_at_the_end(
    watch, notebook, model, monkeypatch, caplog
):
    monkeypatch.setattr(compare_view, "CompareView", lambda comparison: 1 / 0)
    watch(PAGE)
    compare("hi", seeds=[1])
    (shown,) = notebook.shown
    assert "word0" in shown["text/plain"]
    assert "could not be made" in caplog.text
