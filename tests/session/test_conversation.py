"""A chat as a page shows it: steps, contents, tokens, the tree; of fake models and of hostile files."""

import json
import math
from typing import Any

from llama_nb.core.events import Alternative, Finish, TokenEvent, Usage
from llama_nb.core.messages import Message, ToolCall
from llama_nb.core.sampling import Sampling
from llama_nb.render.conversation import ConversationTwin, to_html, to_text
from llama_nb.session import conversation
from llama_nb.session.chat import Chat, Node
from llama_nb.session.reply import Reply
from tests.session.fakes import fake_model


def talked(*messages: str) -> Any:
    model = fake_model()
    for message in messages:
        model.chat(message, seed=3)
    return model.chats["main"]


def a_reply(count: int, alternatives: int = 10, forbidden: float | None = None) -> Reply:
    about: dict[str, Any] = {"kind": "chat", "model_name": "m", "fingerprint": "0" * 16, "chat": "main"}
    reply = Reply(**about, user="hi", sampling=Sampling())
    others = tuple(
        Alternative(token, f" word{token}", -0.123456 * (token + 1), -0.2 if token < 2 else None)
        for token in range(alternatives)
    )
    for _ in range(count):
        reply.append(TokenEvent(" word0", 0, -0.123456, 1.234567, others, 0.1, forbidden=forbidden))
    reply.end(Finish("end", Usage(3, 0, count, 0.1, 1.0)))
    reply.special = frozenset({1})
    return reply


def test_steps_say_who_wrote_what_and_how_it_ended() -> None:
    asked, answered = conversation.steps(talked("What is a token?"))
    assert (asked["role"], asked["model"], asked["tokens"]) == ("user", "", 0)
    assert (answered["role"], answered["model"], answered["finish"]) == ("assistant", "fake", "end")
    assert answered["status"].startswith("7 tokens · ")
    assert answered["status"].endswith(" · seed 3")
    assert answered["branchable"] is True
    assert (answered["version"], answered["versions"], answered["siblings"]) == (1, 1, [answered["id"]])


def test_versions_are_counted_in_the_order_they_came() -> None:
    chat = talked("one", "two")
    first = chat.path()[0].id
    chat.add(Message("assistant", "otherwise"), parent=first)
    steps = conversation.steps(chat)
    assert [(step["version"], step["versions"]) for step in steps] == [(1, 1), (2, 2)]
    assert steps[1]["siblings"][1] == steps[1]["id"]


def test_notes_of_the_panel_stand_below_those_of_the_reply() -> None:
    chat = talked("<|eot_id|> is text")
    own, added = conversation.steps(chat, {chat.head: ["Carried over."]})[1]["notes"]
    assert "shown to the model as text" in own
    assert added == "Carried over."


def test_contents_come_for_the_ids_that_there_are() -> None:
    chat = talked("a *b*")
    first, second = chat.path()
    asked, answered = conversation.contents(chat, [first.id, "nope", second.id])
    assert asked == {
        "id": first.id,
        "nodes": [{"t": "p", "c": ["a ", {"t": "em", "c": ["b"]}]}],
        "text": "a *b*",
    }
    assert answered["text"] == "You said: a *b* (1)"


def test_a_tools_result_is_shown_as_it_is() -> None:
    chat = talked("hi")
    chat.add(Message("assistant", "", (ToolCall("clock", {"zone": "UTC"}),)), parent=chat.head)
    chat.add(Message("tool", "**12:00** <b>"), parent=chat.head)
    asks, gave = conversation.steps(chat)[2:]
    assert asks["calls"] == [{"name": "clock", "arguments": '{"zone": "UTC"}', "state": "ran"}]
    assert "calls" not in gave
    said = conversation.contents(chat, [gave["id"]])[0]["nodes"]
    assert said == [{"t": "p", "c": ["**12:00** <b>"]}]


def test_a_call_is_in_the_twin() -> None:
    chat = talked("hi")
    chat.add(Message("assistant", "", (ToolCall("clock", {"zone": "<UTC>"}),)), parent=chat.head)
    twin = ConversationTwin("main", "m", "", conversation.turns(chat, {}, "m"))
    assert "m:\n    clock(zone='<UTC>')" in to_text(twin)
    assert "&lt;UTC&gt;" in to_html(twin)
    assert conversation.contents(chat, [str(chat.head)])[0]["nodes"] == []


def test_what_a_call_came_to_is_read_from_its_result() -> None:
    chat = talked("hi")
    for told, state in (
        ('{"error": "the user did not allow it"}', "refused"),
        ('{"error": "boom"}', "failed"),
    ):
        chat.add(Message("assistant", told, (ToolCall("clock"),)), parent=chat.head)
        chat.add(Message("tool", told), parent=chat.head)
        assert conversation.steps(chat)[-2]["calls"][0]["state"] == state
    chat.add(Message("assistant", "", (ToolCall("clock"),)), parent=chat.head)
    assert conversation.steps(chat)[-1]["calls"][0]["state"] == "asked"


def test_hostile_records_do_no_harm() -> None:
    records: list[Any] = [
        {"finish": ["x"], "notes": "no list", "usage": [1], "model": "x", "seed": {"a": 1}, "grammar": 7},
        {
            "finish": "error",
            "detail": {"a": 1},
            "notes": [1, None, "a\x1b[31mb"],
            "usage": {"completion": "9"},
        },
        {"finish": "stop_string", "detail": 7, "usage": {"completion": 1e300, "total_s": float("nan")}},
        {"model": {"name": "/home/x/evil", "fingerprint": 3}},
    ]
    chat = Chat("main")
    nodes = [
        Node(f"{place:012x}", None, Message("assistant", "\ud800 <script>"), None, record)
        for place, record in enumerate(records)
    ]
    chat.fill(nodes, head=nodes[0].id)
    for node in nodes:
        chat.goto(node.id)
        (step,) = conversation.steps(chat)
        assert isinstance(step["status"], str)
        assert all(isinstance(note, str) and "\x1b" not in note for note in step["notes"])
        assert "/home" not in step["model"]
        json.dumps(conversation.contents(chat, [node.id]), ensure_ascii=False).encode("utf-8")
        json.dumps(conversation.tree(chat), ensure_ascii=False).encode("utf-8")


def test_the_tree_has_every_message_with_its_beginning() -> None:
    chat = talked("one " * 100)
    first = chat.path()[0].id
    other = chat.add(Message("assistant", "else"), parent=first, move=False)
    listed = conversation.tree(chat)
    assert [each["parent"] for each in listed] == [None, first, first]
    assert [each["on_path"] for each in listed] == [True, True, False]
    assert listed[2] == {
        "id": other.id,
        "parent": first,
        "role": "assistant",
        "text": "else",
        "on_path": False,
    }
    assert all(len(each["text"]) <= conversation.SHORT for each in listed)


def test_tokens_are_rows_without_what_is_empty_at_their_ends() -> None:
    (row,) = conversation.token_rows(a_reply(1, 3))
    others = [[0, " word0", -0.123, -0.2], [1, " word1", -0.247, -0.2, 1], [2, " word2", -0.37]]
    assert row == [0, " word0", -0.1235, 1.235, 0, None, others]


def test_what_the_grammar_forbade_is_told() -> None:
    assert conversation.token_rows(a_reply(1, 1, forbidden=0.25))[0][5] == 0.25


def test_a_thousand_tokens_with_ten_alternatives_are_small() -> None:
    rows = conversation.token_rows(a_reply(1000, 40))
    assert len(rows[0][6]) == conversation.MOST_ALTERNATIVES
    assert len(json.dumps(rows)) < 300_000


def test_a_probability_of_zero_can_be_sent() -> None:
    reply = a_reply(0, 0)
    reply.append(TokenEvent("a", 1, -math.inf, 0.5, (Alternative(1, "a", -math.inf, None),)))
    (row,) = conversation.token_rows(reply)
    json.dumps(row, allow_nan=False)
    assert row[2] is None


def test_a_long_reply_is_cut() -> None:
    assert len(conversation.token_rows(a_reply(conversation.MOST_TOKENS + 5, 1))) == conversation.MOST_TOKENS
