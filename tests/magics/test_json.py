"""`%%llama json` in a real kernel, on the bundled model."""

import json

import pytest

from llama_nb.magics.commands.json import EXAMPLES
from tests.conftest import ROOT
from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

REPLY = "application/vnd.llama-nb.reply+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
MODELS = """
import pydantic
class Answer(pydantic.BaseModel):
    answer: str
class Box:
    Answer = Answer
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("json")
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with Kernel(environment=environment, cwd=folder) as started:
        started.ok("%load_ext llama_nb\nm = %llama load cria")
        started.ok(MODELS)
        yield started


def test_a_cell_gives_an_object_and_shows_json(kernel):
    cell = "%%llama json r << Answer --temperature 0 --max-tokens 80\nWhat is a token? As JSON."
    result = kernel.ok(cell)
    assert len(result.outputs) == 1
    data = result.outputs[0]["data"]
    assert WIDGET not in data
    assert data[REPLY]["grammar"] == {"kind": "json", "name": "Answer", "complete": True}
    assert json.loads(data[REPLY]["text"])["answer"]
    assert "<pre" in data["text/html"]
    assert "forbade" in data["text/html"]
    assert kernel.evaluate("type(r.json).__name__") == "Answer"
    assert kernel.evaluate("r.json.answer")


def test_on_a_line_the_message_follows_the_name(kernel):
    kernel.ok('r = %llama json Box.Answer "What is a token?" --max-tokens 80 --temperature 0')
    assert kernel.evaluate("r.user") == "What is a token?"
    assert kernel.evaluate("type(r.json).__name__") == "Answer"
    kernel.ok('r = %llama json {"type": "integer", "minimum": 10, "maximum": 99} What is 20 + 22?')
    assert kernel.evaluate("(r.user, 10 <= r.json <= 99)") == ("What is 20 + 22?", True)


def test_a_choice_and_a_pattern(kernel):
    kernel.ok("%%llama json r << --choice yes,no,maybe --temperature 0\nIs a llama an animal?")
    assert kernel.evaluate("r.json in ('yes', 'no', 'maybe')")
    kernel.ok('%%llama json r << --regex "[0-9]{2}" --temperature 0\nWhat is 20 + 22?')
    assert kernel.evaluate("len(r.json)") == 2


def test_a_name_that_is_not_there_fails_the_cell(kernel):
    before = kernel.evaluate("len(m.chats['main'].messages())")
    result = kernel.run("%%llama json Answr\nhello")
    assert result.error["ename"] == "SchemaError"
    assert "Did you mean Answer" in result.error_text
    assert kernel.evaluate("len(m.chats['main'].messages())") == before


def test_nobody_watches_one_display_that_does_not_vary(kernel):
    cell = "%%llama json Answer --temperature 0 --max-tokens 80 --chat {name}\nWhat is a token?"
    shown = [
        kernel.run(cell.format(name=name), allow_stdin=False).displays[0]["data"] for name in ("one", "two")
    ]
    assert shown[0]["text/plain"] == shown[1]["text/plain"]
    assert shown[0]["text/html"] == shown[1]["text/html"]


def test_it_is_in_the_help(kernel):
    assert "--choice" in kernel.ok("%llama help json").value["text/plain"]


def test_every_example_runs(kernel):
    kernel.ok("class Recipe(pydantic.BaseModel):\n    title: str = pydantic.Field(max_length=20)")
    kernel.ok("%llama set temperature 0")
    try:
        for example in EXAMPLES:
            kernel.ok(example)
    finally:
        kernel.ok("%llama set --reset")
