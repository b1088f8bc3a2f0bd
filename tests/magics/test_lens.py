"""%llama lens: which text or reply it looks at, its options, and what it refuses."""

import pytest

import llama_nb as llama
from llama_nb.session.lens import LensTrace
from tests.models import write_tuned_lens


@pytest.fixture
def stories(shell, stories260k):
    made = llama.load(str(stories260k), name="stories")
    yield made
    made.unload(force=True)


def test_a_text_in_a_cell_or_on_the_line(shell, stories):
    found = shell("%%llama lens t <<\nOnce upon a time, there was")
    assert found.ok
    trace = shell.names["t"]
    assert isinstance(trace, LensTrace)
    assert "".join(trace.texts).endswith("there was")
    line = shell('%llama lens --top 3 --positions 4 "Once upon a time, there was"').value
    assert line.positions == trace.positions[-4:]
    assert line.depths.ids.shape == (len(trace.layers), 4, 3)


def test_the_last_reply(shell, stories):
    stories.complete("Once upon a time", max_tokens=6, seed=1)
    trace = shell("%llama lens").value
    assert trace.title == "reply"
    assert len(trace.ids) == trace.prompt + 6


def test_as_text_it_is_a_table_and_the_trace_is_the_value(shell, stories):
    found = shell("%%llama lens --text\nOnce upon a time, there was a <img src=x>")
    assert found.ok
    assert [set(shown.data) for shown in found.displays] == [{"text/plain"}]
    said = found.displays[0].data["text/plain"]
    assert "Logit lens: text of stories" in said
    assert "embedding" in said
    assert isinstance(shell.names["_"], LensTrace)


def test_a_tuned_lens(shell, stories, tmp_path):
    layers, hidden = len(stories.loaded.module.model.layers), stories.loaded.module.config.hidden_size
    lens = write_tuned_lens(tmp_path / "mine", layers=layers, hidden=hidden)
    trace = shell(f'%llama lens --tuned {lens} "Once upon a time"').value
    assert trace.tuned == "mine"
    assert "Tuned lens mine: text of stories" in trace._repr_mimebundle_()["text/plain"]


REFUSED = [
    ("%llama lens", "There is no reply yet"),
    ('%llama lens "a b" --chat main', "a text and a chat"),
    ('%llama lens "a b" --top 0', "top is 0"),
    ('%llama lens "a b" --top x', "invalid int value: 'x'"),
    ('%llama lens "a b" --positions 0', "--positions is 0"),
    ('%llama lens "a b" --tuned ./nothing', "no tuned lens at 'nothing'"),
    ('%llama lens "a b" --postions 3', "--positions"),
    ("%llama lens --chat nobody", "nobody"),
]


@pytest.mark.parametrize(("line", "named"), REFUSED)
def test_a_mistake_is_named(shell, stories, line, named):
    found = shell(line)
    assert not found.ok
    assert named in str(found.error)


def test_a_remote_model_is_refused_with_what_can(shell, model):
    assert "lens needs the weights" in str(shell('%llama lens "hello"').error)
