"""Calls and what came of them, as a reader sees them."""

import pytest

from llama_nb.render import reply as rendered
from llama_nb.render.nodes import check
from llama_nb.render.tools import LONGEST_CALL, call_bundle, call_nodes, call_text, run_bundle, saved_calls
from tests.hostile.corpus import cases
from tests.render.html_reader import read
from tests.session.tool_models import call, calling

CALL = {"name": "weather", "arguments": {"city": "Oslo"}}


def state(state, **more):
    return {"id": "1", **CALL, "state": state, "error": "", "told": "", **more}


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (state("ran", told='{"sky": "sunny"}'), 'weather returned {"sky": "sunny"}'),
        (state("ran", told=""), "weather returned (an empty text)"),
        (
            state("refused", error="the user did not allow it"),
            "weather was not run: the user did not allow it",
        ),
        (state("failed", error="ValueError: x"), "weather failed: ValueError: x"),
        (state("asking"), "weather waits for your answer"),
        (state("running"), "weather is running"),
        (
            {**state("invalid", error="It is broken."), "name": ""},
            "The call was not run: It is broken.",
        ),
    ],
)
def test_a_call_is_a_sentence(record, text):
    assert call_bundle(record)["text/plain"] == text


def test_a_long_result_is_laid_out_and_cut():
    told = '{"a": ' + "[" + ", ".join(["12345"] * 5000) + "]}"
    text = call_bundle(state("ran", told=told))["text/plain"]
    assert text.splitlines()[1].startswith("{")
    assert text.endswith("characters in all)")


def test_a_call_that_is_endless_is_cut():
    text = call_text("weather", {"city": "x" * 100_000})
    assert len(text) < LONGEST_CALL + 100
    assert "100,016 characters in all" in text


def test_hostile_texts_stay_text_everywhere():
    for case in cases("https://canary.example/x"):
        arguments = {"city": case.text, case.text[:50]: 1}
        for made in (
            state("ran", told=case.text, arguments=arguments),
            state("failed", error=case.text, name=case.text),
        ):
            assert read(call_bundle(made)["text/html"]).faults == []
        for node in call_nodes([{"name": case.text, "arguments": arguments}]):
            check(node)
        saved_calls([{"name": case.text, "arguments": arguments}])


def test_a_reply_that_asks_for_a_call_shows_the_call():
    record = {"schema": 1, "id": "a", "kind": "chat", "text": '{"name": ...}', "user": "Hi", "finish": "end"}
    made = rendered.bundle(
        {**record, "calls": [CALL], "results": [{"name": "a", "text": "b"}]}, watched=False
    )
    assert made["text/plain"].strip() == "weather(city='Oslo')"
    saved = made[rendered.MIME]
    assert saved["calls"] == [CALL]
    assert saved["results"] == [{"name": "a", "text": "b"}]
    assert saved["text"] == '{"name": ...}'
    assert "calls" not in rendered.saved_record(record, watched=False)


@pytest.mark.parametrize("calls", ["text", [1, None, {"name": 3}], [{"name": "x", "arguments": 4}]])
def test_damaged_records_are_shown_as_they_can_be(calls):
    call_nodes(calls)
    assert saved_calls(calls) == []


def test_a_whole_run_is_one_text():
    def weather(city: str) -> str:
        """Get the weather."""
        return "sunny"

    run = calling(call("weather", city="Oslo"), "It is sunny.").tools("Go", weather, approve=lambda _: True)
    made = run_bundle(run.to_record(), watched=False)
    lines = [line.strip() for line in made["text/plain"].splitlines()]
    assert lines == ["weather(city='Oslo')", "weather returned sunny", "It is sunny."]
    assert made["text/html"].index("returned") < made["text/html"].index("It is sunny.")
