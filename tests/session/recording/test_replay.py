"""Replies are played back as they were; what differs, or belongs to another model, is refused by name."""

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
    RecordingError,
    UnsupportedError,
)
from llama_nb.runtime.environment import Environment
from llama_nb.session import registry
from llama_nb.session.replay import VARIABLE
from tests.session.fakes import FakeEngine, fake_model
from tests.session.recording.played import counting, play, told

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


def test_who_watches_is_told_that_it_is_played_back(monkeypatch):
    with llama.record("a.jsonl"):
        fake_model(counting()).chat("hello")
    watched = Environment("terminal", watched=True, widgets=False)
    monkeypatch.setattr("llama_nb.session.handle.detect", lambda: watched)
    assert repr(play()).endswith(", played back from a.jsonl")


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
