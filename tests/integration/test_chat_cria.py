"""A conversation with the bundled model, from loading it to unloading it, through the public API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import llama_nb as llama
from llama_nb.core import events
from llama_nb.core.messages import Message
from llama_nb.session.model import Model
from llama_nb.session.store import ChatFiles

GREEDY = {"temperature": 0, "max_tokens": 48}


@pytest.fixture(scope="module")
def loaded() -> Iterator[Model]:
    m = llama.load("cria", name="cria for a conversation")
    yield m
    m.unload(force=True)


@pytest.fixture
def m(loaded: Model) -> Model:
    loaded.chats.clear("main")
    return loaded


def test_it_is_small_and_exact(m: Model) -> None:
    assert m.dtype == "float32"
    assert m.context >= 1024
    assert m.parameters < 5_000_000
    assert (m.sampling.max_tokens or 0) <= m.context // 4


def test_it_answers(m: Model) -> None:
    reply = m.chat("What is a token?", **GREEDY)
    assert "token" in reply.text.lower()
    assert reply.finish is not None
    assert reply.finish.reason == "end"


def test_it_says_the_same_every_time(m: Model) -> None:
    first = m.chat("What is a token?", **GREEDY)
    m.chats.clear()
    again = m.chat("What is a token?", **GREEDY)
    assert (first.text, first.id) == (again.text, again.id)
    drawn = m.chat("Tell me a story.", temperature=1, max_tokens=40)
    assert drawn.rerun().text == drawn.text
    short = drawn.rerun(max_tokens=5)
    assert short.text
    assert drawn.text.startswith(short.text)


def test_a_second_turn_uses_the_cache_and_gives_what_a_fresh_chat_gives(m: Model) -> None:
    first = m.chat("What is attention?", **GREEDY)
    second = m.chat("And in one word?", **GREEDY)
    assert second.usage is not None
    assert second.usage.cached_tokens > 10
    past = [Message("user", "What is attention?"), Message("assistant", first.text)]
    assert m.chat([*past, Message("user", "And in one word?")], **GREEDY).text == second.text


@pytest.mark.parametrize("index", [1, 2, 5, 9, 14])
def test_stopped_it_goes_on_as_if_it_never_had(m: Model, index: int) -> None:
    with m.stream("Tell me a story about a fox.", **GREEDY) as stream:
        for count, _ in enumerate(stream, start=1):
            if count == index:
                break
    text = stream.reply.text
    answer = m.chat("What is a logit?", **GREEDY)
    past = [Message("user", "Tell me a story about a fox."), Message("assistant", text)] if text else []
    assert answer.text == m.chat([*past, Message("user", "What is a logit?")], **GREEDY).text


def test_a_long_conversation_stays_within_the_context(m: Model) -> None:
    notes: list[str] = []
    for number in range(12):
        notes += m.chat(f"Repeat: {'lano ' * 60}{number}", temperature=0, max_tokens=70).notes
    assert any("left out" in note for note in notes)
    assert m.chats["main"].turn_count() == 12


def test_it_is_there_after_a_restart(m: Model, tmp_path: Path) -> None:
    m.chats["main"].journal = ChatFiles(tmp_path / ".llama-nb" / "chats" / "n")
    m.chat("What is a token?", system="Answer in one word.", **GREEDY)
    before = m.chats["main"].messages()
    m.chats["main"].journal = None
    other = llama.load("cria", name="cria after a restart")
    other.chats["main"].journal = ChatFiles(tmp_path / ".llama-nb" / "chats" / "n")
    other.chats.restore("main", tmp_path / ".llama-nb" / "chats" / "n" / "main.jsonl")
    assert other.chats["main"].messages() == before
    assert other.chat("And a logit?", **GREEDY).system == "Answer in one word."
    other.unload()


def test_what_it_sees_is_shown(m: Model) -> None:
    m.chat("What is a token?", **GREEDY)
    view = m.prompt("And a <|eot_id|>?")
    assert view.text.startswith("<|begin_of_text|><|start_header_id|>user<|end_header_id|>")
    assert [row.role for row in view.messages] == ["user", "assistant", "user", "answer"]
    assert sum(row.tokens for row in view.messages) == len(view.ids)
    assert view.cached > 5
    plain = m.prompt("And a dog?")
    assert sum(view.special) == sum(plain.special)
    assert "".join(m.tokens("one two").texts).replace("·", " ") == "one two"


def test_tokens_stream_while_they_are_made(m: Model) -> None:
    log: list[str] = []
    unsubscribe = events.subscribe(lambda event: log.append(type(event).__name__))
    texts = [event.text for event in m.stream("What is a token?", **GREEDY)]
    unsubscribe()
    assert len(texts) > 5
    assert log[:2] == ["ChatChanged", "ReplyStarted"]
    assert log[-2:] == ["ChatChanged", "ReplyEnded"]
    assert log.count("ReplyAdvanced") == len(texts)
