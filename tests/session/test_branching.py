"""What a branch leaves behind when it is stopped, fails or comes to nothing, and what is stored of it."""

import functools
import threading
from collections.abc import Callable

import pytest

from llama_nb.core.errors import EngineError, LlamaError, MessageError, ModelGone
from llama_nb.core.events import TokenEvent
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.session.model import Model
from llama_nb.session.reply import Reply
from tests.session.fakes import FakeEngine, Memory, fake_model
from tests.session.tool_models import call, calling


class Beginning(FakeEngine):
    """A fake that goes on behind what a reply begins with; token n of a reply has the id n."""

    def begun_texts(self, request: Request) -> list[str]:
        """Return the texts of the rule's answer."""
        words = list(self.rule(request))
        return [words[token] if token < len(words) else f" t{token}" for token in request.begun]

    def _tokens(self, request, stop, started):  # type: ignore[no-untyped-def]
        skip = len(request.begun)
        for number, event in enumerate(super()._tokens(request, stop, started)):
            if number >= skip or event.finish is not None:
                yield event


@pytest.fixture
def engine() -> Beginning:
    return Beginning(rule=lambda request: [" one", " two", " three", " four"])


@pytest.fixture
def m(engine: Beginning) -> Model:
    made = fake_model(engine, journal=Memory())
    made.chat("hello")
    made.chat("more")
    return made


def lines(m: Model) -> list[tuple[str, str | None]]:
    journal = m.chats._journal
    assert isinstance(journal, Memory)
    return journal.lines


def calls(m: Model) -> list[Callable[..., Reply]]:
    return [m.retry, functools.partial(m.edit, "other words"), functools.partial(m.branch, 2, 9), m.go_on]


@pytest.mark.parametrize("number", range(4), ids=["retry", "edit", "branch", "go_on"])
def test_what_fails_before_a_word_leaves_the_conversation_where_it_was(
    m: Model, engine: Beginning, number: int
) -> None:
    chat = m.chats["main"]
    before = (chat.head, chat.system)
    answers = [node for node in chat.nodes.values() if node.message.role == "assistant"]
    engine.failure = EngineError("logits are NaN")
    call = calls(m)[number]
    with pytest.raises(EngineError, match="NaN"):
        call()
    assert (chat.head, chat.system) == before
    assert [node for node in chat.nodes.values() if node.message.role == "assistant"] == answers
    assert not chat.turn.held
    assert m.active == ()
    engine.failure = None
    engine.rule = lambda request: [" one", " two", " three", " four", " five"]
    call()
    assert chat.head != before[0]


@pytest.mark.parametrize("number", [0, 1], ids=["retry", "edit"])
def test_what_is_stopped_before_a_word_leaves_the_conversation_where_it_was(
    m: Model, engine: Beginning, number: int
) -> None:
    chat = m.chats["main"]
    head = chat.head
    engine.gate = threading.Semaphore(0)
    reply = calls(m)[number](background=True)
    assert chat.head == reply.asked != head
    reply.stop()
    reply.wait(5)
    assert chat.head == head
    assert any("Nothing was answered" in note for note in reply.notes)


def test_an_error_after_some_words_keeps_them(m: Model, engine: Beginning) -> None:
    engine.failure, engine.fail_at = EngineError("cut"), 2
    with pytest.raises(EngineError, match="cut"):
        m.retry()
    chat = m.chats["main"]
    assert chat.path()[-1].message.content == " one two"
    assert [node.message.content for node in chat.versions(chat.head or "")] == [
        " one two three four",
        " one two",
    ]


def test_a_waiting_branch_can_be_stopped_and_changes_nothing(m: Model, engine: Beginning) -> None:
    engine.gate = threading.Semaphore(0)
    first = m.chat("again", background=True)
    waiting = [m.retry(background=True), m.edit("x", background=True), m.go_on(background=True)]
    for reply in waiting:
        reply.stop()
        assert reply.wait(5).text == ""
    engine.gate.release(100)
    first.wait(5)
    assert m.chats["main"].head == first.id
    assert m.chat("next").wait(5).done  # nobody holds a place in the queue


def test_a_chat_that_is_cleared_meanwhile_gets_no_late_version(m: Model, engine: Beginning) -> None:
    engine.gate = threading.Semaphore(0)
    reply = m.retry(background=True)
    m.chats["main"].clear()
    engine.gate.release(100)
    reply.wait(5)
    assert reply.text == " one two three four"
    assert len(m.chats["main"].nodes) == 0


def test_a_version_is_stored_with_its_place_and_not_before(m: Model, engine: Beginning) -> None:
    before = len(lines(m))
    engine.rule = lambda request: [" another"]
    m.retry()
    assert lines(m)[before:] == [("assistant", " another")]
    m.edit("in other words")
    assert lines(m)[before + 1 :] == [("user", "in other words"), ("assistant", " another")]
    engine.rule = lambda request: [" another"]
    m.retry()  # the same words again: gone to, not stored twice
    assert [role for role, _ in lines(m)[before + 3 :]] == ["head"]


def test_a_question_that_nobody_answered_can_be_answered(m: Model, engine: Beginning) -> None:
    chat = m.chats["main"]
    asked = chat.add(Message("user", "are you there?"), parent=chat.head)
    assert m.retry().parent == chat.path()[-3].id
    assert chat.path()[-1].parent == asked.id
    engine.rule = lambda request: [" once more"]
    again = m.retry(at=asked.id)
    assert chat.versions(again.id)[1].message.content == " once more"


def test_an_answer_that_was_put_there_by_hand_has_versions_but_no_tokens(m: Model) -> None:
    m.chat([Message("user", "a"), Message("assistant", "b"), Message("user", "c")], chat="other")
    chat = m.chats["other"]
    made = chat.path()[1]
    with pytest.raises(MessageError, match="not known"):
        m.branch(0, 1, chat="other", at=made.id)
    again = m.retry(chat="other", at=made.id)
    assert [node.id for node in chat.versions(made.id)] == [made.id, again.id]
    assert again.chat == "other"
    alone = chat.add(Message("assistant", "first of all"), parent=None)
    with pytest.raises(MessageError, match="no question before it"):
        m.retry(chat="other", at=alone.id)


def test_kept_tokens_are_told_like_new_ones_and_are_no_part_of_the_request(
    m: Model, engine: Beginning
) -> None:
    reply = m.branch(2, 9)
    assert reply.text == " one two t9 four"
    assert engine.requests[-1].begun == (0, 1, 9)
    assert reply.request is not None
    assert reply.request.begun == ()
    assert [token.id for token in reply.begun] == [0, 1, 9]
    assert reply.tokens[:3] == reply.begun
    assert all(isinstance(token, TokenEvent) and token.elapsed_s == 0 for token in reply.begun)


def test_max_tokens_of_a_call_counts_what_comes_new(m: Model, engine: Beginning) -> None:
    m.chat("once more", max_tokens=3)
    m.branch(1, 9)
    assert engine.requests[-1].sampling.max_tokens == 3  # the whole answer is as long as it was allowed
    m.branch(1, 9, max_tokens=50)
    assert engine.requests[-1].sampling.max_tokens == 52
    m.go_on()
    assert engine.requests[-1].sampling.max_tokens == 52 - 2 + len(engine.requests[-1].begun)


def test_an_unloaded_model_says_so(m: Model) -> None:
    m._engine = None
    for ask in calls(m):
        with pytest.raises(ModelGone):
            ask()


def test_half_precision_is_said_to_be_approximate(engine: Beginning) -> None:
    m = fake_model(engine)
    m.chat("hello")
    assert m.branch(1, 9).notes == []
    m._facts = ("bfloat16", *m._facts[1:])
    assert any("bfloat16" in note for note in m.go_on().notes)
    assert not any("bfloat16" in note for note in m.retry().notes)


def test_another_chats_messages_are_not_found(m: Model) -> None:
    m.chat("x", chat="other")
    with pytest.raises(LlamaError, match="no message has it"):
        m.retry(chat="other", at=m.chats["main"].head)


def test_an_answer_to_a_functions_result_is_retried_with_the_functions() -> None:
    def weather(city: str) -> str:
        """Return the weather."""
        return f"rain in {city}"

    m = calling(call("weather", city="Oslo"), "It rains.", "Take an umbrella.", call("weather", city="Rome"))
    run = m.tools("How is it?", [weather], approve=lambda _: True)
    chat = m.chats["main"]
    again = m.retry()
    assert again.text == "Take an umbrella."
    assert (again.user, again.results) == (None, run.reply.results)
    assert [node.id for node in chat.versions(again.id)] == [run.reply.id, again.id]
    assert again.request is not None
    assert [tool["function"]["name"] for tool in again.request.tools] == ["weather"]
    asked = m.retry()
    assert [made.name for made in asked.calls] == ["weather"]  # read as a call, and not run
    assert chat.path()[-1].message.tool_calls[0].arguments == {"city": "Rome"}
    assert len(run.calls) == 1
