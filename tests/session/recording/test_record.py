"""How replies are recorded: whole lines, without keys, by one or by several kernels."""

import json
import multiprocessing
from pathlib import Path

import pytest

import llama_nb as llama
from llama_nb.core.errors import (
    EngineError,
    MessageError,
    RecordingError,
)
from llama_nb.engines.recorded import read_recording
from llama_nb.engines.recording import ModelFacts, RecordedReply
from tests.session.fakes import FakeEngine, fake_model
from tests.session.recording.played import counting, play, written

FACTS = ModelFacts("fake", "fake", "f" * 16, "llama", 1000, 1000, "float32", "cpu", 4000)


def test_one_file_at_a_time():
    running = llama.record("a.jsonl")
    assert llama.record("a.jsonl") is running
    with pytest.raises(RecordingError, match=r"recorded into a\.jsonl already"):
        llama.record("b.jsonl")
    running.stop()
    running.stop()
    assert not Path("a.jsonl").exists()  # nothing was asked


@pytest.mark.parametrize("content", ["# notes\n", '{"cells": []}', '{"schema": 1, "session": "x"}\n'])
def test_no_other_file_of_the_users_is_written_into(tmp_path, content):
    (tmp_path / "mine").write_text(content)
    with pytest.raises(RecordingError, match="holds something else"):
        llama.record("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("mine")
    for name in ("folder", "link"):
        with pytest.raises(RecordingError, match="no plain file"):
            llama.record(name)
    with pytest.raises(RecordingError, match="no folder 'gone'"):
        llama.record("gone/a.jsonl")
    assert (tmp_path / "mine").read_text() == content


def test_what_looks_like_a_key_is_not_recorded(monkeypatch, notes):
    monkeypatch.setenv("SOME_API_KEY", "correct-horse-battery")
    model = fake_model()
    with llama.record("a.jsonl") as running:
        model.chat("my token is hf_abcdefghijklmnop")
        model.chat("alone", chat="b", system="the password is correct-horse-battery")
        model.tokens("hf_abcdefghijklmnop")
        model.chat("fine", chat="c")
    assert (running.replies, running.left_out) == (1, 2)
    content = written()
    assert "hf_abc" not in content
    assert "horse" not in content
    assert sum("looks like a key" in note for note in notes) == 2
    assert "1 reply" in repr(running)


def test_a_key_that_only_the_whole_reply_shows_is_not_recorded():
    model = fake_model(FakeEngine(rule=lambda _: ["hf_abc", "defgh", "ijklmnop"]))
    with llama.record("a.jsonl") as running:
        model.chat("what is it?")
    assert running.left_out == 1
    assert "ijklmnop" not in written()


def test_a_file_that_cannot_be_written_costs_no_reply(monkeypatch, notes):
    def full(file, line):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llama_nb.session.record.append_line", full)
    model = fake_model()
    with llama.record("a.jsonl") as running:
        assert model.chat("hello").text.startswith("You said")
        model.chat("more")
    assert (running.replies, running.left_out) == (0, 2)
    assert [note for note in notes if "No space left" in note] == [
        "Replies cannot be recorded into a.jsonl: No space left on device."
    ]


def test_many_threads_record_whole_lines():
    models = [fake_model(counting(), name=f"m{number}") for number in range(4)]
    with llama.record("a.jsonl") as running:
        replies = [
            model.chat(f"question {n}", chat=f"c{n}", background=True) for model in models for n in range(10)
        ]
        for reply in replies:
            reply.wait()
    assert running.replies == 40
    found = read_recording(running.file)
    assert (found.replies, found.skipped, len(found.models)) == (40, [], 4)


def _write(path, number):
    with llama.record(path):
        model = fake_model(FakeEngine(rule=lambda _: [f"from {number}", " x" * 2000]))
        for place in range(20):
            model.chat([{"role": "user", "content": f"{number} {place}"}])


def test_two_kernels_write_one_file():
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=("a.jsonl", number)) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    found = read_recording(Path("a.jsonl").absolute())
    assert (found.replies, found.skipped) == (40, [])
    played = play()
    for number in range(2):
        assert played.chat([{"role": "user", "content": f"{number} 7"}]).text.startswith(f"from {number}")


def test_a_line_that_was_cut_costs_itself_only(notes):
    model = fake_model(counting())
    with llama.record("a.jsonl"):
        said = [model.chat([{"role": "user", "content": f"q{n}"}]).text for n in range(3)]
    content = Path("a.jsonl").read_bytes()
    Path("a.jsonl").write_bytes(content[:-40])
    played = play()
    assert any("1 line of the file could not be read" in note and "cut off" in note for note in notes)
    assert [played.chat([{"role": "user", "content": f"q{n}"}]).text for n in range(2)] == said[:2]
    with pytest.raises(RecordingError):
        played.chat([{"role": "user", "content": "q2"}])
    with llama.record("a.jsonl"):  # the next line begins on a line of its own
        new = model.chat([{"role": "user", "content": "q2"}]).text
    assert play().chat([{"role": "user", "content": "q2"}]).text == new


def test_a_reply_without_anything_is_none(tmp_path):
    running = llama.record("a.jsonl")
    running.reply(FACTS, llama_request("x"), RecordedReply((), None, None, frozenset()))
    assert running.replies == 0
    assert not (tmp_path / "a.jsonl").exists()


def llama_request(text):
    from llama_nb.core.request import Request

    return Request(text)


def test_lines_are_plain_json_and_hold_what_was_asked():
    model = fake_model()
    with llama.record("a.jsonl"):
        model.chat("what is <b>ü</b>?", temperature=0.3)
    lines = [json.loads(line) for line in written().splitlines()]
    assert [line["type"] for line in lines] == ["model", "answer", "reply"]
    assert lines[0]["facts"]["fingerprint"] == "f" * 16
    assert lines[2]["request"] == {"messages": [{"role": "user", "content": "what is <b>ü</b>?"}]}
    assert lines[2]["sampling"]["temperature"] == 0.3
    assert len({line["take"] for line in lines}) == 1


def test_a_batch_is_recorded_and_played_back():
    class Many(FakeEngine):
        def stream_many(self, requests, stop, *, batch_size=None):
            from llama_nb.core.events import Finish, TokenEvent, Usage
            from llama_nb.engines.base import RowEvent

            for row, request in enumerate(requests):
                if "bad" in request.input[-1].content:
                    error = EngineError("Logits are NaN.")
                    ended = Finish("error", Usage(1, 0, 0, None, 0.1), None, error.message)
                    yield RowEvent(row, TokenEvent("", finish=ended), error)
                    continue
                for event in self.stream(request, stop):
                    yield RowEvent(row, event)

    model = fake_model(Many())
    with llama.record("a.jsonl"):
        before = model.batch(["one", "bad", "three"])
    after = play().batch(["one", "bad", "three", "another"])
    assert after.rows[:3] == before.rows
    assert after.rows[1].error == "Logits are NaN."
    assert "was not recorded" in after.rows[3].error
    with pytest.raises(RecordingError, match="sent in another way, such as in a batch"):
        play().chat("one")


def test_an_empty_message_is_refused_as_ever():
    with llama.record("a.jsonl"):
        fake_model().chat("hello")
    with pytest.raises(MessageError):
        play().chat("")
