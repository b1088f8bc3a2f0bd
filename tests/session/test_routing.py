"""Model.routing and Model.watch_routing: what is read, what is refused, what stays as it is."""

import gc
import itertools
import math
import tempfile
import threading

import numpy as np
import pandas as pd
import pytest

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
from llama_nb.interpret import pieces, routing_corpus
from llama_nb.interpret.routing import RoutingTrace
from llama_nb.interpret.routing_capture import capture_routing
from llama_nb.session import reading_progress, routing
from tests.models import write_random_mixture
from tests.session.fakes import FakeEngine, fake_model

TEXT = "Once upon a time, there was a little girl named Lily."
TEXTS = [TEXT, "Hello", "The cat sat on the mat. " * 4, "2 + 2 = 4", "A token."]


@pytest.fixture(scope="module", params=["llama4_text", "qwen3_moe"])
def mixture(request, tmp_path_factory, stories260k):
    folder = tmp_path_factory.mktemp("mixtures") / request.param
    write_random_mixture(folder, request.param, tokenizer_from=stories260k, initializer_range=0.3)
    model = llama.load(str(folder), name=request.param)
    yield model
    model.unload(force=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The temporary folder of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def direct(model, ids):
    return capture_routing(model.loaded.module, list(ids))


def alike(trace, model, ids, start=0):
    """Whether a part of a trace is what the module itself gives for `ids`."""
    found, rows = direct(model, ids).routes, trace.rows(start, start + len(ids))
    np.testing.assert_allclose(rows.logits, found.logits, atol=2e-5)
    np.testing.assert_allclose(rows.weights, found.weights, atol=2e-5)
    np.testing.assert_allclose(rows.entropy, found.entropy, atol=2e-5)
    assert (rows.chosen == found.chosen).all()


def test_the_routing_of_a_text(mixture):
    trace = mixture.routing(TEXT)
    alike(trace, mixture, trace.ids)
    np.testing.assert_allclose(trace.mass[0], direct(mixture, trace.ids).mass, atol=1e-4)
    assert "".join(trace.texts()).endswith(TEXT)
    assert (trace.model, trace.fingerprint, trace.title) == (mixture.name, mixture.fingerprint, "text")
    assert (trace.prompt, bool(trace.special[0]), trace.off) == (trace.length, True, "")
    assert (trace.starts.tolist(), trace.labels, trace.domains) == ([0, trace.length], (), ())
    assert trace.layers == ((1, 3) if mixture.name == "llama4_text" else (0, 1, 2, 3))
    assert trace.shared == (mixture.name == "llama4_text")


def test_the_routing_of_a_reply_has_its_prompt(mixture):
    reply = mixture.complete(TEXT, max_tokens=12, temperature=0)
    trace = mixture.routing(reply)
    assert trace.ids[trace.prompt :].tolist() == [token.id for token in reply.tokens]
    assert trace.length > trace.prompt
    alike(trace, mixture, trace.ids)


def test_a_corpus_is_one_trace_in_the_order_of_its_texts(mixture, folder, monkeypatch):
    monkeypatch.setattr(routing_corpus, "_WINDOW", 40)
    trace = mixture.routing(TEXTS)
    assert (trace.title, len(trace.starts)) == ("5 texts", 6)
    parts = list(itertools.pairwise(trace.starts.tolist()))
    for text, (start, stop) in zip(TEXTS, parts, strict=True):
        ids = mixture.routing(text).ids
        assert np.array_equal(trace.ids[start:stop], ids)
        alike(trace, mixture, ids.tolist(), start)
        assert trace.special[start:stop].tolist() == [True] + [False] * (stop - start - 1)
    total = sum(direct(mixture, trace.ids[start:stop]).mass for start, stop in parts)
    np.testing.assert_allclose(trace.mass, total[None], atol=1e-4)
    del trace
    gc.collect()
    assert not list(folder.iterdir())


def test_a_table_has_labels(mixture):
    table = pd.DataFrame({"text": TEXTS, "domain": ["story", None, "story", 2.0, math.nan]})
    trace = mixture.routing(table)
    assert trace.domains == ("story", "2")
    assert trace.labels == ("story", "", "story", "2", "")
    assert trace.mass.shape == (3, len(trace.layers), trace.experts)
    tokens = [int((trace.label_of() == place).sum()) for place in (0, 1, -1)]
    np.testing.assert_allclose(trace.mass.sum(axis=2), np.array(tokens)[:, None].repeat(len(trace.layers), 1))
    named = mixture.routing(table.rename(columns={"text": "a", "domain": "b"}), column="a", label="b")
    assert np.array_equal(named.chosen, trace.chosen)
    assert named.labels == trace.labels
    alone = mixture.routing(pd.DataFrame({"question": TEXTS}))
    assert alone.labels == mixture.routing(table["text"]).labels == ()
    assert np.array_equal(alone.chosen, trace.chosen)


def test_it_can_be_kept_in_a_file(mixture, tmp_path, folder):
    for given, name in ((TEXT, "text"), (TEXTS, "corpus")):
        path = tmp_path / f"{name}.safetensors"
        trace = mixture.routing(given, path=path)
        assert np.array_equal(RoutingTrace.load(path).chosen, trace.chosen)
        with pytest.raises(TraceError, match=r"a file .* already"):
            mixture.routing(given, path=path)
    assert len(list(folder.iterdir())) == 2


def test_logits_are_kept_where_they_are_small(mixture, monkeypatch):
    assert mixture.routing(TEXTS).logits is not None
    assert mixture.routing(TEXT, keep_logits=False).logits is None
    monkeypatch.setattr(routing, "_LOGITS", 400)
    assert mixture.routing(TEXT).logits is None
    assert mixture.routing(TEXTS).logits is None
    assert mixture.routing(TEXTS, keep_logits=True).logits is not None


@pytest.mark.parametrize(
    ("given", "how", "error", "said"),
    [
        ("  ", {}, MessageError, "no text"),
        ([], {}, MessageError, "no texts"),
        ((), {}, MessageError, "no texts"),
        ([TEXT, 5], {}, MessageError, "Text 1 is a int, not text"),
        ([TEXT, " "], {}, MessageError, "Text 1 is empty"),
        ([TEXT, "\ud800"], {}, MessageError, "Text 1"),
        (["a", "word " * 400], {}, ContextOverflow, r"Text 1 has [\d,]+ tokens; the context of .* is 256"),
        ("word " * 400, {}, ContextOverflow, "the context of"),
        (pd.DataFrame(), {}, MessageError, "no rows"),
        (pd.DataFrame({"text": []}), {}, MessageError, "no rows"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), {}, MessageError, "no column 'text'.*: a, b"),
        (pd.DataFrame({"texts": ["x"]}), {"column": "text"}, MessageError, "Did you mean 'texts'"),
        (pd.DataFrame({"text": ["x"]}), {"label": "topic"}, MessageError, "label='topic': the table has no"),
        (pd.DataFrame({"text": ["x", None]}), {}, MessageError, "Text 1 is missing"),
        (pd.DataFrame({"text": ["x", math.nan]}), {}, MessageError, "Text 1 is missing"),
        (pd.DataFrame({"text": ["x"], "label": [None]}), {}, MessageError, "No text has a label"),
        (pd.DataFrame({"text": ["x"], "label": [["y"]]}), {}, MessageError, "label of text 0 is a list"),
        (pd.DataFrame({"text": ["x"], "label": ["y" * 300]}), {}, MessageError, "has 300 characters"),
        (
            pd.DataFrame({"text": ["x"] * 300, "label": range(300)}),
            {},
            MessageError,
            "300 different labels; 256 at most",
        ),
        (["a"], {"label": "b"}, MessageError, "there is no table"),
        ("a", {"column": "b"}, MessageError, "there is no table"),
        (["a"], {"chat": "main"}, MessageError, "there are texts, and a chat"),
        (5, {}, MessageError, "looks at a text"),
    ],
)
def test_what_cannot_be_read_is_said(mixture, folder, given, how, error, said):
    with pytest.raises(error, match=said):
        mixture.routing(given, **how)
    assert not list(folder.iterdir())


def test_a_model_without_experts(stories260k):
    model = llama.load(str(stories260k), name="dense")
    for ask in (model.routing, model.watch_routing):
        with pytest.raises(
            UnsupportedError, match="dense has no experts: every token goes through all of it"
        ) as said:
            ask("Once")
        assert "%llama load cria-moe" in said.value.hint
    model.unload()
    remote = fake_model(FakeEngine())
    for ask in (remote.routing, remote.watch_routing):
        with pytest.raises(UnsupportedError, match="routing needs the weights of fake in this kernel"):
            ask("Once")


def test_there_must_be_room(mixture, folder, monkeypatch):
    monkeypatch.setattr(routing, "available_memory", lambda _: 1000)
    with pytest.raises(FitError, match=r"1\.00 kB of memory are free"):
        mixture.routing(TEXT)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(FitError, match=r"1\.00 kB of disk are free"):
        mixture.routing(TEXTS)
    assert not list(folder.iterdir())


def test_it_says_how_far_it_is_and_can_be_stopped(mixture, folder, monkeypatch):
    monkeypatch.setattr(routing_corpus, "_WINDOW", 40)
    monkeypatch.setattr(reading_progress, "LONG", 20)
    came, events = [], []
    end = subscribe(lambda event: events.append(event) if isinstance(event, Progress) else None)
    try:
        trace = mixture.routing(TEXTS, on_progress=lambda *far: came.append(far))
    finally:
        end()
    assert came[-1] == (trace.length, trace.length)
    assert len(came) >= 3
    assert [event.done for event in events] == [0] + [done for done, _ in came] + [trace.length]
    assert [event.ended for event in events] == [False] * (1 + len(came)) + [True]
    flag = StopFlag()
    with pytest.raises(Stopped):
        mixture.routing(TEXTS, stop=flag, path=folder / "a", on_progress=lambda *_: flag.set("enough"))
    with pytest.raises(Stopped):
        mixture.routing(TEXTS, stop=flag)
    with pytest.raises(Stopped):
        mixture.routing(TEXT, stop=flag)
    del trace
    gc.collect()
    assert not list(folder.iterdir())
    assert not any(part._forward_hooks for part in mixture.loaded.module.modules())


def test_pieces_are_as_good_as_the_whole(mixture, monkeypatch):
    whole = mixture.routing(TEXTS)
    monkeypatch.setattr(pieces, "_MOST", 16)
    monkeypatch.setattr(pieces, "_LEAST", 16)
    in_pieces = mixture.routing(TEXTS)
    np.testing.assert_allclose(in_pieces.logits, whole.logits, atol=2e-5)
    assert (in_pieces.chosen == whole.chosen).mean() > 0.99


def test_what_is_changed_is_changed_in_the_trace(mixture):
    whole = mixture.routing(TEXT)
    layer, banned = whole.layers[0], int(whole.chosen[-1, 0, 0])
    with mixture.route(ban=[(layer, banned)]):
        trace = mixture.routing(TEXT)
        corpus = mixture.routing([TEXT, "Hello"])
    assert trace.off == corpus.off == f"L{layer} E{banned} forbidden"
    assert not (trace.chosen[:, 0] == banned).any()
    np.testing.assert_allclose(corpus.logits[: trace.length], trace.logits, atol=2e-5)
    np.testing.assert_allclose(trace.logits[:, 0], whole.logits[:, 0], atol=1e-6)
    assert (trace.margin[:, 0] < 0).any(), "who would have been chosen scores higher"
    with mixture.route(top_k=3):
        assert mixture.routing(TEXT).top_k == mixture.routing([TEXT]).top_k == 3
    assert np.array_equal(mixture.routing(TEXT).chosen, whole.chosen)


def test_a_part_at_its_mean_has_another_mean_in_every_text(mixture):
    with mixture.ablate(mlps=[0], mode="mean"):
        alone = [mixture.routing(text) for text in TEXTS]
        together = mixture.routing(TEXTS)
    np.testing.assert_allclose(together.logits, np.concatenate([each.logits for each in alone]), atol=2e-5)


def test_a_trace_outlives_its_model(tmp_path, stories260k):
    write_random_mixture(tmp_path / "m", "mixtral", tokenizer_from=stories260k)
    model = llama.load(str(tmp_path / "m"), name="short-lived")
    traces = [model.routing(TEXT), model.routing(TEXTS)]
    expected = [trace.chosen.copy() for trace in traces]
    model.unload()
    for trace, before in zip(traces, expected, strict=True):
        assert np.array_equal(trace.chosen, before)
        assert trace.sizes.total_parameters > trace.sizes.active_parameters


# --- while a reply is written ------------------------------------------------------------------------


def test_tokens_come_while_the_reply_is_written(mixture):
    seen = []

    def look(trace):
        seen.append((trace.length, trace.growing, len(trace.now().chosen), threading.current_thread()))

    reply, trace = mixture.watch_routing(TEXT, temperature=0, max_tokens=20, on_tokens=look)
    assert reply.text == mixture.complete(TEXT, temperature=0, max_tokens=20).text
    assert [length for length, *_ in seen] == list(range(trace.prompt, trace.length + 1))
    assert all(growing and rows == length for length, growing, rows, _ in seen)
    assert seen[0][3] is not threading.current_thread()
    whole = mixture.routing(reply)
    assert trace.length == whole.length - 1, "nothing was written behind the last token"
    np.testing.assert_allclose(trace.logits, whole.logits[:-1], atol=2e-5)
    assert trace.ids.tolist() == whole.ids[:-1].tolist()
    assert (trace.prompt, trace.title, trace.growing) == (whole.prompt, whole.title, False)
    assert not any(part._forward_hooks for part in mixture.loaded.module.modules())


def test_an_error_of_the_viewer_is_raised_when_the_reply_is_done(mixture):
    calls = []

    def look(trace):
        calls.append(trace.length)
        raise ZeroDivisionError("the viewer's own")

    with pytest.raises(ZeroDivisionError):
        mixture.watch_routing(TEXT, temperature=0, max_tokens=5, on_tokens=look)
    assert len(calls) == 1
    assert mixture.last.finish.reason in ("length", "end")


def test_it_is_stopped_with_what_is_there(mixture):
    reply, trace = mixture.watch_routing(
        TEXT,
        temperature=0,
        max_tokens=100,
        on_tokens=lambda trace: mixture.stop() if trace.length >= trace.prompt + 3 else None,
    )
    assert reply.finish.reason == "stopped"
    assert trace.length >= trace.prompt + 3
    assert not trace.growing


def test_what_is_changed_is_changed_while_it_is_watched(mixture):
    with mixture.route(top_k=3):
        reply, trace = mixture.watch_routing(TEXT, temperature=0, max_tokens=6)
        whole = mixture.routing(reply)
    assert trace.off == whole.off
    assert trace.top_k == 3
    np.testing.assert_allclose(trace.weights, whole.weights[:-1], atol=2e-5)
