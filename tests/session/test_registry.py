"""Loading, replacing, using and unloading models by name, on real weights."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import llama_nb as llama
from llama_nb.core import events
from llama_nb.core.errors import LlamaError, LoadCancelled, LoadError, ModelBusy, ModelGone
from llama_nb.core.stop import StopFlag
from llama_nb.loading.turn import turn
from llama_nb.runtime import devices
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


@pytest.mark.parametrize(("long_s", "waits"), [(0.3, True), (60.0, False)])
def test_a_short_look_at_a_model_is_waited_for(stories260k: Path, long_s: float, waits: bool) -> None:
    m = llama.load(stories260k, name="m")
    begun, over = threading.Event(), threading.Event()

    def look(_module: object, _stopped: object) -> bool:
        begun.set()
        return over.wait(long_s)

    looking = threading.Thread(target=m.engine.examine, args=(look, "a look", StopFlag()), daemon=True)
    looking.start()
    assert begun.wait(10)
    if waits:
        assert llama.unload("m") > 0
    else:
        with pytest.raises(ModelBusy, match="m is in use: a request runs \\(a look\\)"):
            llama.unload("m")
    over.set()
    looking.join(10)


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


def test_a_read_that_fails_leaves_the_old_model_where_both_fit(
    stories260k: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = llama.load(stories260k, name="m")
    monkeypatch.setattr("llama_nb.loading.weights._read_module", _fails)
    with pytest.raises(LoadError, match="the disk is gone"):
        llama.load(stories260k, name="m")
    assert llama.current() is old
    assert old.complete("Once", max_tokens=2).text
    assert not any("replaced" in note for note in notes)


def test_an_old_model_that_had_to_go_first_is_named(
    stories260k: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = llama.load(stories260k, name="m")
    free = iter([500_000_000])
    monkeypatch.setattr(devices, "available_memory", lambda device="cpu": next(free, 1_000_000))
    monkeypatch.setattr("llama_nb.loading.weights._read_module", _fails)
    with pytest.raises(LoadError, match="the disk is gone"):
        llama.load(stories260k, name="m")
    assert not old.alive
    assert llama.loaded() == {}
    assert any("m had been given back to make room" in note and str(stories260k) in note for note in notes)


def _fails(*_: object) -> None:
    raise LoadError("The weights cannot be read: the disk is gone.")


def test_an_engine_that_does_not_open_leaves_nothing(
    stories260k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llama_nb.loading import weights

    freed: list[int] = []
    release = weights.release
    monkeypatch.setattr(weights, "release", lambda loaded: freed.append(release(loaded)))
    monkeypatch.setattr("llama_nb.engines.registry.open_engine", _fails)
    with pytest.raises(LoadError):
        llama.load(stories260k)
    assert freed[0] > 1_000_000
    assert llama.loaded() == {}


def test_a_load_that_waits_for_another_can_be_stopped(stories260k: Path) -> None:
    stop, ended = StopFlag(), []

    def load() -> None:
        with pytest.raises(LoadCancelled):
            registry.load(stories260k, stop=stop)
        ended.append(True)

    with turn(None, "another"):
        waiting = threading.Thread(target=load)
        waiting.start()
        stop.set()
        waiting.join(20)
    assert ended
    assert registry.load(stories260k, stop=StopFlag()).alive


@pytest.mark.parametrize("quant", ["nf4", "int8"])
def test_a_quantised_model_chats_stops_and_is_replaced(quant: str, notes: list[str]) -> None:
    model = llama.load("cria", quant=quant, context=512)
    assert (model.quant, model.quant_notes, model.context) == (quant, (), 512)
    assert f"{quant} on cpu" in repr(model)
    reply = model.chat("What is a llama?", max_tokens=24, temperature=0)
    assert len(reply.text) > 20
    longer = model.chat("word " * 200 + "And now?", max_tokens=4, temperature=0)  # a prefill in chunks
    assert longer.usage.cached_tokens > 0
    running = model.chat("Tell me more.", max_tokens=400, temperature=1, background=True)
    while not running.tokens and not running.done:
        time.sleep(0.01)
    running.stop()
    running.join(10)
    assert running.done
    plain = llama.load("cria")
    assert not model.alive
    assert any("cria was loaded before: replaced" in note for note in notes)
    assert plain.quant is None
