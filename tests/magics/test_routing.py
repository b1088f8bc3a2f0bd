"""%llama routing: what it looks at, what it refuses, and what it shows where no page watches."""

import json
from pathlib import Path

import pandas as pd
import pytest

import llama_nb as llama
from llama_nb.interpret.routing import RoutingTrace

TEXTS = pd.DataFrame(
    {
        "text": ["Once upon a time", "12 + 7 = 19", "There was a cat", "3 + 4 = 7"],
        "domain": ["story", "sum", "story", "sum"],
    }
)


@pytest.fixture
def mixture(shell):
    made = llama.load("cria-moe", name="mixture")
    yield made
    made.unload(force=True)


def test_the_body_is_the_text_and_the_trace_is_kept(shell, mixture):
    found = shell("%%llama routing t <<\nOnce upon a time, there was a cat.")
    assert found.ok
    trace = shell.names["t"]
    assert isinstance(trace, RoutingTrace)
    assert trace.layers == (1, 3, 5)
    assert "Once upon a time, there was a cat." in "".join(trace.texts())
    assert trace.prompt == trace.length


def test_on_a_line_it_is_the_last_reply_with_its_prompt(shell, mixture):
    reply = mixture.chat("What is a token?", max_tokens=6, seed=1)
    trace = shell("%llama routing").value
    assert "".join(trace.texts(trace.prompt)).startswith(reply.text[:6])


def test_a_table_of_labelled_texts(shell, mixture, tmp_path: Path):
    shell.names["texts"] = TEXTS
    trace = shell("%llama routing texts --column text --label domain").value
    assert trace.domains == ("story", "sum")
    assert len(trace.starts) == 5
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in TEXTS.to_dict("records")))
    again = shell(f"%llama routing {file} --label domain").value
    assert (again.chosen == trace.chosen).all()
    assert again.domains == trace.domains


def test_a_list_of_texts_is_a_table(shell, mixture):
    shell.names["lines"] = ["Once upon a time", "A cat sat"]
    trace = shell("%llama routing lines").value
    assert len(trace.starts) == 3
    assert trace.domains == ()


def test_a_word_that_names_no_table_is_a_text(shell, mixture):
    shell.names["once"] = "another text"
    assert shell("%llama routing once").value.texts()[-1].strip() == "once"


def shown(cell):
    return [output.data for output in cell.displays]


def test_a_layer_that_is_named_is_shown_and_the_trace_is_kept(shell, mixture):
    found = shell('t = %llama routing --layer 5 "Once upon a time"')
    assert found.ok
    assert any("expert in L5" in data["text/plain"] for data in shown(found))
    assert any("<" in data["text/html"] for data in shown(found))


def test_a_text_without_a_widget(shell, mixture):
    (data,) = shown(shell('%llama routing --text "Once upon a time"'))
    assert "expert in L3" in data["text/plain"]
    assert "text/html" not in data


def test_a_domain_is_set_against_the_others(shell, mixture):
    shell.names["texts"] = TEXTS
    (data,) = shown(shell("%llama routing texts --label domain --domain sum --text"))
    assert "sum" in data["text/plain"]


def test_a_trace_is_kept_in_a_file(shell, mixture, tmp_path: Path):
    file = tmp_path / "routing.safetensors"
    line = f'%llama routing --save {file} "Once upon a time"'
    trace = shell(line).value
    assert (RoutingTrace.load(file).chosen == trace.chosen).all()
    again = shell(line)
    assert "There is a file routing.safetensors already" in str(again.error)
    assert "--overwrite" in again.error.hint
    assert shell(f"{line} --overwrite").ok


REFUSED = [
    ("%llama routing", "There is no reply yet"),
    ("%%llama routing\n  ", "There is no reply yet"),
    ("%llama routing --chat nobody", "'nobody'"),
    ('%llama routing "a b" --chat main', "a text and a chat"),
    ('%llama routing "a b" --layer 2', "Layer 2"),
    ('%llama routing "a b" --layer x', "invalid int value: 'x'"),
    ('%llama routing "a b" --domain sum', "no domain 'sum'"),
    ("%llama routing texts --column words", "words"),
    ("%llama routing texts --label kind", "kind"),
    ("%llama routing texts --label domain --domain poem", "no domain 'poem'"),
    ("%llama routing nowhere.csv", "nowhere.csv"),
    ("%llama routing nobody --label domain", "neither a variable nor a file 'nobody'"),
    ("%%llama routing --label domain\nOnce", "the cell holds a text"),
    ("%llama routing --live", "the message is empty"),
    ("%llama routing texts --live", "there is a table"),
    ("%%llama routing --live --domain sum\nOnce", "has no --domain"),
    ('%llama routing "a b" --save no/such/folder/t.safetensors', "no folder 'no/such/folder'"),
    ("%llama routing --layre 3", "--layre"),
    ("%llama routing --model nobody", "nobody"),
]


@pytest.mark.parametrize(("line", "named"), REFUSED)
def test_a_mistake_is_named(shell, mixture, line, named):
    shell.names["texts"] = TEXTS
    found = shell(line)
    assert not found.ok
    assert named in str(found.error)


def test_a_dense_model_says_what_to_load(shell, stories260k):
    dense = llama.load(str(stories260k), name="stories")
    found = shell('%llama routing "Once upon a time"')
    assert "no experts" in str(found.error)
    assert "cria-moe" in found.error.hint
    dense.unload(force=True)


def test_a_remote_model_is_refused_with_what_can(shell, model):
    assert "routing needs the weights" in str(shell('%llama routing "hello"').error)


def test_live_without_a_page_is_the_trace_at_the_end(shell, mixture, tmp_path: Path):
    found = shell(f"%%llama routing t << --live --save {tmp_path / 'live.safetensors'}\nWhat is a token?")
    assert found.ok
    trace = shell.names["t"]
    assert (RoutingTrace.load(tmp_path / "live.safetensors").chosen == trace.chosen).all()
    assert trace.growing is False
    assert trace.length > trace.prompt
    assert mixture.last.text.startswith("".join(trace.texts(trace.prompt))[:10])
