"""A conversation that outgrows the context: what is left out, and what is said about it."""

import itertools

import pytest

from llama_nb.core.errors import ContextOverflow
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.session.model import Model
from tests.session.fakes import FakeEngine, fake_model


def long_chat(context: int = 60, turns: int = 6) -> tuple[FakeEngine, Model]:
    engine = FakeEngine(context=1000, rule=lambda request: ["a", " b", " c"])
    m = fake_model(engine)
    for number in range(turns):
        m.chat(f"question {number} has five words", system="Be brief.")
    engine.context = context
    return engine, m


def test_the_oldest_turns_go_and_the_system_prompt_stays() -> None:
    engine, m = long_chat()
    reply = m.chat("the last one")
    sent = engine.requests[-1].input
    assert sent[0] == Message("system", "Be brief.")
    assert sent[1].role == "user"
    assert sent[-1] == Message("user", "the last one")
    size = len(engine.prompt(engine.requests[-1]).ids)
    assert size + 15 <= 60  # a quarter of the context is kept for the reply
    whole = len(engine.prompt(Request(m.chats["main"].messages()[:-1])).ids)
    dropped = 6 - (len(sent) - 2) // 2
    assert reply.notes == [
        f"The oldest {dropped} turns were left out ({whole - size} tokens): the whole conversation has "
        f"{whole} tokens, and the context of fake is 60, 15 of them kept for the reply."
    ]
    assert len(m.chats["main"].path()) == 14


def test_the_turns_that_follow_leave_out_the_same_and_find_their_beginning_in_the_cache() -> None:
    engine, m = long_chat(context=100, turns=8)
    firsts = []
    for number in range(16):
        m.chat(f"question {number} has five words")
        firsts.append(engine.requests[-1].input[1].content)
        assert len(engine.prompt(engine.requests[-1]).ids) + 25 <= 100
    turn = 1 + 5 + 1 + 3
    changes = sum(one != other for one, other in itertools.pairwise(firsts))
    # A quarter of the context, 25 tokens, is two turns and a half: that often something more is left out.
    assert changes <= 1 + len(firsts) * turn / 25


def test_at_most_a_quarter_of_the_context_more_is_left_out_than_needed() -> None:
    for context in range(60, 120):
        engine, m = long_chat(context=context)
        m.chat("the last one")
        size = len(engine.prompt(engine.requests[-1]).ids)
        turn = 1 + 5 + 1 + 3
        room = context // 4
        assert size + room <= context
        if len(engine.requests[-1].input) < 2 + 2 * 6:
            assert size + room + context // 4 + 2 * turn > context


def test_error_asks_before_anything_is_left_out() -> None:
    engine, m = long_chat()
    before = m.chats["main"].head
    with pytest.raises(
        ContextOverflow, match=r"The prompt has \d+ tokens, and the context of fake is 60: \d+ too"
    ):
        m.chat("the last one", overflow="error")
    assert m.chats["main"].head == before
    assert len(engine.requests) == 6


@pytest.mark.parametrize("turns", [0, 2])
def test_one_message_that_is_too_long_is_refused_with_counts(turns: int) -> None:
    _, m = long_chat(turns=turns)
    with pytest.raises(ContextOverflow, match=r"The message alone has 1,\d\d\d tokens"):
        m.chat("word " * 1000)
    assert m.chats["main"].turn_count() == turns


def test_a_message_that_leaves_less_room_than_wished_is_sent() -> None:
    engine = FakeEngine(context=60)
    m = fake_model(engine)
    reply = m.chat("word " * 50)
    assert reply.notes == []
    assert len(engine.requests) == 1


def test_a_completion_that_is_too_long_is_refused() -> None:
    with pytest.raises(
        ContextOverflow, match="The text has 101 tokens, and the context of fake is 60: 42 too many"
    ):
        fake_model(FakeEngine(context=60)).complete("word " * 100)


def test_a_list_of_messages_overflows_like_a_chat() -> None:
    engine = FakeEngine(context=40)
    m = fake_model(engine)
    turns = [Message(role, f"{role} {n} one two three") for n in range(5) for role in ("user", "assistant")]
    reply = m.chat([*turns, Message("user", "last")])
    assert "turns were left out" in reply.notes[0]
