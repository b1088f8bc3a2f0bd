"""The tree of a chat by itself: versions, the end of a branch, which replies are held, who is told."""

import threading
from collections.abc import Iterator

import pytest

from llama_nb.core import events
from llama_nb.core.errors import LlamaError
from llama_nb.core.events import ChatChanged, Finish, TokenEvent, Usage
from llama_nb.core.messages import Message
from llama_nb.core.sampling import Sampling
from llama_nb.session import chat as chats
from llama_nb.session.chat import Chat, Node
from llama_nb.session.reply import Reply


@pytest.fixture
def told() -> Iterator[list[object]]:
    """The chats that were said to have changed."""
    log: list[object] = []
    unsubscribe = events.subscribe(
        lambda event: log.append(event.chat) if isinstance(event, ChatChanged) else None
    )
    yield log
    unsubscribe()


def say(chat: Chat, text: str, parent: Node | None, *, move: bool = True) -> Node:
    """Add a message of whoever's turn it is."""
    role = "user" if parent is None or parent.message.role == "assistant" else "assistant"
    return chat.add(Message(role, text), parent=parent.id if parent else None, move=move)


def answer(text: str, parent: str | None = None) -> Reply:
    reply = Reply(kind="chat", model_name="m", fingerprint="f", sampling=Sampling(), user="u", chat="main")
    reply.parent = parent
    for number, word in enumerate(text.split()):
        reply.append(TokenEvent(f" {word}", number))
    reply.end(Finish("end", Usage(1, 0, len(reply.tokens), 0.1, 0.2)))
    return reply


def test_versions_stand_side_by_side_in_the_order_they_came() -> None:
    chat = Chat("main")
    asked = say(chat, "hello", None)
    answers = [say(chat, text, asked) for text in ("one", "two", "three")]
    assert [chat.versions(node.id) for node in answers] == [tuple(answers)] * 3
    assert chat.versions(asked.id[:5]) == (asked,)
    other = say(chat, "hi", None)
    say(chat, "answered", other)
    assert chat.versions(asked.id) == (asked, other)


def test_a_question_without_an_answer_is_a_version_only_while_the_conversation_ends_there() -> None:
    chat = Chat("main")
    asked = say(chat, "hello", None)
    say(chat, "one", asked)
    lonely = say(chat, "is anybody there?", None)
    assert chat.versions(asked.id) == (asked, lonely)
    assert chat.withdraw(lonely.id, asked.id)
    assert not chat.withdraw(lonely.id, asked.id)
    assert chat.versions(asked.id) == (asked,)
    assert chat.versions(lonely.id) == (asked, lonely)  # who holds it still sees where it stands
    assert chat.tip(lonely.id) == lonely.id


def test_the_tip_follows_the_way_that_was_taken_last_else_the_newest() -> None:
    chat = Chat("main")
    asked = say(chat, "hello", None)
    first, second = say(chat, "one", asked), say(chat, "two", asked)
    deep = say(chat, "deep", say(chat, "and then?", first))
    assert chat.tip(asked.id) == deep.id
    say(chat, "three", asked, move=False)
    assert chat.tip(asked.id) == deep.id
    chat.goto(second.id)
    assert (chat.tip(asked.id), chat.tip(first.id)) == (second.id, deep.id)
    restored = Chat("main")
    restored.fill(chat.nodes.values(), head=first.id)
    assert restored.tip(asked.id) == deep.id
    fresh = Chat("main")
    fresh.fill(chat.nodes.values(), head=None)
    assert fresh.tip(asked.id) == next(reversed(chat.nodes))


def test_the_tip_is_no_question_that_nobody_answered() -> None:
    chat = Chat("main")
    reply = say(chat, "one", say(chat, "hello", None))
    question = say(chat, "and?", reply)
    assert chat.tip(reply.id) == question.id  # the conversation ends there
    chat.withdraw(question.id, reply.id)
    assert chat.tip(reply.id) == reply.id


def test_unknown_ids_are_answered_with_what_is_there() -> None:
    chat = Chat("main")
    with pytest.raises(LlamaError, match="no message has it") as caught:
        chat.find("abc")
    assert "empty" in caught.value.hint
    nodes = [say(chat, f"hello {number}", None) for number in range(40)]
    with pytest.raises(LlamaError, match="no message has it") as caught:
        chat.tip("zzzzzzz")
    assert "chats --tree" in caught.value.hint
    wrong = nodes[0].id[:-1] + "g"
    with pytest.raises(LlamaError) as caught:
        chat.versions(wrong)
    assert nodes[0].id in caught.value.hint
    common = next(letter for letter in "0123456789abcdef" if sum(n.id[0] == letter for n in nodes) > 1)
    with pytest.raises(LlamaError, match=r"\d+ messages begin with it"):
        chat.goto(common)
    with pytest.raises(LlamaError, match="no message has it"):
        chat.find("")


def test_the_newest_replies_are_held_with_their_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats, "TOKENS_HELD", 10)
    chat = Chat("main")
    asked = say(chat, "hello", None)
    replies = [answer(f"{word} b c d") for word in ("one", "two", "three")]
    nodes = [chat.answer(reply, parent=asked.id) for reply in replies]
    assert [chat.reply(node.id) for node in nodes] == [None, *replies[1:]]
    assert nodes[0].reply is not None
    assert nodes[0].reply["text"] == " one b c d"
    long = chat.answer(answer("word " * 50), parent=asked.id)
    assert chat.reply(long.id) is not None  # one that is too long by itself still is there
    assert chat.reply(nodes[2].id) is None
    assert chat.reply(asked.id) is None
    again = answer("three b c d")
    assert chat.answer(again, parent=asked.id).id == nodes[2].id
    assert chat.reply(nodes[2].id) is again
    assert chat.answer(replies[2], parent=asked.id).id == nodes[2].id
    assert chat.reply(nodes[2].id) is again  # the first one of two that are the same
    other = answer("three b c d")
    other._tokens[1] = TokenEvent(" b", 77)  # other tokens, the same text
    assert chat.answer(other, parent=asked.id).id == nodes[2].id
    assert chat.reply(nodes[2].id) is other
    chat.clear()
    assert len(chat.nodes) == 0


def test_the_same_answer_to_another_question_is_another_message() -> None:
    chat = Chat("main")
    first, second = say(chat, "a", None), say(chat, "b", None)
    nodes = [chat.answer(answer("the same"), parent=asked.id) for asked in (first, second, second)]
    assert nodes[0].id != nodes[1].id == nodes[2].id
    assert chat.path()[0] == second


def test_each_change_is_told_once_when_nothing_is_locked(told: list[object]) -> None:
    chat = Chat("main")
    free: list[bool] = []

    def take() -> None:
        free.append(chat._lock.acquire(timeout=1))
        chat._lock.release()

    def look(event: events.Event) -> None:
        if isinstance(event, ChatChanged):
            thread = threading.Thread(target=take)
            thread.start()
            thread.join()

    unsubscribe = events.subscribe(look)
    asked = say(chat, "hello", None)
    node = chat.answer(answer("hi"), parent=asked.id)
    chat.goto(asked.id)
    chat.add(Message("assistant", " hi"), parent=asked.id, node_id=node.id)  # there already: it is gone to
    chat.withdraw(node.id, asked.id)
    chat.system = "Be brief."
    chat.system = "Be brief."
    chat.fill(list(chat.nodes.values()), head=node.id)
    chat.clear()
    unsubscribe()
    assert told == [chat] * 8
    assert free == [True] * 8


def test_what_fails_is_not_told(told: list[object]) -> None:
    chat = Chat("main")
    with pytest.raises(LlamaError):
        chat.goto("nowhere")
    assert told == []
