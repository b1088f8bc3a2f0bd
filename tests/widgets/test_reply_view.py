"""What ReplyView sends: deltas, checkpoints, a finished output for reloaded pages; and what it takes."""

import json
import threading

import pytest

from llama_nb.widgets import growing
from llama_nb.widgets.reply_view import ReplyView


def p(*children):
    return {"t": "p", "c": list(children)}


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(growing, "time", clock)
    return clock


@pytest.fixture
def view(wire, clock):
    made = ReplyView()
    made.start({"user_nodes": [p("hello")], "model": "cria", "system": "", "chat": "main"})
    made.push(0, [], "cria · reading the prompt")
    wire.messages.clear()
    clock.now += 0.1
    yield made
    made.close()


def test_a_push_is_one_small_message(view, wire):
    view.push(0, [p("one")], "1 token")
    view.push(0, [p("one two")], "2 tokens")
    assert len(wire.messages) == 2
    assert wire.customs()[-1] == {
        "kind": "delta",
        "revision": 3,
        "status": "2 tokens",
        "change": {"path": [0], "keep": 1, "grow": " two", "add": []},
    }


def test_blocks_before_the_first_changed_one_stay(view):
    view.push(0, [p("one"), p("tw")], "")
    view.push(1, [p("two"), p("three")], "")
    assert view.blocks == [p("one"), p("two"), p("three")]


def test_nothing_new_sends_nothing(view, wire):
    view.push(0, [p("one")], "1 token")
    wire.messages.clear()
    view.push(0, [p("one")], "1 token")
    view.push(1, [], "1 token")
    assert wire.messages == []


def test_a_new_status_alone_is_sent(view, wire):
    view.push(0, [], "waiting")
    assert wire.customs() == [{"kind": "delta", "revision": 2, "status": "waiting", "change": None}]


def test_a_checkpoint_each_second_takes_the_place_of_a_delta(view, wire, clock):
    for count in range(1, 41):
        clock.now += 0.125
        view.push(0, [p("word " * count)], f"{count} tokens")
    checkpoints = wire.updates()
    assert len(checkpoints) == 5
    assert len(wire.messages) == 40
    assert set(checkpoints[-1]) == {"blocks", "revision", "status"}
    assert checkpoints[-1]["revision"] == checkpoints[0]["revision"] + 32


def test_checkpoints_of_a_long_reply_are_rare(view, wire, clock):
    for count in range(200):
        clock.now += 0.1
        view.push(0, [p("x" * 1000 + "y" * 100 * count)], str(count))
    sent = sum(len(json.dumps(state)) for state in wire.updates())
    assert sent <= 20 * 1536 + 25_000


def test_a_page_that_asks_for_the_state_gets_all_of_it(view):
    view.push(0, [p("one")], "1 token")
    state = view.get_state()
    assert (state["blocks"], state["revision"], state["status"]) == ([p("one")], 2, "1 token")


def test_a_state_asked_for_meanwhile_is_of_one_revision(view):
    def ask():
        for _ in range(300):
            state = view.get_state(["revision", "blocks"])
            torn.extend([state] if len(state["blocks"]) != state["revision"] - 1 else [])

    torn = []
    asking = threading.Thread(target=ask)
    asking.start()
    for count in range(150):
        view.push(count, [p(str(count))], "")
    asking.join()
    assert torn == []


def test_the_state_never_travels_by_itself(view, wire):
    view.push(0, [p("one")], "1 token")
    assert wire.updates() == []


def test_stop_is_offered_when_the_page_is_heard(view, wire):
    assert not view.stoppable
    wire.send(view.model_id, {"kind": "hello", "page": "a"})
    assert view.stoppable


def test_stop_is_not_offered_when_the_page_is_heard_too_late(view, wire):
    view.finish({"text/plain": "x"})
    wire.send(view.model_id, {"kind": "hello", "page": "a"})
    assert not view.stoppable


def test_a_page_that_missed_a_delta_gets_the_tree(view, wire):
    view.push(0, [p("one")], "1 token")
    wire.messages.clear()
    wire.send(view.model_id, {"kind": "lost"})
    assert wire.updates() == [{"blocks": [p("one")], "revision": 2, "status": "1 token"}]


def test_the_button_calls_on_stop(view, wire):
    stops = []
    view.on_stop = lambda: stops.append("stop")
    wire.send(view.model_id, {"kind": "stop"})
    assert stops == ["stop"]


@pytest.mark.parametrize(
    "message", [{}, {"kind": 3}, {"kind": "hello"}, {"kind": "hello", "page": {"x": "y" * 10_000}}]
)
def test_odd_messages_do_no_harm(view, wire, message):
    wire.send(view.model_id, message)
    assert view.error == ""


def test_the_finished_output_goes_only_to_a_page_loaded_again(view, wire):
    wire.send(view.model_id, {"kind": "hello", "page": "a"})
    wire.send(view.model_id, {"kind": "hello", "page": "a"})
    view.finish({"text/plain": "x"})
    assert not any("final" in state for state in wire.updates())
    wire.send(view.model_id, {"kind": "hello", "page": "b"})
    assert wire.updates()[-1]["final"] == {"text/plain": "x"}


def test_a_page_loaded_again_before_the_end_gets_it_at_the_end(view, wire):
    wire.send(view.model_id, {"kind": "hello", "page": "a"})
    wire.send(view.model_id, {"kind": "hello", "page": "b"})
    assert not any("final" in state for state in wire.updates())
    view.finish({"text/plain": "x"})
    assert wire.updates()[-1]["final"] == {"text/plain": "x"}


def test_a_page_that_replaced_the_output_ends_the_widget(view, wire):
    model_id = view.model_id
    wire.send(model_id, {"kind": "replaced"})
    assert view.comm is None
    assert (model_id, "comm_close") in [(comm, kind) for comm, kind, _ in wire.messages]


def test_the_text_twin_says_what_is_there(view):
    assert view.text_twin() == "cria: cria · reading the prompt"
