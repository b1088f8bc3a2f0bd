"""Loading, replacing, using and unloading models by name, on real weights."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import llama_nb as llama
from llama_nb.core import events
from llama_nb.core.errors import LlamaError, LoadError, ModelBusy, ModelGone
from llama_nb.session import registry


@pytest.fixture(autouse=True)
def _nothing_loaded() -> Iterator[None]:
    yield
    for name in llama.loaded():
        llama.unload(name, force=True)


@pytest.fixture
def notes() -> Iterator[list[str]]:
    texts: list[str] = []
    unsubscribe = events.subscribe(lambda e: texts.append(e.text) if isinstance(e, events.Note) else None)
    yield texts
    unsubscribe()


def test_without_a_model_the_next_command_is_named() -> None:
    with pytest.raises(LlamaError, match="%llama load cria"):
        llama.current()
    with pytest.raises(LlamaError, match="%llama load cria"):
        llama.unload()
    with pytest.raises(LlamaError, match="Nothing is loaded: %llama load x"):
        llama.use("x")


def test_load_use_unload(stories260k: Path) -> None:
    a = llama.load(stories260k, name="first")
    b = llama.load(str(stories260k), name="second")
    assert llama.current() is b
    assert llama.use("first") is a
    assert llama.loaded() == {"first": a, "second": b}
    assert repr(a) == "first: Llama with 260 k parameters, float32 on cpu, 1.0 MB, context 512, no adapters"
    with pytest.raises(LlamaError, match="Did you mean 'second'"):
        llama.use("secnd")
    freed = llama.unload()
    assert freed >= a.parameters * 4
    assert llama.current() is b
    with pytest.raises(ModelGone, match="unloaded"):
        a.complete("x")
    b.unload()
    assert llama.loaded() == {}


def test_the_default_name_is_the_folders(stories260k: Path) -> None:
    assert llama.load(stories260k).name == stories260k.name


def test_loading_under_a_name_that_exists_replaces_it(stories260k: Path, notes: list[str]) -> None:
    old = llama.load(stories260k, name="m")
    new = llama.load(stories260k, name="m")
    assert llama.loaded() == {"m": new}
    assert not old.alive
    assert any("m was loaded before: replaced, 1.0 MB given back" in note for note in notes)


def test_a_load_that_is_refused_leaves_what_was_loaded(stories260k: Path, tmp_path: Path) -> None:
    old = llama.load(stories260k, name="m")
    for bad in ("./nope", tmp_path, "", "../../etc"):
        with pytest.raises(LoadError):
            llama.load(bad, name="m")
    with pytest.raises(LoadError):
        llama.load(stories260k, name="m", dtype="fp17")
    assert llama.current() is old
    assert old.complete("Once", max_tokens=2).text


def test_what_is_in_use_is_not_replaced_without_force(stories260k: Path) -> None:
    old = llama.load(stories260k, name="m")
    reply = old.complete("Once upon a time", max_tokens=400, temperature=1, background=True)
    with pytest.raises(ModelBusy, match="m is in use: a request runs"):
        llama.load(stories260k, name="m")
    with pytest.raises(ModelBusy):
        llama.unload("m")
    new = llama.load(stories260k, name="m", force=True)
    assert reply.done
    assert reply.finish is not None
    assert reply.finish.reason in ("stopped", "length", "end", "context")
    assert llama.current() is new


def test_stop_all_counts_what_it_stopped(stories260k: Path) -> None:
    m = llama.load(stories260k)
    assert registry.stop_all() == 0
    replies = [m.complete("Once", max_tokens=400, temperature=1, background=True) for _ in range(3)]
    assert registry.stop_all() == 3
    for reply in replies:
        reply.join(10)
        assert reply.done


def test_the_interpreter_ends_at_once_while_a_reply_grows(stories260k: Path) -> None:
    code = (
        "import sys, llama_nb as llama\n"
        f"m = llama.load({str(stories260k)!r})\n"
        "r = m.complete('Once upon a time', max_tokens=450, temperature=1, background=True)\n"
        "while not r.tokens: pass\n"
        "print('ends', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ends\n"
    began = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert errors == ""
    assert time.monotonic() - began < 8
