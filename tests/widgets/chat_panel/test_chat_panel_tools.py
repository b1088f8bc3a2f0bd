"""Calls of functions in a chat panel: the page is asked, and all can be stopped."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from llama_nb.core.request import Request
from llama_nb.engines.base import Prompt
from tests.session.fakes import FakeEngine, fake_model
from tests.widgets.chat_panel.page import Page, until


def weather(city: str) -> str:
    """Return the weather of a city.

    Parameters
    ----------
    city
        Where.
    """
    return f"Rain in {city}"


class ToolEngine(FakeEngine):
    """Its template tells the model of the functions."""

    def prompt(self, request: Request) -> Prompt:
        made = super().prompt(request)
        told = "".join(str(tool) for tool in request.tools)
        return dataclasses.replace(made, text=made.text + told)


def call_of(request: Any) -> list[str]:
    """Ask for a call, then say what came of it."""
    last = request.input[-1]
    if last.role == "tool":
        return ["It", f" says: {last.content}"]
    return ['{"name": "weather", "parameters": {"city": "Oslo"}}']


@pytest.mark.parametrize(("answer", "state"), [("allow", "ran"), ("deny", "refused")])
def test_a_call_waits_for_the_pages_answer(open_panel: Callable[..., Page], answer: str, state: str) -> None:
    page = open_panel(fake_model(ToolEngine(rule=call_of)), tools={"weather": weather})
    assert page.panel.head["tools"] == ["weather"]
    page.say("send", text="What is the weather in Oslo?")
    until(lambda: "pending" in page.panel.live)
    pending = page.panel.live["pending"]
    assert (pending["name"], json.loads(pending["arguments"])) == ("weather", {"city": "Oslo"})
    assert page.panel.running
    page.say("allow", call="another")
    assert "pending" in page.panel.live
    page.say(answer, call=pending["call"])
    until(lambda: not page.panel.running)
    calls = [step["calls"] for step in page.steps if step.get("calls")]
    assert calls[0][0]["state"] == state
    assert ("Rain in Oslo" in page.texts()[-1]) == (state == "ran")


def test_nothing_is_sent_while_a_call_waits(open_panel: Callable[..., Page]) -> None:
    page = open_panel(fake_model(ToolEngine(rule=call_of)), tools={"weather": weather})
    page.say("send", text="What is the weather in Oslo?")
    until(lambda: "pending" in page.panel.live)
    page.say("send", text="And in Paris?")
    assert "at work with your functions" in page.panel.error
    assert len(page.got("accepted")) == 1
    page.say("deny", call=page.panel.live["pending"]["call"])
    until(lambda: not page.panel.running)


def test_a_call_that_waits_can_be_stopped(open_panel: Callable[..., Page]) -> None:
    page = open_panel(fake_model(ToolEngine(rule=call_of)), tools={"weather": weather})
    page.say("send", text="What is the weather in Oslo?")
    until(lambda: "pending" in page.panel.live)
    page.say("stop")
    until(lambda: not page.panel.running)
    assert page.panel.live == {}
