"""What a chat panel is about, over fake models: its chat, what is carried over, where it is kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llama_nb
from llama_nb.core.errors import LlamaError
from llama_nb.runtime import settings
from llama_nb.session import registry
from llama_nb.session.model import Model
from llama_nb.session.panel import Panel
from llama_nb.session.store import ChatFiles
from tests.session.fakes import FakeEngine, fake_model


@pytest.fixture
def loaded() -> Iterator[dict[str, Model]]:
    made = {name: fake_model(name=name) for name in ("one", "two")}
    registry._models.update(made)
    registry.use("one")
    yield made
    for name in made:
        registry._models.pop(name, None)
    registry._current = next(reversed(registry._models), None)


def test_an_empty_chat_uses_nothing(loaded: dict[str, Model]) -> None:
    head = Panel(loaded["one"]).head()
    assert head["context"] == {"used": 0, "total": 1000}
    assert [(each["name"], each["current"]) for each in head["models"]][-2:] == [
        ("one", True),
        ("two", False),
    ]


def test_the_gauge_is_what_the_last_reply_used(loaded: dict[str, Model]) -> None:
    panel = Panel(loaded["one"])
    reply = loaded["one"].chat("What is a token?")
    assert reply.usage is not None
    assert panel.used() == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_what_another_model_wrote_is_counted_anew(loaded: dict[str, Model]) -> None:
    loaded["one"].chat("What is a token?")
    panel = Panel(loaded["one"])
    panel.use_model("two")
    loaded["two"]._checked.fingerprint = "e" * 16  # type: ignore[misc]
    counted = loaded["two"].engine.count_tokens(panel.chat.messages())
    assert panel.used() == counted


def test_a_conversation_is_carried_over_with_its_branches_and_system_prompt(loaded: dict[str, Model]) -> None:
    one = loaded["one"]
    one.chat("What is a token?", system="Be brief.")
    first = one.chats["main"].path()[0].id
    one.chats["main"].goto(first)
    one.chat("And more?")
    panel = Panel(one)
    panel.use_model("two")
    there = loaded["two"].chats["main"]
    assert there.system == "Be brief."
    assert [node.id for node in there.nodes.values()] == [
        node.id for node in one.chats["main"].nodes.values()
    ]
    assert there.head == one.chats["main"].head
    assert panel.notes == {there.head: ["Carried over from one: two answers from here on."]}


def test_a_chat_that_has_messages_is_not_overwritten(loaded: dict[str, Model]) -> None:
    loaded["one"].chat("What is a token?")
    loaded["two"].chat("What is attention?")
    panel = Panel(loaded["one"])
    panel.use_model("two")
    assert panel.chat.path()[0].message.content == "What is attention?"
    assert panel.notes == {}


def test_no_such_model_names_the_nearest(loaded: dict[str, Model]) -> None:
    with pytest.raises(LlamaError, match="No loaded model is called 'tow'") as refused:
        Panel(loaded["one"]).use_model("tow")
    assert "two" in refused.value.hint


def test_what_could_be_asked_first_fits_the_model(loaded: dict[str, Model], stories260k: Path) -> None:
    head = Panel(loaded["one"]).head()
    assert (head["base"], len(head["ideas"])) == (False, 3)
    base = llama_nb.load(stories260k, name="base")
    try:
        assert Panel(base).head()["base"] is True
    finally:
        base.unload()


def test_a_chat_in_memory_says_so(loaded: dict[str, Model]) -> None:
    head = Panel(loaded["one"]).head()
    assert (head["kept"], head["where"]) == (False, "Kept in memory only.")


def test_a_chat_on_the_disk_says_where_without_a_path_of_the_machine(tmp_path: Path) -> None:
    folder = tmp_path / ".llama-nb" / "chats" / "lesson"
    model = fake_model(journal=ChatFiles(folder))
    settings.set_chats_on_disk(True)
    try:
        head = Panel(model, "ideas").head()
    finally:
        settings.set_chats_on_disk(None)
    assert head["kept"] is True
    assert head["where"].endswith(": .llama-nb/chats/lesson/ideas.jsonl")
    assert str(tmp_path) not in head["where"]


def test_the_answered_message_is_found(loaded: dict[str, Model]) -> None:
    one = loaded["one"]
    panel = Panel(one)
    reply = one.chat("What is a token?")
    assert panel.asked(reply) == one.chats["main"].path()[0].id
    reply.user = "something else"
    assert panel.asked(reply) == ""


def test_tokens_that_are_gone_say_so(loaded: dict[str, Model]) -> None:
    panel = Panel(loaded["one"])
    loaded["one"].chat("What is a token?")
    chat = panel.chat
    assert chat.head is not None
    assert len(panel.tokens(chat.head)) == 7
    chat.fill(list(chat.nodes.values()), head=chat.head)
    with pytest.raises(LlamaError, match="not in memory any more"):
        panel.tokens(chat.head)


def test_a_long_conversation_is_shown_quickly() -> None:
    import time

    from llama_nb.core.messages import Message

    model = fake_model(FakeEngine(context=10**9))
    chat: Any = model.chats["main"]
    for number in range(1000):
        role = "assistant" if number % 2 else "user"
        chat.add(Message(role, f"message {number}"), parent=chat.head)
    panel = Panel(model)
    began = time.perf_counter()
    assert len(panel.steps()) == 1000
    assert time.perf_counter() - began < 0.5
