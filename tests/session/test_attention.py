"""Model.attention and Model.watch_attention: what is read, what is refused, what stays as it is."""

import threading

import numpy as np
import pytest
import torch

import llama_nb as llama
from llama_nb.core.errors import (
    ContextOverflow,
    FitError,
    MessageError,
    Stopped,
    TraceError,
    UnsupportedError,
)
from llama_nb.core.events import Progress, subscribe
from llama_nb.core.stop import StopFlag
from llama_nb.interpret.attention import AttentionTrace
from tests.interpret.attention_models import eager_attention
from tests.session.fakes import FakeEngine, fake_model

TEXT = "Once upon a time, there was a little girl named Lily."


@pytest.fixture(scope="module")
def cria():
    model = llama.load("cria", name="attended")
    yield model
    model.unload(force=True)


@pytest.fixture
def progress():
    came: list[Progress] = []
    end = subscribe(lambda event: came.append(event) if isinstance(event, Progress) else None)
    yield came
    end()


def all_rows(trace) -> np.ndarray:
    rows = [trace.rows(layer, range(trace.heads), 0, trace.length) for layer in trace.layers]
    return np.stack(rows)


def of_eager(model, ids) -> np.ndarray:
    found = eager_attention(model.loaded.module, input_ids=torch.tensor([list(ids)]))
    return np.stack([layer[0] for layer in found])


def test_the_attention_of_a_text(cria):
    trace = cria.attention(TEXT)
    assert np.abs(all_rows(trace) - of_eager(cria, trace.ids)).max() <= 1e-5
    assert "".join(trace.texts).endswith(TEXT)
    assert (trace.model, trace.fingerprint, trace.title) == ("attended", cria.fingerprint, "text")
    assert (trace.prompt, trace.special[0], trace.off) == (trace.length, True, "")
    assert cria.loaded.module.config._attn_implementation == "sdpa"


def test_the_attention_of_a_reply_has_its_prompt(cria):
    reply = cria.chat("What is a token?", chat="one", temperature=0, max_tokens=12)
    trace = cria.attention(reply)
    assert list(trace.ids[trace.prompt :]) == [token.id for token in reply.tokens]
    assert trace.title == "reply in chat one"
    assert cria.attention().ids == trace.ids == cria.attention(chat="one").ids
    assert np.abs(all_rows(trace) - of_eager(cria, trace.ids)).max() <= 1e-5


def test_a_list_of_texts_gives_a_trace_each(cria):
    texts = ["The cat sat on the mat.", "Hello", TEXT]
    for trace, text in zip(cria.attention(texts), texts, strict=True):
        assert np.abs(all_rows(trace) - all_rows(cria.attention(text))).max() <= 1e-5
    with pytest.raises(MessageError, match="no texts"):
        cria.attention([])
    with pytest.raises(MessageError, match=r"texts\[1\] is a int"):
        cria.attention(["a", 5])


def test_layers_and_files(cria, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    some = cria.attention(TEXT, layers=[1, 4], offload=True)
    assert some.layers == (1, 4)
    assert np.array_equal(all_rows(some), all_rows(cria.attention(TEXT))[[1, 4]])
    with pytest.raises(TraceError, match="no layer 6: the model has 6"):
        cria.attention(TEXT, layers=[6])


def test_what_cannot_be_read_is_said(cria):
    with pytest.raises(MessageError, match="no text"):
        cria.attention("  ")
    with pytest.raises(ContextOverflow, match=r"the context of attended is 1,024"):
        cria.attention("word " * 3000)
    remote = fake_model(FakeEngine())
    with pytest.raises(UnsupportedError, match="attention needs the weights of fake in this kernel"):
        remote.attention("text")
    with pytest.raises(UnsupportedError, match="attention needs the weights"):
        remote.watch_attention("text")


def test_too_large_is_refused_with_what_would_help(cria, monkeypatch):
    monkeypatch.setattr("llama_nb.session.attention.available_memory", lambda _: 100_000)
    with pytest.raises(FitError) as refused:
        cria.attention(TEXT)
    assert "tokens on 6 layers are" in refused.value.message
    assert "100 kB of memory are free" in refused.value.message
    assert "fewer layers" in refused.value.hint
    assert "offload=True" in refused.value.hint
    assert cria.attention("a", layers=[0]).length < 5
    monkeypatch.setattr("llama_nb.session.attention._free_disk", lambda: 1000)
    with pytest.raises(FitError, match="in the temporary folder"):
        cria.attention(TEXT, offload=True)
    assert cria.loaded.module.config._attn_implementation == "sdpa"


def test_it_can_be_stopped_and_says_how_far_it_is(cria, progress):
    long = "word " * 600
    cria.attention(long)
    assert [event.done / event.total for event in progress] == pytest.approx(
        [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1], abs=0.01
    )
    assert [event.ended for event in progress] == [False] * 7 + [True]
    flag = StopFlag()
    flag.set("enough")
    with pytest.raises(Stopped):
        cria.attention(long, stop=flag)
    progress.clear()
    flag = StopFlag()
    end = subscribe(lambda event: flag.set("enough"))
    try:
        with pytest.raises(Stopped):
            cria.attention(long, stop=flag)
    finally:
        end()
    assert progress[-1].ended, "a line of progress is not left open"
    assert len(progress) < 6
    assert cria.attention(TEXT).length


def test_replies_and_caches_are_the_same_after(cria):
    first = cria.chat("What is a token?", chat="before", temperature=0, max_tokens=8)
    key = cria.chats["before"].cache_key
    ids = (*cria.engine.prompt(first.request).ids, *(token.id for token in first.tokens))
    held = cria.engine.cached_tokens(key, ids)
    cria.attention(first)
    cria.attention(TEXT, layers=[2])
    assert cria.engine.cached_tokens(key, ids) == held > 0
    again = cria.chat("What is a token?", chat="after", temperature=0, max_tokens=8)
    assert again.text == first.text


def test_what_is_turned_off_is_off_in_the_trace(cria):
    whole = cria.attention(TEXT)
    with cria.ablate(layers=[1]):
        without = cria.attention(TEXT)
        both = cria.attention([TEXT, "Hello"])
    assert without.off == "L1 off"
    same = [np.allclose(a, b, atol=1e-5) for a, b in zip(all_rows(whole), all_rows(without), strict=True)]
    assert same == [True, True, False, False, False, False]
    assert np.abs(all_rows(both[0]) - all_rows(without)).max() <= 1e-5
    assert np.array_equal(all_rows(cria.attention(TEXT)), all_rows(whole))


def test_a_trace_outlives_its_model(stories260k):
    model = llama.load(str(stories260k), name="short-lived")
    trace = model.attention(TEXT)
    expected = all_rows(trace)
    model.unload()
    assert np.array_equal(all_rows(trace), expected)
    assert trace.top(-1, 1)


# --- while a reply is written ------------------------------------------------------------------------


def test_rows_come_while_the_reply_is_written(cria):
    seen = []

    def look(trace) -> None:
        seen.append((trace.length, trace.growing, trace.row(2, 1, -1).sum(), threading.current_thread()))

    reply, trace = cria.watch_attention(
        "What is a token?", chat="live", temperature=0, max_tokens=20, on_rows=look
    )
    plain = cria.chat("What is a token?", chat="not live", temperature=0, max_tokens=20)
    assert reply.text == plain.text
    assert [length for length, *_ in seen] == list(range(trace.prompt, trace.length + 1))
    assert all(growing for _, growing, *_ in seen)
    assert all(total == pytest.approx(1, abs=1e-5) for _, _, total, _ in seen)
    assert seen[0][3] is not threading.current_thread()
    whole = cria.attention(reply)
    assert trace.length == whole.length - 1, "nothing was written behind the last token"
    cut = all_rows(whole)[:, :, : trace.length, : trace.length]
    assert np.abs(all_rows(trace) - cut).max() <= 1e-4
    assert (trace.ids, trace.texts) == (whole.ids[:-1], whole.texts[:-1])
    assert (trace.prompt, trace.title, trace.growing) == (whole.prompt, whole.title, False)
    assert cria.loaded.module.config._attn_implementation == "sdpa"


def test_the_chat_goes_on(cria):
    cria.chat("What is a token?", chat="talk", temperature=0, max_tokens=8)
    reply, trace = cria.watch_attention("Why?", chat="talk", temperature=0, max_tokens=8, layers=[3])
    assert trace.layers == (3,)
    assert trace.prompt == reply.prompt_tokens > 20
    assert [message.role for message in cria.chats["talk"].messages()] == ["user", "assistant"] * 2
    assert cria.last is reply


def test_a_base_model_goes_on_with_the_text(stories260k):
    model = llama.load(str(stories260k), name="stories live")
    reply, trace = model.watch_attention("Once upon a time", max_tokens=5, temperature=0)
    assert trace.length == trace.prompt + 4
    assert list(trace.ids[trace.prompt :]) == [token.id for token in reply.tokens][:-1]
    model.unload()


def test_an_error_of_the_viewer_is_raised_when_the_reply_is_done(cria):
    calls = []

    def look(trace: AttentionTrace) -> None:
        calls.append(trace.length)
        raise ZeroDivisionError("the viewer's own")

    with pytest.raises(ZeroDivisionError):
        cria.watch_attention("Hello", chat="bad viewer", temperature=0, max_tokens=5, on_rows=look)
    assert len(calls) == 1
    assert cria.chats["bad viewer"].messages()[-1].content == cria.last.text
    assert cria.last.finish.reason in ("length", "end")


def test_it_is_stopped_with_what_is_there(cria):
    reply, trace = cria.watch_attention(
        "Tell me a story.",
        chat="stopped",
        temperature=0,
        on_rows=lambda trace: cria.stop() if trace.length >= trace.prompt + 3 else None,
    )
    assert reply.finish.reason == "stopped"
    assert trace.length >= trace.prompt + 3
    assert not trace.growing
    cria.chat("Hello", chat="next", max_tokens=3)


def test_nothing_is_sent_when_it_cannot_be_watched(cria, monkeypatch):
    with pytest.raises(TraceError, match="no layer 9"):
        cria.watch_attention("Hello", chat="never", layers=[9])
    assert cria.chats.get("never") is None
    monkeypatch.setattr("llama_nb.session.attention.available_memory", lambda _: 1000)
    with pytest.raises(FitError):
        cria.watch_attention("Hello", chat="never")
    assert not cria.chats["never"].messages()
    assert cria.loaded.module.config._attn_implementation == "sdpa"


def test_what_is_turned_off_is_off_while_it_is_watched(cria):
    with cria.ablate(layers=[1]):
        reply, trace = cria.watch_attention("Hello", chat="off", temperature=0, max_tokens=6)
        whole = cria.attention(reply)
    assert trace.off == whole.off == "L1 off"
    assert np.abs(all_rows(trace) - all_rows(whole)[:, :, : trace.length, : trace.length]).max() <= 1e-4
