"""Tools that cannot work: what is named, and that nothing ran, nothing was sent and the chat can go on."""

from collections.abc import Callable
from typing import Any

import pytest

import llama_nb
from llama_nb.core.errors import LlamaError, ToolError
from llama_nb.session.model import Model
from tests.session.fakes import FakeEngine, fake_model
from tests.session.tool_models import TAG, call, calling, last_result


def weather(city: str) -> dict[str, str]:
    """Get the weather in a city."""
    return {"sky": "sunny", "city": city}


def no_hints(city):  # type: ignore[no-untyped-def]
    """Get the weather in a city."""


class Station:
    """No function."""


# What is given as tools, and what the error names.
REFUSED: list[tuple[Any, list[str]]] = [
    ([], ["no tools"]),
    (None, ["NoneType", "list of functions"]),
    ("weather", ["a str"]),
    ({"weather": weather}, ["dict"]),
    ([weather, "clock"], ["'clock'", "str"]),
    ([Station], ["Station", "class"]),
    ([Station()], ["not a function"]),
    ([no_hints], ["no_hints", "'city'", "type hint"]),
    ([weather, weather], ["Two tools", "'weather'"]),
    ([lambda: 1], ["<lambda>"]),
    ([print], ["print"]),
]


@pytest.mark.parametrize(("tools", "named"), REFUSED, ids=lambda value: str(value)[:24])
def test_what_is_no_tool_is_refused_before_anything_is_sent(tools: Any, named: list[str]) -> None:
    model = calling("never said")
    with pytest.raises(ToolError) as caught:
        model.tools("Go", tools)
    for part in named:
        assert part in caught.value.message
    assert caught.value.hint
    engine: Any = model.engine
    assert engine.requests == []
    assert len(model.chats["main"]) == 0


# What the model writes, and what it is told instead of a result. Nothing of it runs.
WRITTEN = [
    (call("delete_files", path="/"), "there is no function 'delete_files'"),
    (call("Weather", city="Oslo"), "did you mean weather?"),
    (call("weather"), "city: Field required"),
    (call("weather", city=["Oslo"]), "valid string"),
    (call("weather", city="Oslo", country="N"), "country: Extra inputs"),
    (f'{TAG}{{"name": "weather", "parameters": {{"city": "a", "city": "b"}}}}', "'city' comes twice"),
    (f'{TAG}{{"name": "weather", "parameters": ', "broken"),
    (f"{TAG}__import__('os').system('ls')", "only a function's own name"),
    (f"{TAG}[weather(city=open('/etc/passwd').read())]", "plain values"),
    (f"{TAG}print('hello')", "with its name"),
    (f"{TAG}", "nothing follows"),
    (f"{TAG}{'[' * 3000}", "neither JSON nor"),
]


@pytest.mark.parametrize(("said", "told"), WRITTEN, ids=lambda value: value[:40])
def test_what_is_no_good_call_is_told_to_the_model(said: str, told: str) -> None:
    model = calling(said, last_result)
    run = model.tools("Go", weather, approve=lambda _: pytest.fail("asked"), max_tokens=None)
    assert run.calls[0].state == "invalid"
    assert told in run.calls[0].error
    assert run.text.startswith('{"error": ')
    roles = [node.message.role for node in model.chats["main"].path()]
    assert roles == ["user", "assistant", "tool", "assistant"]


def test_where_nobody_can_be_asked_the_error_names_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def clock(city: str) -> str:
        """Get the time."""
        ran.append(city)
        return "12:30"

    monkeypatch.setattr("sys.stdin", None)
    model = calling(call("clock", city="Oslo"), "Hello.")
    with pytest.raises(ToolError) as caught:
        model.tools("Go", clock, auto=True)  # not marked safe
    assert "clock(city='Oslo')" in caught.value.message
    assert "safe=True" in caught.value.hint
    assert ran == []
    assert model.chat("Hi").text == "Hello."


MODELS: list[tuple[Callable[[], Model], list[str]]] = [
    (fake_model, ["no place for tools", "Llama 3.1"]),
    (lambda: fake_model(FakeEngine(has_chat_template=False)), ["base model"]),
]


@pytest.mark.parametrize(("make", "named"), MODELS, ids=["template without tools", "base model"])
def test_a_model_that_cannot_is_named(make: Callable[[], Model], named: list[str]) -> None:
    model = make()
    with pytest.raises(LlamaError) as caught:
        model.tools("Go", weather)
    for part in named:
        assert part in str(caught.value)
    assert len(model.chats["main"]) == 0


def test_a_model_that_is_unloaded_in_a_function_ends_the_run() -> None:
    model = calling(call("leave", word="now"), "never said")

    def leave(word: str) -> str:
        """Unload the model."""
        model.unload(force=True)
        return word

    run = model.tools("Go", leave, approve=lambda _: True)
    assert run.stop_flag.reason == "the model was unloaded"
    assert (model.alive, len(run.replies)) == (False, 1)
    assert [node.message.role for node in model.chats["main"].path()] == ["user", "assistant", "tool"]


def test_an_unload_while_a_function_runs_is_refused() -> None:
    model = calling(call("leave", word="now"), last_result)

    def leave(word: str) -> str:
        """Try to unload the model."""
        model.unload()
        return word

    run = model.tools("Go", leave, approve=lambda _: True)
    assert run.calls[0].error.startswith("ModelBusy: fake is in use")
    assert model.alive


def test_the_decorator_names_what_is_missing_where_the_function_is_written() -> None:
    with pytest.raises(ToolError, match="no_hints: its parameter 'city' has no type hint"):
        llama_nb.tool(no_hints)
