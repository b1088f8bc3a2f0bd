"""What can be wrong with a recording, what its user is told, and that nothing is changed by it."""

import json
from pathlib import Path

import pytest

import llama_nb as llama
from llama_nb.core.errors import LlamaError
from llama_nb.engines.recorded import read_recording
from llama_nb.runtime.secrets import redact
from llama_nb.session import registry
from llama_nb.session.replay import VARIABLE
from tests.hostile.corpus import Case, cases
from tests.session.fakes import FakeEngine, fake_model

FILE = "lesson.replies.jsonl"


@pytest.fixture(autouse=True)
def lesson(tmp_path, monkeypatch):
    """A folder with one recording, whose model is called "fake" and answered two questions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    model = fake_model()
    with llama.record(FILE):
        model.chat("What is a token?", temperature=0)
        model.chat("And what is a layer?", temperature=0)
    yield tmp_path / FILE
    for model in registry.loaded().values():
        model.unload(force=True)


def lines(path):
    return path.read_bytes().splitlines(keepends=True)


FILES = [
    ("missing", lambda path: path.unlink(), ["no file", FILE, "--replay FILE"]),
    ("a folder", lambda path: (path.unlink(), path.mkdir()), ["no file", FILE]),
    ("empty", lambda path: path.write_bytes(b""), ["holds no recorded replies", "%llama record"]),
    ("a page", lambda path: path.write_text("<!doctype html>\n<p>Log in"), ["holds no recorded replies"]),
    ("binary", lambda path: path.write_bytes(bytes(range(256)) * 99), ["holds no recorded replies"]),
    ("a notebook", lambda path: path.write_text('{"cells": []}'), ["holds no recorded replies"]),
    (
        "another model's",
        lambda path: path.write_bytes(path.read_bytes().replace(b'"source":"fake"', b'"source":"big/model"')),
        ["big/model", "none of 'fake'", "%llama load big/model --replay"],
    ),
    (
        "a later version's",
        lambda path: path.write_bytes(path.read_bytes().replace(b'"recording":1', b'"recording":9')),
        ["later version", "format 9", "pip install --upgrade"],
    ),
    ("without its model", lambda path: path.write_bytes(b"".join(lines(path)[1:])), ["holds no recorded"]),
]


@pytest.mark.parametrize(("name", "spoil", "says"), FILES, ids=[row[0] for row in FILES])
def test_a_file_that_is_no_recording_of_this_model(lesson, name, spoil, says):
    spoil(lesson)
    before = lesson.read_bytes() if lesson.is_file() else None
    with pytest.raises(LlamaError) as refused:
        llama.load("fake", replay=FILE)
    for part in says:
        assert part in str(refused.value), name
    assert registry.loaded() == {}
    assert before is None or lesson.read_bytes() == before


CUT = [
    ("the last line, in the middle", lambda found: [*found[:-1], found[-1][:-60]]),
    ("the last line, before its end", lambda found: [*found[:-1], found[-1].rstrip(b"\n")[:-1]]),
    ("a line in the middle", lambda found: [*found[:-2], found[-2][:40] + b"\n", found[-1]]),
]


@pytest.mark.parametrize(("name", "cut"), CUT, ids=[row[0] for row in CUT])
def test_a_line_that_is_cut_leaves_the_others(lesson, name, cut):
    lesson.write_bytes(b"".join(cut(lines(lesson))))
    assert len(read_recording(lesson).skipped) == 1, name
    played = llama.load("fake", replay=FILE)
    assert played.chat("What is a token?", temperature=0).text == "You said: What is a token? (1)"
    if "last" in name:
        with pytest.raises(LlamaError, match=r"not recorded"):
            played.chat("And what is a layer?", temperature=0)


ASKED = [
    (
        ["What is a tokn?"],
        {"temperature": 0},
        ["the message was 'What is a token?', and is 'What is a tokn?' now"],
    ),
    (["What is a token?"], {}, ["temperature was 0, and is 0.6 now"]),
    (["What is a token?"], {"temperature": 0, "seed": 1}, ["seed was not set, and is 1 now"]),
    (["What is a token?"], {"temperature": 0, "system": "Be brief."}, ["message 1", "system"]),
    (
        ["What is a token?", "And a head?"],
        {"temperature": 0},
        ["message 3 of 3", "And what is a layer?", "And a head?"],
    ),
    (["And what is a layer?"], {"temperature": 0}, ["'What is a token?'", "'And what is a layer?'"]),
]


@pytest.mark.parametrize(("messages", "options", "says"), ASKED, ids=range(len(ASKED)))
def test_a_notebook_that_was_edited(messages, options, says):
    played = llama.load("fake", replay=FILE)
    for message in messages[:-1]:
        played.chat(message, **options)
    before = played.chats.open("main").messages()
    with pytest.raises(LlamaError) as refused:
        played.chat(messages[-1], **options)
    for part in says:
        assert part in str(refused.value)
    assert f"%llama record {FILE}" in refused.value.hint
    assert played.chats["main"].messages() == before
    assert played.active == ()


# Without what looks like a key, which is left out, and two halves that JSON reads as one character.
HOSTILE = [
    case
    for case in (*cases("http://127.0.0.1:9"), Case("half", "a\ud800b"))
    if redact(case.text) == case.text and "\ud800\udfff" not in case.text
]


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_hostile_text_comes_back_as_the_text_that_it_is(case):
    model = fake_model(FakeEngine(rule=lambda _: [case.text]))
    with llama.record("hostile.jsonl"):
        said = model.chat("go on")
    played = llama.load("fake", replay="hostile.jsonl").chat("go on")
    assert played.text == said.text
    assert played._repr_mimebundle_() == said._repr_mimebundle_()


def test_a_recording_runs_nothing(lesson, monkeypatch):
    """Names in the file that mean something in Python are data like all others."""
    evil = [json.loads(line) for line in lines(lesson)]
    evil[2]["error"] = {"kind": "SystemExit", "message": "now"}
    evil[2]["tokens"] = []
    evil[2]["finish"] = None
    lesson.write_text("".join(f"{json.dumps(line)}\n" for line in evil))
    monkeypatch.setattr("builtins.eval", lambda *_: pytest.fail("evaluated"))
    monkeypatch.setattr("builtins.exec", lambda *_: pytest.fail("executed"))
    played = llama.load("fake", replay=FILE)
    with pytest.raises(LlamaError, match="now"):
        played.chat("What is a token?", temperature=0)
    assert sorted(path.name for path in Path.cwd().iterdir()) == [FILE]
