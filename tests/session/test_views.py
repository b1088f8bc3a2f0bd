"""What the model sees, as values: prompts and tokens."""

import pytest

from llama_nb.core.errors import MessageError, UnsupportedError
from tests.session.fakes import FakeEngine, fake_model


def test_the_prompt_with_a_text_that_is_not_sent() -> None:
    engine = FakeEngine()
    m = fake_model(engine)
    m.chat("one two", system="s")
    view = m.prompt("three")
    assert (
        view.text
        == "[system] s\n[user] one two\n[assistant] You said: one two (2)\n[user] three\n[assistant]"
    )
    rows = [(row.role, row.tokens) for row in view.messages]
    assert rows == [("system", 3), ("user", 3), ("assistant", 6), ("user", 2), ("answer", 1)]
    assert len(view.ids) == sum(count for _, count in rows)
    assert view.special[0] is True
    assert (view.context, view.cached) == (1000, 0)
    assert len(engine.requests) == 1
    assert m.chats["main"].turn_count() == 1
    assert repr(view) == "PromptView(15 tokens, 0 of them cached, context 1000)"
    assert str(view) == view.text


def test_the_prompt_of_the_chat_as_it_stands() -> None:
    m = fake_model()
    with pytest.raises(MessageError, match="Chat 'main' is empty"):
        m.prompt()
    m.chat("one")
    assert "You said: one (1)" in m.prompt().text
    assert m.prompt("x", chat="new").text == "[user] x\n[assistant]"
    assert "new" not in m.chats
    assert m.prompt("x", chat="new", system="S").text.startswith("[system] S")
    with pytest.raises(UnsupportedError):
        fake_model(FakeEngine(has_chat_template=False)).prompt("x")


def test_tokens_of_a_text() -> None:
    view = fake_model().tokens("one two three")
    assert list(view) == [(0, "t0"), (1, "t1"), (2, "t2")]
    assert len(view) == 3
    assert repr(view) == "TokenView(3 tokens, 13 characters)"
    assert str(view) == "t0|t1|t2"
    with pytest.raises(MessageError):
        fake_model().tokens(3)  # type: ignore[arg-type]
