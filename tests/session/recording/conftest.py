"""Each test records by itself, and what is noted is kept."""

import pytest

from llama_nb.core.events import Note, subscribe
from llama_nb.session import record as recording
from llama_nb.session import registry
from llama_nb.session.replay import VARIABLE


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
