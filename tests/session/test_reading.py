"""What is looked at: a text, a reply with its prompt, a chat; and what is said when there is nothing."""

import pytest

import llama_nb as llama
from llama_nb.core.errors import ContextOverflow, MessageError, UnsupportedError
from llama_nb.session.reading import find_reading
from tests.session.fakes import FakeEngine, fake_model


@pytest.fixture(scope="module")
def cria():
    model = llama.load("cria", name="read")
    yield model
    model.unload(force=True)


def test_a_text_is_read_as_complete_reads_it(cria):
    reading = find_reading(cria, "Once upon a time", what="attention")
    assert "".join(reading.texts).endswith("Once upon a time")
    assert (reading.title, reading.prompt, reading.spans) == ("text", len(reading), ())
    assert reading.special[0]
    assert not any(reading.special[1:])


def test_a_reply_is_read_with_its_prompt(cria):
    reply = cria.chat("What is a token?", chat="one", temperature=0)
    reading = find_reading(cria, reply, what="attention")
    told = [token.id for token in reply.tokens if token.id is not None]
    assert list(reading.ids[reading.prompt :]) == told
    assert reading.ids[: reading.prompt] == cria.engine.prompt(reply.request).ids
    assert [span.role for span in reading.spans] == ["user"]
    assert reading.title == "reply in chat one"
    assert find_reading(cria, what="attention") == reading
    assert find_reading(cria, chat="one", what="attention") == reading
    assert find_reading(cria, cria.chats["one"], what="attention") == reading


def test_what_cannot_be_read_is_said(cria):
    with pytest.raises(MessageError, match="no text"):
        find_reading(cria, "  ", what="lens")
    with pytest.raises(MessageError, match="not at 5"):
        find_reading(cria, 5, what="lens")
    with pytest.raises(MessageError, match="a text or reply, and a chat"):
        find_reading(cria, "text", chat="one", what="lens")
    with pytest.raises(MessageError, match="empty"):
        find_reading(cria, chat="nothing", what="lens")
    with pytest.raises(ContextOverflow, match=r"tokens; the context of read is 1,024"):
        find_reading(cria, "word " * 5000, what="lens")


def test_an_engine_elsewhere_has_nothing_to_look_at():
    with pytest.raises(UnsupportedError, match="attention needs the weights of fake"):
        find_reading(fake_model(FakeEngine()), "text", what="attention")
