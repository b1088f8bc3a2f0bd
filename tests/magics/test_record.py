"""%llama record and --replay as a person types them, on the scripted model."""

from pathlib import Path

import pytest

from llama_nb.runtime.environment import Environment
from llama_nb.session import registry
from llama_nb.session.record import recorder
from llama_nb.session.replay import VARIABLE

WATCHED = Environment("lab", watched=True, widgets=False)
ALONE = Environment("batch", watched=False, widgets=False)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("llama_nb.magics.commands.record.detect", lambda: WATCHED)
    yield tmp_path
    running = recorder()
    if running is not None:
        running.stop()


def test_it_says_what_it_does(shell, model, folder):
    assert "Nothing is recorded" in shell("%llama record --stop").value.text
    assert "session.replies.jsonl: no reply so far" in shell("%llama record").value.text
    shell("%llama chat hello")
    assert "1 reply so far" in shell("%llama record").value.text
    refused = shell("%llama record other.jsonl")
    assert "recorded into session.replies.jsonl already" in str(refused.error)
    shell("%llama chat again")
    assert "2 replies recorded into session.replies.jsonl" in shell("%llama record --stop").value.text
    shell("%llama chat unheard")
    assert Path("session.replies.jsonl").read_text().count('"type":"reply"') == 2


def test_what_is_played_back_is_not_recorded(shell, model, folder):
    shell("%llama record a.replies.jsonl")
    shell("r = %llama chat hello")
    said = shell.names["r"].text
    shell("%llama record --stop")
    before = Path("a.replies.jsonl").read_bytes()
    loaded = shell(f"%llama load {model.source} --replay a.replies.jsonl")
    assert loaded.ok, loaded.out
    assert registry.current().replayed == "a.replies.jsonl"
    state = shell("%llama record a.replies.jsonl").value.text
    assert f"Not those of {model.name}: they are played back." in state
    shell("r = %llama chat hello")
    assert shell.names["r"].text == said
    assert Path("a.replies.jsonl").read_bytes() == before


def test_where_outputs_are_compared_nothing_varies(shell, model, folder, monkeypatch):
    monkeypatch.setattr("llama_nb.magics.commands.record.detect", lambda: ALONE)
    assert shell("%llama record a.jsonl").value.text == "Replies are recorded from here on."
    shell("%llama chat hello")
    assert shell("%llama record").value.text == "Replies are recorded from here on."
    assert shell("%llama record --stop").value.text == "Nothing is recorded any more."


def test_a_source_is_needed(shell, folder):
    assert "Which model is to be played back?" in str(shell("%llama load --replay").error)
    assert "nothing was recorded" in str(shell("%llama load cria --replay").error)
