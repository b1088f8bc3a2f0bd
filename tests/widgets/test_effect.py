"""What is shown of a change while it is computed: the newest one, its text as it grows, what went wrong."""

import threading
from typing import Any

import pytest

from llama_nb.core.errors import ModelGone, Stopped
from llama_nb.core.stop import StopFlag
from llama_nb.widgets import effect
from llama_nb.widgets.effect import NewestEffect


@pytest.fixture
def shown(monkeypatch) -> list[dict[str, Any]]:
    monkeypatch.setattr(effect, "AFTER_S", 0.0)
    return []


@pytest.fixture
def newest(shown) -> NewestEffect:
    return NewestEffect("effect of a test", shown.append, lambda work: work)


def test_the_text_grows_and_the_figures_follow(newest, shown):
    def compute(_flag: StopFlag, on_text):
        on_text("Once")
        on_text("Once upon")
        return {"kl": 0.5}

    newest.begin({"off": ["L1"]}, compute)
    newest.join(10)
    assert [record.get("text_after") for record in shown] == [None, "Once", "Once upon", "Once upon"]
    assert [record["running"] for record in shown] == [True, True, True, False]
    assert shown[-1] == {"off": ["L1"], "running": False, "error": "", "text_after": "Once upon", "kl": 0.5}


def test_what_was_found_stays_until_the_next_is_found(newest, shown):
    newest.begin({"off": ["L1"]}, lambda *_: {"kl": 0.5})
    newest.join(10)
    newest.begin({"off": ["L2"]}, lambda *_: {"kl": 0.7})
    newest.join(10)
    assert [record.get("kl") for record in shown] == [None, 0.5, 0.5, 0.7]
    newest.clear()
    assert shown[-1] == {}


def test_only_the_newest_is_shown(newest, shown):
    began, go_on = threading.Event(), threading.Event()

    def slow(flag: StopFlag, on_text):
        began.set()
        go_on.wait(10)
        on_text("too late")
        return {"kl": 1.0}

    newest.begin({"off": ["L1"]}, slow)
    assert began.wait(10)
    newest.begin({"off": ["L2"]}, lambda *_: {"kl": 2.0})
    go_on.set()
    newest.join(10)
    assert "too late" not in [record.get("text_after") for record in shown]
    assert [record["kl"] for record in shown if "kl" in record] == [2.0]


def test_errors_are_shown_and_stops_are_not(newest, shown):
    def gone(*_):
        raise ModelGone("cria is not loaded any more.")

    def stopped(*_):
        raise Stopped("enough")

    newest.begin({}, gone)
    newest.join(10)
    assert (shown[-1]["running"], shown[-1]["error"]) == (False, "cria is not loaded any more.")
    newest.begin({}, stopped)
    newest.join(10)
    assert (shown[-1]["running"], shown[-1]["error"]) == (False, "")


def test_a_computation_can_be_cancelled(newest, shown):
    began = threading.Event()

    def endless(flag: StopFlag, on_text):
        began.set()
        flag.wait(10)
        raise Stopped("it was stopped")

    newest.begin({"off": ["L1"]}, endless)
    assert began.wait(10)
    newest.cancel()
    newest.join(10)
    assert shown[-1] == {"off": ["L1"], "running": False, "error": ""}
    count = len(shown)
    newest.cancel()
    assert len(shown) == count
