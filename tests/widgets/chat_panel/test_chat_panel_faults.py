"""What goes wrong in a chat panel: malformed messages, models that fail, hostile text."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from llama_nb.runtime import settings
from llama_nb.session.model import Model
from tests.session.fakes import FakeEngine, fake_model
from tests.widgets.chat_panel.page import Page, until


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"kind": 3},
        {"kind": "send"},
        {"kind": "send", "text": "  "},
        {"kind": "send", "text": ["a"]},
        {"kind": "edit", "id": 3, "text": ""},
        {"kind": "branch", "id": "x", "position": "1", "token": 2},
        {"kind": "branch", "id": "x", "position": True, "token": 2},
        {"kind": "branch", "id": "x", "position": -1, "token": 2},
        {"kind": "want", "ids": "all"},
        {"kind": "want", "ids": [1, {"a": 2}, "nope"]},
        {"kind": "chat", "name": 4},
        {"kind": "set", "name": "temperature", "value": "hot"},
        {"kind": "set", "name": "temperature", "value": True},
        {"kind": "allow", "call": "nope"},
        {"kind": "stop"},
        {"kind": "__class__"},
    ],
)
def test_malformed_messages_do_no_harm(page: Page, model: Model, message: dict[str, Any]) -> None:
    page.wire.send(page.panel.model_id, message)
    assert page.panel.error == ""
    assert page.steps == []
    assert not model.active


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "goto", "id": "nope"},
        {"kind": "retry", "id": ""},
        {"kind": "tokens", "id": "nope"},
        {"kind": "edit", "id": "nope", "text": "x"},
        {"kind": "branch", "id": "nope", "position": 0, "token": 1},
        {"kind": "model", "name": "panel-criaa"},
        {"kind": "chat", "name": "../../etc"},
        {"kind": "new", "name": "x" * 100},
        {"kind": "set", "name": "temprature", "value": 1},
        {"kind": "preset", "name": "nope"},
        {"kind": "export", "format": "exe"},
    ],
)
def test_what_cannot_be_done_is_said(page: Page, message: dict[str, Any]) -> None:
    page.wire.send(page.panel.model_id, message)
    assert page.panel.error != ""
    assert "Error" not in page.panel.error.split("\n")[0]
    page.say("goto", id="x")
    page.say("set", name="temperature", value=0.5)
    assert page.panel.error == ""


def test_an_error_of_the_model_is_shown_and_the_message_comes_back(open_panel: Callable[..., Page]) -> None:
    from llama_nb.core.errors import EngineError

    broken = fake_model(FakeEngine(failure=EngineError("Logits are NaN, first in layer 3.")))
    page = open_panel(broken)
    page.ask("What is a token?")
    until(lambda: page.panel.error)
    assert "layer 3" in page.panel.error
    assert page.steps == []
    assert page.got("returned") == [{"kind": "returned", "text": "What is a token?"}]


def test_a_reply_that_fails_on_its_way_is_kept_with_its_error(open_panel: Callable[..., Page]) -> None:
    from llama_nb.core.errors import EngineError

    page = open_panel(fake_model(FakeEngine(failure=EngineError("No memory."), fail_at=2)))
    page.ask("What is a token?")
    until(lambda: page.panel.error)
    assert page.steps[-1]["error"] == "No memory."
    assert page.got("returned") == []


def test_a_base_model_says_what_it_can(open_panel: Callable[..., Page]) -> None:
    page = open_panel(fake_model(FakeEngine(has_chat_template=False)))
    page.say("send", text="hello")
    assert "base model" in page.panel.error
    assert page.got("accepted") == []


def test_hostile_text_stays_text(page: Page) -> None:
    settings.set_sampling("max_tokens", 3)
    hostile = "<script>alert(1)</script> <img src=x onerror=alert(1)> \x1b[31m <|eot_id|>"
    page.ask(hostile)
    page.say("want", ids=[step["id"] for step in page.steps])
    item = page.got("contents")[-1]["items"][0]
    assert "<script>" in json.dumps(item["nodes"])
    assert item["text"] == hostile
    html = page.panel.html_twin()
    assert "<script" not in html
    assert "<img" not in html
    assert "\x1b" not in page.panel.text_twin()
