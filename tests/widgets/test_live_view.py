"""What a live view leaves in an output, and how its twin follows."""

import time

import pytest

from llama_nb.widgets import live_view
from llama_nb.widgets.live_view import MIME, MOST_SHOWN, LiveWidget, show, shown
from llama_nb.widgets.messages import whole
from llama_nb.widgets.traits import Count
from tests.widgets.conftest import PAGE, Environment

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"


class Counter(LiveWidget):
    _esm = "export default { render() {} }"
    value = Count()

    def fill(self):
        self.value += 1

    def looks(self):
        return {"hello": lambda _: None}

    def actions(self):
        return {"count": lambda said: self.set_trait("value", whole(said, "to") or 0)}

    def lasting_error(self):
        return "it cannot count" if self.value > 100 else ""

    def text_twin(self):
        return f"counted to {self.value}"


class Other(Counter):
    """Another kind."""


@pytest.fixture
def counter(wire, monkeypatch):
    monkeypatch.setattr(live_view, "detect", lambda: PAGE)
    made = Counter(value=3)
    yield made
    made.close()


def twins(wire):
    return [state["twin"]["text/plain"] for state in wire.updates() if "twin" in state]


def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_output_holds_view_widget_and_twins(counter):
    data, _ = counter._repr_mimebundle_()
    assert data[MIME] == {"schema": 1, "model_id": counter.model_id}
    assert data[WIDGET_MIME]["model_id"] == counter.model_id
    assert data["text/plain"] == "counted to 3"
    assert "counted to 3" in data["text/html"]


@pytest.mark.parametrize("kind", ["vscode", "colab"])
def test_a_page_that_cannot_have_our_plugin_gets_the_plain_widget(counter, monkeypatch, kind):
    monkeypatch.setattr(live_view, "detect", lambda: Environment(kind, watched=True, widgets=True))
    data, _ = counter._repr_mimebundle_()
    assert MIME not in data
    assert WIDGET_MIME in data


def test_many_changes_send_one_twin(counter, wire, monkeypatch):
    monkeypatch.setattr(live_view, "TWIN_AFTER_S", 0.1)
    for value in range(10):
        counter.value = value
        counter.twin_changed()
    assert twins(wire) == []
    until(lambda: twins(wire))
    assert twins(wire) == ["counted to 9"]
    counter.value = 11
    counter.twin_changed()
    until(lambda: len(twins(wire)) == 2)
    assert twins(wire)[-1] == "counted to 11"


def test_closing_sends_the_twin_that_was_due(counter, wire):
    counter.value = 5
    counter.twin_changed()
    counter.close()
    assert twins(wire) == ["counted to 5"]
    kinds = [kind for comm, kind, _ in wire.messages]
    assert kinds.index("comm_close") > max(
        index for index, (_, _, data) in enumerate(wire.messages) if "twin" in data.get("state", {})
    )


def test_a_closed_widget_sends_nothing(counter, wire, monkeypatch):
    monkeypatch.setattr(live_view, "TWIN_AFTER_S", 0.01)
    counter.close()
    wire.messages.clear()
    counter.twin_changed()
    time.sleep(0.1)
    assert twins(wire) == []


def test_a_twin_that_cannot_be_made_is_said_in_the_widget(counter, wire, monkeypatch, caplog):
    monkeypatch.setattr(live_view, "TWIN_AFTER_S", 0.01)
    monkeypatch.setattr(Counter, "text_twin", lambda self: 1 / 0)
    counter.twin_changed()
    until(lambda: counter.error)
    assert counter.error == "ZeroDivisionError: division by zero"
    monkeypatch.undo()


def test_a_twin_that_cannot_be_made_keeps_no_widget_open(counter, wire, monkeypatch, caplog):
    def broken(_counter):
        raise OSError("the disk is gone")

    counter.twin_changed()
    monkeypatch.setattr(Counter, "text_twin", broken)
    counter.close()
    assert counter.comm is None


def test_an_error_stays_while_a_page_looks_and_goes_when_it_acts(counter):
    counter.error = "what went wrong"
    for ignored in ({"kind": "hello"}, {"kind": "unknown"}, {}, {"kind": ["count"]}):
        counter.received(ignored)
        assert (counter.error, counter.value) == ("what went wrong", 3)
    counter.received({"kind": "count", "to": 200})
    assert (counter.error, counter.value) == ("", 200)
    counter.received({"kind": "count", "to": True})
    assert (counter.error, counter.value) == ("it cannot count", 0)


def test_what_is_shown_is_filled_after_the_page_has_it(notebook, counter):
    assert show(counter, notebook) is counter
    assert notebook.shown[0]["text/plain"] == "counted to 3"
    assert counter.value == 4
    assert shown(Counter) == [counter]


def test_only_the_oldest_that_are_open_are_closed_and_only_of_their_kind(notebook, wire):
    first, *rest = [show(Counter(), notebook) for _ in range(MOST_SHOWN)]
    rest[0].close()
    other = show(Other(), notebook)
    newest = show(Counter(), notebook)
    assert first.comm is not None
    assert shown(Counter) == [first, *rest[1:], newest]
    rest.append(show(Counter(), notebook))
    assert first.comm is None
    assert shown(Other) == [other]
    for widget in (*shown(Counter), other):
        widget.close()
    assert shown(Counter) == []
