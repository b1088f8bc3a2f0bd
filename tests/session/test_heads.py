"""Model.heads: what is read where no text is given, how far it is, and how it is stopped."""

import pytest

import llama_nb as llama
from llama_nb.core.errors import Stopped
from llama_nb.core.events import Progress, subscribe
from llama_nb.core.stop import StopFlag
from llama_nb.session import heads
from tests.models import write_random_llama


@pytest.fixture(scope="module")
def stories(stories260k):
    model = llama.load(str(stories260k), name="stories")
    yield model
    model.unload(force=True)


def test_random_tokens_come_twice_behind_the_beginning_of_every_text(stories):
    readings = heads.random_readings(stories, StopFlag())
    assert len({reading.ids for reading in readings}) == heads.SEQUENCES
    for reading in readings:
        first, copies = reading.ids[0], reading.ids[1:]
        assert stories.engine.is_special(first)
        assert copies[: heads.COPY] == copies[heads.COPY :]
        assert not any(map(stories.engine.is_special, copies))
        assert reading.special == (True, *(False for _ in copies))
    assert readings == heads.random_readings(stories, StopFlag()), "the same ones every time"


def test_a_short_context_has_shorter_copies(tmp_path, stories260k):
    folder = write_random_llama(tmp_path / "short", tokenizer_from=stories260k, context=33)
    model = llama.load(str(folder), name="short")
    try:
        assert {len(reading) for reading in heads.random_readings(model, StopFlag())} == {33}
        assert model.heads("previous").scores["previous"].shape == (2, 4)
    finally:
        model.unload(force=True)


def test_it_says_how_far_it_is_on_a_long_text_only(stories, monkeypatch):
    monkeypatch.setattr(heads, "_LONG", 410)  # the random tokens are 404 in all
    seen = []
    end = subscribe(lambda event: seen.append(event) if isinstance(event, Progress) else None)
    try:
        assert stories.heads().tokens < 410
        assert not seen
        assert stories.heads(text="Once upon a time. " * 90).tokens >= 410
    finally:
        end()
    told = [event for event in seen if event.what == "the scores of the heads"]
    assert [event.done for event in told] == list(range(1, len(told) + 1))
    assert told[-1].ended


@pytest.mark.parametrize("text", [None, "Once upon a time"])
def test_it_can_be_stopped(stories, text):
    flag = StopFlag()
    flag.set("enough")
    with pytest.raises(Stopped):
        stories.heads(text=text, stop=flag)
    assert stories.heads(text=text).tokens > 3, "and asked again"
