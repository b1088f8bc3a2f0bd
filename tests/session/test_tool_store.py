"""Conversations with tools on disk and back: calls are data there, and nothing of them runs again."""

import json

import nbformat
import pytest

from llama_nb.core.errors import ChatStoreError
from llama_nb.core.messages import ToolCall
from llama_nb.session.restore import restore
from llama_nb.session.store import ChatFiles
from tests.session.tool_models import call, calling

RAN = []


def weather(city: str) -> dict:
    """Get the weather in a city."""
    RAN.append(city)
    return {"city": city, "sky": "sunny"}


@pytest.fixture
def talk(tmp_path):
    RAN.clear()
    two = '[weather(city="Oslo"), weather(city="Rome")]'
    model = calling(call("weather", city="Lima"), "Sunny.", two, "Both.", journal=ChatFiles(tmp_path))
    runs = [model.tools(text, [weather], approve=lambda _: True, system="S") for text in ("One?", "Two?")]
    assert RAN == ["Lima", "Oslo", "Rome"]
    return model, runs


def test_a_chat_with_calls_comes_back_as_it_was(talk, tmp_path):
    model, _ = talk
    new = calling("Again.", journal=ChatFiles(tmp_path))
    assert new.chats.restore().messages() == model.chats["main"].messages()
    new.chat("And now?")
    assert [message.role for message in new.engine.requests[-1].input].count("tool") == 3
    assert len(RAN) == 3


def test_a_saved_notebook_comes_back_with_its_calls(talk, tmp_path):
    model, runs = talk
    bundles = [reply._repr_mimebundle_() for run in runs for reply in run.replies]
    cell = nbformat.v4.new_code_cell("%%llama tools weather")
    cell.outputs = [nbformat.v4.new_output("display_data", data=bundle) for bundle in bundles]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "old.ipynb")
    new = calling("Again.")
    restored = new.chats.restore(source=tmp_path / "old.ipynb")
    assert restored.messages() == model.chats["main"].messages()
    assert [node.id for node in restored.path()] == [node.id for node in model.chats["main"].path()]
    cell.outputs = cell.outputs[1:]  # somebody deleted the output that asks for the call
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "cut.ipynb")
    shorter = calling("Again.").chats.restore(source=tmp_path / "cut.ipynb")
    assert [message.role for message in shorter.messages()][:3] == ["system", "user", "assistant"]
    assert len(RAN) == 3


MESSAGE = {"schema": 1, "session": "s", "type": "message", "id": "b", "parent": "a", "text": "", "head": "b"}
USER = {**MESSAGE, "id": "a", "parent": None, "role": "user", "text": "Hi", "head": "a"}


@pytest.mark.parametrize(
    "calls",
    [
        "weather",
        [{"name": "weather"}] * 17,
        [{"name": "__import__('os')", "arguments": {}}],
        [{"name": "weather", "arguments": "rm -rf /"}],
        [{"name": "weather", "arguments": {"a": "\ud800"}}],
        [None],
    ],
)
def test_damaged_calls_cost_their_line(tmp_path, calls):
    lines = [USER, {**MESSAGE, "role": "assistant", "tool_calls": calls}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stored = restore(tmp_path / "x.jsonl")
    assert [node.id for node in stored.nodes] == ["a"]
    assert stored.skipped == 1


def test_only_an_assistant_asks_for_calls(tmp_path):
    forged = {**USER, "tool_calls": [{"name": "weather", "arguments": {}}]}
    (tmp_path / "x.jsonl").write_text(json.dumps(forged) + "\n")
    with pytest.raises(ChatStoreError):
        restore(tmp_path / "x.jsonl")


def test_stored_calls_are_messages_of_a_conversation(tmp_path):
    asks = {**MESSAGE, "role": "assistant", "tool_calls": [{"name": "os.system", "arguments": {"c": "ls"}}]}
    (tmp_path / "x.jsonl").write_text(json.dumps(USER) + "\n" + json.dumps(asks) + "\n")
    stored = restore(tmp_path / "x.jsonl")
    assert stored.nodes[1].message.tool_calls == (ToolCall("os.system", {"c": "ls"}),)


def test_a_kernel_killed_inside_a_function_leaves_a_chat_that_goes_on(tmp_path):
    model = calling(call("weather", city="Oslo"), "Sunny.", journal=ChatFiles(tmp_path))
    model.tools("Weather?", [weather], approve=lambda _: True)
    file = tmp_path / "main.jsonl"
    kept = file.read_bytes().splitlines(keepends=True)[:2]  # the question and the call
    file.write_bytes(b"".join(kept))
    new = calling("Hello.", journal=ChatFiles(tmp_path))
    assert [message.role for message in new.chats.restore().messages()] == ["user", "assistant"]
    assert new.chat("Hi").text == "Hello."
    assert file.stat().st_size > sum(map(len, kept))
