"""A whole conversation as text and HTML: what is there, what is left out, hostile text in every place."""

import pytest

from llama_nb.render.clean import LIMIT
from llama_nb.render.conversation import ConversationTwin, Turn, to_html, to_text
from llama_nb.render.markdown import tree
from tests.hostile.corpus import Case, cases
from tests.render.html_reader import read

CASES = cases("http://127.0.0.1:9")


def turn(role: str, text: str, **more: object) -> Turn:
    return Turn(role, "cria", tree(text), text, **more)  # type: ignore[arg-type]


def twin(*turns: Turn, system: str = "") -> ConversationTwin:
    return ConversationTwin("main", "cria", system, turns)


def test_it_reads_as_a_conversation() -> None:
    answer = turn("assistant", "**42**", version="2 of 3", notes=["Carried over."])
    said = to_text(twin(turn("user", "What is it?"), answer, system="Be brief."))
    assert said == (
        "Chat main with cria · 1 turn\nSystem prompt: Be brief.\n\nYou:\nWhat is it?\n\n"
        "cria · version 2 of 3:\n**42**\n[Carried over.]"
    )
    html = to_html(twin(turn("user", "What is it?"), answer, system="Be brief."))
    for part in (
        "You",
        "What is it?",
        "<strong>42</strong>",
        "version 2 of 3",
        "note: Carried over.",
        "Be brief.",
    ):
        assert part in html


def test_an_answer_that_is_not_whole_is_marked() -> None:
    html = to_html(twin(turn("assistant", "half", finish="stopped", detail="interrupted")))
    assert "stopped: this is the part that was written (interrupted)" in html


def test_nothing_was_said_yet() -> None:
    assert to_text(twin()) == "Chat main with cria · no messages yet"
    assert "no messages yet" in to_html(twin())


def test_of_a_long_conversation_the_newest_messages_are_shown() -> None:
    many = twin(*(turn("user", f"message {number} " * 2000) for number in range(40)))
    text = to_text(many)
    assert "earlier messages are not shown here" in text
    assert "message 39" in text
    assert "message 0 " not in text
    assert len(text) < LIMIT + 2000
    assert len(to_html(twin(turn("user", "x" * (2 * LIMIT))))) > LIMIT / 2


@pytest.mark.parametrize("case", CASES[::3], ids=[case.name for case in CASES[::3]])
def test_hostile_text_is_only_shown(case: Case) -> None:
    text = case.text
    made = ConversationTwin(
        text, text, text, [Turn("assistant", text, tree(text), text, "error", text, text, [text])]
    )
    html = to_html(made)
    found = read(html)
    assert found.faults == []
    assert found.open == 0
    assert "\x1b" not in to_text(made)
