"""Replies are recorded as they end and played back as they were; what differs is refused by name."""

import json
import multiprocessing
import stat
import threading
from pathlib import Path

import pytest

import llama_nb as llama
from llama_nb.core.errors import (
    ContextOverflow,
    EngineError,
    LlamaError,
    LoadError,
    MessageError,
    RecordingError,
    UnsupportedError,
)
from llama_nb.core.events import Note, subscribe
from llama_nb.engines.recorded import read_recording
from llama_nb.engines.recording import ModelFacts, RecordedReply
from llama_nb.session import record as recording
from llama_nb.session import registry
from llama_nb.session.replay import VARIABLE
from tests.session.fakes import FakeEngine, fake_model

FACTS = ModelFacts("fake", "fake", "f" * 16, "llama", 1000, 1000, "float32", "cpu", 4000)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Each test records by itself, in a folder of its own, and leaves no model behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    yield
    if recording.recorder() is not None:
        recording.recorder().stop()
    for model in registry.loaded().values():
        model.unload(force=True)


@pytest.fixture
def notes():
    said = []
    end = subscribe(lambda event: said.append(event.text) if isinstance(event, Note) else None)
    yield said
    end()


def counting():
    """An engine whose replies are numbered, so that no two are alike."""
    numbers = iter(range(1000))
    return FakeEngine(rule=lambda request: ["number", f" {next(numbers)}"])


def play(file="a.jsonl", source="fake", **options):
    return llama.load(source, replay=file, **options)


def written():
    return Path("a.jsonl").read_text(encoding="utf-8")


def told(reply):
    """What can be seen of a reply."""
    return [reply.tokens, reply.finish, reply.special, reply.notes, reply.text, reply.id, reply.to_record()]


# --- what comes back ----------------------------------------------------------------------------------


def test_a_conversation_comes_back_as_it_was():
    model = fake_model(counting(), generation={"temperature": 0.7, "do_sample": True})

    def talk(model):
        model.chats.open("other").system = "Be brief."
        return [
            model.chat("hello <|eot_id|>"),
            model.chat("hello <|eot_id|>"),
            model.chat("hello", chat="other"),
            model.chat([{"role": "user", "content": "alone"}], temperature=0),
            model.complete("Once upon"),
            model.chat("hello", system="Be brief.", max_tokens=1),
        ]

    with llama.record("a.jsonl") as running:
        before = talk(model)
        assert running.running
        assert running.replies == 6
    assert not running.running
    model.chat("not recorded")
    after = talk(play())
    assert [told(reply) for reply in after] == [told(reply) for reply in before]
    assert stat.S_IMODE(Path("a.jsonl").stat().st_mode) == 0o600


def test_the_facts_of_the_model_come_back():
    model = fake_model(FakeEngine(context=500), generation={"temperature": 0.7})
    with llama.record("a.jsonl"):
        model.chat("hello")
    played = play()
    for name in (
        "name",
        "parameters",
        "dtype",
        "device",
        "quant",
        "context",
        "fingerprint",
        "sampling",
        "bytes",
    ):
        assert getattr(played, name) == getattr(model, name), name
    assert repr(played) == repr(model)
    assert (played.replayed, played.held) == ("a.jsonl", 0)
    assert model.replayed is None
    assert played.sampling.temperature == 0.7
    assert played.unload() == 4000
    with pytest.raises(LlamaError, match="unloaded"):
        played.chat("hello")


def test_the_nth_time_gives_the_nth_reply_then_the_last_one():
    model = fake_model(counting())
    ask = [{"role": "user", "content": "a number?"}]
    with llama.record("a.jsonl"):
        said = [model.chat(ask).text for _ in range(3)]
        hot = model.chat(ask, temperature=2).text
    assert len(set(said)) == 3
    played = play()
    assert [played.chat(ask).text for _ in range(2)] == said[:2]
    assert played.chat(ask, temperature=2).text == hot
    assert [played.chat(ask).text for _ in range(3)] == [said[2]] * 3
    assert play(name="again").chat(ask).text == said[0]


def test_the_newest_recording_of_a_question_counts():
    model = fake_model(counting())
    ask, other = ([{"role": "user", "content": text}] for text in ("one?", "two?"))
    with llama.record("a.jsonl"):
        model.chat(ask), model.chat(ask)
        kept = model.chat(other).text
    with llama.record("a.jsonl"):
        new = model.chat(ask).text
    played = play()
    assert [played.chat(ask).text for _ in range(2)] == [new, new]
    assert played.chat(other).text == kept


def test_a_reply_that_was_run_again_comes_back_with_its_seed():
    model = fake_model(counting())
    with llama.record("a.jsonl"):
        first = model.chat("hello")
        second = first.rerun(temperature=1.5)
    played = play().chat("hello")
    assert played.seed == 7
    assert told(played.rerun(temperature=1.5)) == told(second)


def test_a_stopped_reply_comes_back_stopped_and_a_stop_stops_what_is_played():
    model = fake_model(FakeEngine(pace_s=0.01, rule=lambda _: ["word"] * 400))
    with llama.record("a.jsonl"):
        reply = model.chat("go on", background=True)
        while len(reply.tokens) < 3:
            threading.Event().wait(0.01)
        reply.stop("enough")
        reply.wait()
    again = play().chat("go on")
    assert told(again) == told(reply)
    assert (again.finish.reason, again.finish.detail) == ("stopped", "enough")
    stream = play().stream("go on")
    next(stream)
    stream.reply.stop("by me")
    assert [event.finish.detail for event in stream if event.finish] == ["by me"]
    assert stream.reply.text == "word"


def test_a_stream_that_was_left_is_played_as_far_as_it_went():
    model = fake_model()
    with llama.record("a.jsonl"), model.stream("one two three") as stream:
        left = [next(stream).text for _ in range(2)]
    stream = play().stream("one two three")
    assert [next(stream).text for _ in range(2)] == left
    rest = list(stream)
    assert [event.finish.reason for event in rest] == ["stopped"]


def test_errors_come_back_as_they_were():
    failing = FakeEngine(failure=EngineError("Logits are NaN.", "Load it again."), fail_at=2)
    model = fake_model(failing)
    small = fake_model(FakeEngine(name="small", context=20), name="small")
    with llama.record("a.jsonl"):
        with pytest.raises(EngineError):
            model.chat("hello")
        with pytest.raises(ContextOverflow) as refused:
            small.chat("word " * 30)
    played = play()
    with pytest.raises(EngineError, match=r"Logits are NaN") as error:
        played.chat("hello")
    assert error.value.hint == "Load it again."
    assert played.last.text == "You said:"
    with pytest.raises(ContextOverflow) as again:
        play(source="small").chat("word " * 30)
    assert str(again.value) == str(refused.value)


def test_turns_that_were_dropped_are_dropped_again():
    model = fake_model(FakeEngine(context=40), generation={})

    def talk(model):
        return [model.chat(f"tell me of number {number} now please", max_tokens=5) for number in range(6)]

    with llama.record("a.jsonl"):
        before = talk(model)
    assert any("left out" in note for reply in before for note in reply.notes)
    assert [told(reply) for reply in talk(play())] == [told(reply) for reply in before]


def test_prompts_and_tokens_come_back():
    model = fake_model()
    with llama.record("a.jsonl"):
        model.chat("hello there")
        before = (model.prompt().to_dict(), model.prompt("more?").to_dict(), str(model.tokens("two words")))
    played = play()
    played.chat("hello there")
    assert (played.prompt().to_dict(), played.prompt("more?").to_dict()) == before[:2]
    assert str(played.tokens("two words")) == before[2]
    with pytest.raises(RecordingError, match="not recorded"):
        played.tokens("three words more")
    with pytest.raises(RecordingError, match="was not recorded"):
        played.prompt("something else?")


# --- what differs is refused --------------------------------------------------------------------------

ASKED = [
    ({"temperature": 1}, "temperature was 0.6, and is 1 now"),
    ({"seed": 4}, "seed was not set, and is 4 now"),
    ({"stop": ["END"], "top_k": 5}, "top_k was 0, and is 5 now; stop was [], and is ['END'] now"),
    ({"preset": "creative"}, "temperature was 0.6"),
]


@pytest.mark.parametrize(("options", "says"), ASKED, ids=str)
def test_other_sampling_is_refused_by_name(options, says):
    model = fake_model()
    with llama.record("a.jsonl"):
        model.chat("hello")
    played = play()
    with pytest.raises(RecordingError) as refused:
        played.chat("hello", **options)
    assert says in str(refused.value)
    assert "%llama record a.jsonl" in refused.value.hint
    assert len(played.chats["main"]) == 0
    assert played.active == ()
    assert played.last is None  # it was refused before it was asked
    assert played.chat("hello").text == model.last.text


CHANGED = [
    (
        lambda m: m.chat("hullo world of llamas"),
        "was 'hello world of llamas', and is 'hullo world",
    ),
    (lambda m: m.chat("hello world of llamas", system="x"), "message 1 is of the user, not of the system"),
    (lambda m: m.complete("hello"), "it has messages, not a text to go on with"),
    (
        lambda m: [m.chat(text) for text in ("hello world of llamas", "and what more?", "a third?")],
        "its conversation has 3 messages, this one 5 messages",
    ),
    (
        lambda m: (m.chat("hello world of llamas"), m.chat("a second thing")),
        "the message (message 3 of 3) was 'and what more?', and is 'a second thing' now",
    ),
]


@pytest.mark.parametrize(("ask", "says"), CHANGED)
def test_another_prompt_is_refused_by_what_differs(ask, says):
    model = fake_model()
    with llama.record("a.jsonl"):
        model.chat("hello world of llamas")
        model.chat("and what more?")
    played = play()
    with pytest.raises(RecordingError) as refused:
        ask(played)
    assert says in str(refused.value)
    assert "%llama record a.jsonl" in refused.value.hint


def test_a_long_text_is_shown_where_it_differs():
    model = fake_model()
    text = "word " * 100
    with llama.record("a.jsonl"):
        model.chat(text + "one" + text)
    with pytest.raises(RecordingError) as refused:
        play().chat(text + "two" + text)
    assert "…word word oneword" in str(refused.value)
    assert "…word word twoword" in str(refused.value)
    assert len(str(refused.value)) < 500


def test_what_needs_weights_is_refused():
    model = fake_model()
    with llama.record("a.jsonl"):
        model.chat("hello")
    played = play()
    for work in (
        lambda: played.distribution("hello"),
        lambda: played.embed(["hello"]),
        lambda: played.loaded.module,
        lambda: played.loaded.tokenizer,
        lambda: played.json("hello", choice="yes,no"),
    ):
        with pytest.raises(UnsupportedError):
            work()


# --- which file, which model --------------------------------------------------------------------------


def test_another_model_is_refused_by_what_there_is():
    model = fake_model(name="meta-llama/Llama-9-9B")
    with llama.record("a.jsonl"):
        model.chat("hello")
    with pytest.raises(LoadError, match=r"a.jsonl holds replies of meta-llama/Llama-9-9B, none of 'cria'"):
        play(source="cria")
    with pytest.raises(RecordingError, match="dtype was float32, and is bfloat16 now"):
        play(source="meta-llama/Llama-9-9B", dtype="bfloat16")
    with pytest.raises(RecordingError, match="quant was none, and is nf4 now"):
        play(source="meta-llama/Llama-9-9B", quant="nf4")
    assert registry.loaded() == {}


def test_two_models_in_one_file_are_told_apart():
    one, two = (fake_model(counting(), name=name) for name in ("one", "two"))
    with llama.record("a.jsonl"):
        said = [one.chat("hello").text, two.chat("hello").text, one.chat("more").text]
    assert (play(source="one").chat("hello").text, play(source="two").chat("hello").text) == tuple(said[:2])
    with pytest.raises(RecordingError):
        llama.loaded()["two"].chat("more")


def test_a_folder_is_known_by_its_last_name():
    model = fake_model(name="talker")
    model.source = "/home/teacher/models/talker"
    with llama.record("a.jsonl"):
        model.chat("hello")
    assert play(source="./talker").chat("hello").text
    assert play(source="talker").name == "talker"
    model.name = "cria"  # what it was called says nothing
    with llama.record("b.jsonl"):
        model.chat("hello")
    with pytest.raises(LoadError, match="none of 'cria'"):
        play("b.jsonl", source="cria")


def test_the_variable_plays_back_what_is_in_its_file_and_nothing_else(monkeypatch):
    model = fake_model()
    with llama.record("a.jsonl"):
        said = model.chat("hello").text
    monkeypatch.setenv(VARIABLE, "a.jsonl")
    assert llama.load("fake").chat("hello").text == said
    with pytest.raises(LoadError, match="no model 'nothing'"):
        llama.load("nothing")
    with pytest.raises(LoadError, match="no model 'fake'"):
        llama.load("fake", replay=False)
    monkeypatch.setenv(VARIABLE, "gone.jsonl")
    with pytest.raises(RecordingError, match=f"{VARIABLE} names gone.jsonl, and there is no such file"):
        llama.load("fake")


def test_the_notebooks_own_recording_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "lesson.ipynb"))
    monkeypatch.setattr("llama_nb.session.record.notebook_path", lambda: tmp_path / "lesson.ipynb")
    monkeypatch.setattr("llama_nb.session.replay.notebook_path", lambda: tmp_path / "lesson.ipynb")
    with pytest.raises(RecordingError, match=r"no lesson.replies.jsonl beside the notebook"):
        play(True)
    with llama.record() as running:
        fake_model().chat("hello")
    assert running.file == tmp_path / "lesson.replies.jsonl"
    assert play(True).chat("hello").text


def test_without_a_notebook_the_only_recording_of_the_folder_is_meant():
    with pytest.raises(RecordingError, match="nothing was recorded"):
        play(True)
    with llama.record("lesson.replies.jsonl"):
        fake_model().chat("hello")
    assert play(True).chat("hello").text
    with llama.record("other.replies.jsonl"):
        fake_model().chat("hello")
    with pytest.raises(RecordingError, match=r"2 recordings here: lesson.replies.jsonl, other.replies.jsonl"):
        play(True)


# --- how it is written --------------------------------------------------------------------------------


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
