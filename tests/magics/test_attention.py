"""%llama attention: what it looks at, what it refuses, and what it shows where no page watches."""

import pytest

import llama_nb as llama
from llama_nb.interpret.attention import AttentionTrace
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.commands.attention import read_layers


@pytest.fixture
def stories(shell, stories260k):
    made = llama.load(str(stories260k), name="stories")
    yield made
    made.unload(force=True)


def test_the_body_is_the_text_and_the_trace_is_kept(shell, stories):
    found = shell("%%llama attention t <<\nOnce upon a time, there was a cat.")
    assert found.ok
    trace = shell.names["t"]
    assert isinstance(trace, AttentionTrace)
    assert "".join(trace.texts[1:]).strip() == "Once upon a time, there was a cat."
    assert trace.layers == tuple(range(5))
    assert trace.prompt == trace.length


def test_on_a_line_it_is_the_last_reply_with_its_prompt(shell, stories):
    reply = stories.complete("Once upon a time", max_tokens=6, seed=1)
    trace = shell("%llama attention").value
    assert trace.length - trace.prompt == 6
    assert "".join(trace.texts[trace.prompt :]) == reply.text


def test_only_some_layers(shell, stories):
    assert shell('%llama attention --layers 1-2 "Once upon a time"').value.layers == (1, 2)
    assert shell('%llama attention --layers 0,3 --offload "Once upon"').value.layers == (0, 3)


def shown(cell):
    return [output.data for output in cell.displays]


def test_a_head_that_is_named_is_shown_and_the_trace_is_kept(shell, stories):
    found = shell('t = %llama attention --layer 2 --head 3 "Once upon a time"')
    assert found.ok
    assert any("Shown: L2 H3" in data["text/plain"] for data in shown(found))
    assert any("data:image/png;base64," in data["text/html"] for data in shown(found))


def test_a_text_without_a_widget(shell, stories):
    found = shell('%llama attention --text "Once upon a time"')
    (data,) = shown(found)
    assert "The strongest links" in data["text/plain"]
    assert "text/html" not in data


REFUSED = [
    ("%llama attention", "There is no reply yet"),
    ("%%llama attention\n  ", "There is no reply yet"),
    ("%llama attention --chat nobody", "'nobody'"),
    ('%llama attention "a b" --chat main', "a text and a chat"),
    ('%llama attention "a b" --layer 9', "Layer 9"),
    ('%llama attention "a b" --head 99', "no head 99"),
    ('%llama attention "a b" --layers 3-99', "no layer 5"),
    ('%llama attention "a b" --layers 3-1', "--layers is '3-1'"),
    ('%llama attention "a b" --layers some', "--layers is 'some'"),
    ('%llama attention "a b" --layer x', "invalid int value: 'x'"),
    ("%llama attention --live", "the message is empty"),
    ("%llama attention --laiers 3", "--layers"),
    ("%llama attention --model nobody", "nobody"),
]


@pytest.mark.parametrize(("line", "named"), REFUSED)
def test_a_mistake_is_named(shell, stories, line, named):
    found = shell(line)
    assert not found.ok
    assert named in str(found.error)


def test_a_remote_model_is_refused_with_what_can(shell, model):
    assert "attention needs the weights" in str(shell('%llama attention "hello"').error)


@pytest.mark.parametrize(
    ("typed", "layers"),
    [(None, "all"), ("all", "all"), ("3", [3]), ("0-2", [0, 1, 2]), ("0, 4-5,9", [0, 4, 5, 9])],
)
def test_layers_are_read(typed, layers):
    assert read_layers(typed) == layers


@pytest.mark.parametrize("typed", ["", "-1", "1-", "1--2", "a", "1;2", "2-1", "99999"])
def test_what_is_no_layer_is_refused(typed):
    with pytest.raises(CommandError, match="--layers is"):
        read_layers(typed)


def test_live_without_a_page_is_the_trace_at_the_end(shell, model_cria):
    found = shell("%%llama attention t << --live\nWhat is a token?")
    assert found.ok
    trace = shell.names["t"]
    assert trace.growing is False
    assert trace.length > trace.prompt
    assert model_cria.last.text.startswith("".join(trace.texts[trace.prompt :])[:10])


@pytest.fixture
def model_cria(shell):
    made = llama.load("cria", name="cria that is watched")
    yield made
    made.unload(force=True)
