"""A reply as a value: its record, its representations, and that it is not shown twice in a cell."""

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from llama_nb.core.errors import LlamaError
from llama_nb.core.sampling import Sampling
from llama_nb.session.reply import MIME, Reply, content_id
from tests.session.fakes import fake_model


def test_the_record_is_the_reply_as_json() -> None:
    m = fake_model()
    m.chat("before")
    reply = m.chat("hello", system="s", seed=5, temperature=1, stop=["x"])
    record = json.loads(json.dumps(reply.to_record()))
    assert record == {
        "schema": 1,
        "id": reply.id,
        "parent": reply.parent,
        "chat": "main",
        "kind": "chat",
        "system": "s",
        "user": "hello",
        "text": "You said: hello (4)",
        "tokens": [[n, text, -0.5, 0.25] for n, text in enumerate(["You", " said:", " hello", " (4)"])],
        "sampling": {**Sampling(temperature=1, max_tokens=250, seed=5).to_record(), "stop": ["x"]},
        "seed": 5,
        "model": {"name": "fake", "fingerprint": "f" * 16},
        "usage": {
            "prompt": 13,
            "cached": 0,
            "completion": 4,
            "first_token_s": 0.01,
            "total_s": record["usage"]["total_s"],
        },
        "finish": "end",
        "detail": "",
        "notes": [],
    }
    assert record["parent"] == m.chats["main"].path()[1].id


def test_ids_are_twelve_digits_of_the_content() -> None:
    assert content_id(None, "a") == content_id(None, "a")
    assert content_id("a", "b") != content_id("ab", "")
    assert len(content_id("x")) == 12
    record = fake_model().complete("a b").to_record()
    assert (record["kind"], record["user"], record["chat"], record["parent"]) == (
        "complete",
        "a b",
        None,
        None,
    )


def test_text_and_repr_are_stable() -> None:
    reply = fake_model().chat("word " * 40)
    assert str(reply) == reply.text
    assert repr(reply) == f"Reply({reply.text[:59] + '…'!r}, finish='end', tokens=43)"
    pending = Reply(kind="chat", model_name="m", fingerprint="f", sampling=Sampling(), user="u")
    assert repr(pending) == "Reply('', finish='running', tokens=0)"
    assert (pending.done, pending.usage, pending.seed, pending.to_record()["finish"]) == (
        False,
        None,
        None,
        "running",
    )


def test_a_reply_made_by_hand_cannot_be_rerun() -> None:
    with pytest.raises(LlamaError):
        Reply(kind="chat", model_name="m", fingerprint="f", sampling=Sampling(), user="u").rerun()


def test_callbacks_come_once_also_when_late() -> None:
    reply = fake_model().chat("x")
    calls: list[Reply] = []
    reply.add_done_callback(calls.append)
    assert calls == [reply]
    reply.stop()
    assert reply.finish is not None
    assert reply.finish.reason == "end"


def test_a_reply_that_was_shown_in_this_cell_is_not_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SimpleNamespace(execution_count=3)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    reply = fake_model().chat("x")
    assert reply._ipython_display_ is None
    reply.displayed = True
    hook = reply._ipython_display_
    assert isinstance(hook, Callable)  # type: ignore[arg-type]
    hook()
    assert not reply.displayed
    assert reply._ipython_display_ is None
    reply.displayed = True
    shell.execution_count = 4  # the next cell shows it
    assert not reply.displayed
    assert reply._ipython_display_ is None


def test_outside_of_ipython_nothing_counts_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    reply = fake_model().chat("x")
    reply.displayed = True
    assert not reply.displayed


def test_ipython_shows_a_reply_once() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    try:
        reply = fake_model().chat("x")
        reply.displayed = True
        assert shell.display_formatter.format(reply) == ({}, {})
        assert reply.displayed is False
    finally:
        InteractiveShell.clear_instance()


def test_what_a_notebook_shows_of_values() -> None:
    m = fake_model()
    reply = m.chat("**hi**")
    data = reply._repr_mimebundle_()
    assert {"text/plain", "text/html", MIME} <= set(data)
    assert data[MIME]["id"] == reply.id
    assert "fake" in data["text/html"]
    assert "tokens" in m.prompt("x")._repr_mimebundle_()["text/plain"]
    assert "t0" in m.tokens("a b")._repr_mimebundle_()["text/html"]
