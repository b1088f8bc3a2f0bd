"""Turns of a chat: what is sent, what is kept, and what a stop, an error or a rerun leaves."""

import threading

import pytest

from llama_nb.core.errors import EngineError, LlamaError, MessageError, ModelBusy, UnsupportedError
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.session.chat import Chat
from tests.session.fakes import FakeEngine, Memory, echo, fake_model


def texts(chat: Chat) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in chat.messages()]


def test_a_chat_remembers_its_turns() -> None:
    m = fake_model()
    assert m.chat("hello there").text == "You said: hello there (1)"
    assert m.chat("again").text == "You said: again (3)"
    assert texts(m.chats["main"]) == [
        ("user", "hello there"),
        ("assistant", "You said: hello there (1)"),
        ("user", "again"),
        ("assistant", "You said: again (3)"),
    ]


def test_chats_are_separate_and_have_their_own_cache() -> None:
    engine = FakeEngine()
    m = fake_model(engine)
    m.chat("a")
    m.chat("b", chat="other")
    m.chat("c")
    keys = [request.cache_key for request in engine.requests]
    assert keys[0] == keys[2] != keys[1]
    assert m.chats["main"].turn_count() == 2
    assert m.chats["other"].turn_count() == 1


def test_a_system_prompt_holds_until_it_is_replaced_or_taken_away() -> None:
    engine = FakeEngine()
    m = fake_model(engine)
    m.chat("a", system="Be brief.")
    m.chat("b")
    m.chat("c", system="Shout.")
    m.chat("d", system="")
    first = [request.input[0] for request in engine.requests]
    assert first == [
        Message("system", "Be brief."),
        Message("system", "Be brief."),
        Message("system", "Shout."),
        Message("user", "a"),
    ]


def test_a_list_of_messages_is_a_one_off_unless_a_chat_is_named() -> None:
    m = fake_model()
    reply = m.chat([{"role": "system", "content": "s"}, {"role": "user", "content": "one two"}])
    assert reply.text == "You said: one two (2)"
    assert (reply.chat, reply.system, reply.user) == (None, "s", "one two")
    assert len(m.chats["main"]) == 0
    m.chat(
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}, Message("user", "z")],
        chat="main",
    )
    assert [text for _, text in texts(m.chats["main"])] == ["x", "y", "z", "You said: z (3)"]


@pytest.mark.parametrize("index", range(6))
def test_a_chat_stopped_at_any_token_goes_on_as_if_that_were_the_answer(index: int) -> None:
    engine = FakeEngine()
    m = fake_model(engine)
    m.chat("before")
    seen = 0
    with m.stream("one two three") as stream:
        for _ in stream:
            seen += 1
            if seen > index:
                break
    assert stream.reply.finish is not None
    assert stream.reply.finish.reason == "stopped"
    answer = "".join(event.text for event in stream.reply.tokens)
    assert len(stream.reply.tokens) == index + 1
    m.chat("next", temperature=0)
    sent = engine.requests[-1].input
    assert sent[-2:] == (Message("assistant", answer), Message("user", "next"))


def test_nothing_answered_leaves_the_chat_as_it_was() -> None:
    engine = FakeEngine()
    journal = Memory()
    m = fake_model(engine, journal=journal)
    first = m.chat("first")
    engine.gate = threading.Semaphore(0)
    pending = m.chat("stop me", background=True)
    pending.stop()
    assert pending.wait(5).text == ""
    assert m.chats["main"].head == first.id
    assert pending.notes == ["Nothing was answered, so the message is not part of the chat."]
    assert journal.lines[2:] == [("user", "stop me"), ("head", first.id)]
    engine.gate = None
    assert m.chat("stop me").text == "You said: stop me (3)"


def test_a_stream_that_is_never_started_sends_nothing() -> None:
    engine = FakeEngine()
    m = fake_model(engine)
    m.stream("never mind")
    assert m.chat("hello").text == "You said: hello (1)"
    assert len(engine.requests) == 1


def test_an_error_before_the_first_token_takes_the_question_back() -> None:
    engine = FakeEngine(failure=EngineError("broken"))
    m = fake_model(engine)
    with pytest.raises(EngineError, match="broken"):
        m.chat("hello")
    assert m.chats["main"].messages() == ()
    engine.failure = None
    assert m.chat("hello").text == "You said: hello (1)"


def test_an_error_after_some_tokens_keeps_them() -> None:
    engine = FakeEngine(failure=RuntimeError("cut, token hf_abcdefghijklmnop"), fail_at=2)
    m = fake_model(engine)
    with pytest.raises(EngineError, match=r"RuntimeError: cut, token hf_\*\*\*"):
        m.chat("hello")
    assert texts(m.chats["main"]) == [("user", "hello"), ("assistant", "You said:")]
    assert next(reversed(m.chats["main"].nodes.values())).reply["finish"] == "error"


def test_the_message_is_stored_before_and_the_reply_after() -> None:
    journal = Memory()
    at_generation: list[list[tuple[str, str | None]]] = []

    def rule(request: Request) -> list[str]:
        at_generation.append(list(journal.lines))
        return echo(request)

    fake_model(FakeEngine(rule=rule), journal=journal).chat("hello")
    assert at_generation == [[("user", "hello")]]
    assert journal.lines == [("user", "hello"), ("assistant", "You said: hello (1)")]


def test_rerun_adds_a_version_and_leaves_the_conversation() -> None:
    engine = FakeEngine()
    m = fake_model(engine)
    reply = m.chat("hello", seed=3, temperature=1)
    head = m.chats["main"].head
    engine.rule = lambda request: ["Other"]
    again = reply.rerun(temperature=0.2)
    assert engine.requests[-1].input == engine.requests[0].input
    assert (again.sampling.temperature, again.sampling.seed, again.text) == (0.2, 3, "Other")
    chat = m.chats["main"]
    assert chat.head == head == reply.id
    parent = chat.nodes[reply.id].parent
    assert [node.message.content for node in chat.children(parent)] == ["You said: hello (1)", "Other"]
    assert again.parent == reply.parent is None


def test_rerun_of_a_one_off_and_of_a_completion() -> None:
    m = fake_model()
    assert m.chat([Message("user", "hi")]).rerun(temperature=0).text == "You said: hi (1)"
    assert m.complete("a b").rerun(seed=None).text == " and so on"


def test_goto_branches_and_nothing_is_lost() -> None:
    m = fake_model()
    first = m.chat("one")
    m.chat("two")
    chat = m.chats["main"]
    chat.goto(first.id)
    m.chat("three")
    assert [text for role, text in texts(chat) if role == "user"] == ["one", "three"]
    assert [node.message.content for node in chat.children(first.id)] == ["two", "three"]
    with pytest.raises(LlamaError, match="no message has it"):
        chat.goto("zzz")


def test_ids_depend_on_content_only() -> None:
    a, b = fake_model(), fake_model()
    assert a.chat("x").id == b.chat("x").id
    assert a.chat("x").id != b.chat("y").id
    assert a.chat("z").parent == a.chats["main"].path()[3].id


@pytest.mark.parametrize("text", ["", "  \n\t "])
def test_an_empty_message_is_refused(text: str) -> None:
    with pytest.raises(MessageError, match="Nothing to send"):
        fake_model().chat(text)


@pytest.mark.parametrize("bad", [None, 3, b"bytes", {"role": "user", "content": "x"}, [], ["text"]])
def test_what_is_no_message_is_refused(bad: object) -> None:
    m = fake_model()
    with pytest.raises(MessageError):
        m.chat(bad)  # type: ignore[arg-type]
    assert len(m.chats["main"].nodes) == 0


def test_a_conversation_must_end_with_something_to_answer() -> None:
    m = fake_model()
    with pytest.raises(MessageError, match=r"messages\[1\] is the assistant's"):
        m.chat([Message("user", "a"), Message("assistant", "b")])
    with pytest.raises(MessageError, match="two system prompts"):
        m.chat([Message("system", "a"), Message("user", "b")], system="c")
    with pytest.raises(MessageError, match=r"messages\[1\] is a second system prompt"):
        m.chat([Message("system", "a"), Message("system", "b"), Message("user", "c")])


def test_typos_in_options_are_named() -> None:
    m = fake_model()
    with pytest.raises(LlamaError, match="Did you mean 'temperature'"):
        m.chat("hi", temprature=0)
    with pytest.raises(LlamaError, match="Did you mean 'system'"):
        m.chat("hi", sytem="x")
    with pytest.raises(MessageError, match="Did you mean 'drop-oldest'"):
        m.chat("hi", overflow="drop-old")  # type: ignore[arg-type]
    assert len(m.chats["main"].nodes) == 0


def test_images_and_base_models_are_refused_in_a_sentence() -> None:
    with pytest.raises(UnsupportedError, match="reads text only"):
        fake_model().chat("what is this?", images=["cat.png"])
    with pytest.raises(UnsupportedError, match="base model"):
        fake_model(FakeEngine(has_chat_template=False)).chat("hello")


def test_control_tokens_typed_by_the_user_are_noted() -> None:
    reply = fake_model().chat("ignore <|eot_id|> that")
    assert reply.notes == ["`<|eot_id|>` in your message is shown to the model as text."]
    m = fake_model()
    m.chat("<|eot_id|>")
    assert m.chat("nothing special").notes == []


def test_chats_by_name() -> None:
    engine = FakeEngine()
    m = fake_model(engine)
    m.chat("x", chat="sums")
    with pytest.raises(LlamaError, match="Did you mean 'sums'"):
        m.chats.use("sum")
    m.chats.use("sums")
    assert m.chat("y").chat == "sums"
    m.chats.clear()
    assert len(m.chats["sums"]) == 0
    m.chats.delete("sums")
    assert list(m.chats) == ["main"]
    assert m.chats.current == "main"
    m.chats.delete("main")
    assert list(m.chats) == ["main"]
    assert len(engine.forgotten) == 3
    with pytest.raises(MessageError):
        m.chat("x", chat="a\nb")


def test_a_chat_in_use_is_not_cleared() -> None:
    m = fake_model()
    with m.stream("hello") as stream:
        next(stream)
        with pytest.raises(ModelBusy):
            m.chats.clear("main")


def test_a_cleared_chat_does_not_get_a_late_reply() -> None:
    m = fake_model()
    with m.stream("hello") as stream:
        next(stream)
        m.chats["main"].clear()
    assert stream.reply.text == "You"
    assert len(m.chats["main"].nodes) == 0
