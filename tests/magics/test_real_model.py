"""The magics in a real kernel on real weights: stories260K, with and without a chat template."""

import random
import shutil
from pathlib import Path

import nbformat
import pytest

from llama_nb.magics import verbs
from tests.conftest import ROOT
from tests.gguf_models import write_gguf
from tests.kernel import Kernel
from tests.models import write_tuned_lens

pytestmark = pytest.mark.kernel

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
STORY = ", there was a little girl named Lily. She loved to play outside in the park"


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    with Kernel(environment={"PYTHONPATH": str(ROOT), "LLAMA_NB_CHATS": "on"}, cwd=folder) as kernel:
        kernel.ok("%load_ext llama_nb\nimport llama_nb, os, threading")
        yield kernel


@pytest.fixture
def stories(started, stories260k):
    started.ok(f"m = %llama load {stories260k} --name stories")
    yield started
    started.ok("%llama stop")


@pytest.fixture(scope="module")
def talker(started, stories260k, tmp_path_factory):
    """The same weights with a chat template: they ramble, but in turns."""
    folder = tmp_path_factory.mktemp("talker") / "talker"
    shutil.copytree(stories260k, folder, copy_function=shutil.copyfile)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    started.ok(f"%llama load {folder}")
    return started


@pytest.fixture
def talking(talker):
    talker.ok("%llama use talker")
    return talker


def test_a_model_is_a_card_and_a_line(stories):
    data = stories.ok("m").value
    assert data["text/plain"].startswith("stories: Llama with 260 k parameters")
    assert "260 k parameters" in data["text/html"]
    assert "float32 on cpu" in data["text/html"]


def test_a_text_goes_on(stories):
    result = stories.ok("%%llama complete r << --temperature 0 --max-tokens 24\nOnce upon a time")
    assert stories.evaluate("r.text").startswith(STORY[:40])
    assert STORY[:40] in result.outputs[0]["data"]["text/plain"]


def test_a_base_model_says_what_it_is(stories):
    result = stories.run("%%llama\nhello")
    assert result.error["ename"] == "UnsupportedError"
    assert "base model" in result.error_text
    assert "%%llama complete" in result.error_text


def test_what_is_sent_can_be_seen(talking):
    result = talking.ok("%llama prompt hello there")
    assert "user: hello there" in talking.evaluate("_.text")
    assert result.value["text/html"]
    talking.ok("v = %llama tokens <s>")
    assert talking.evaluate("len(v)") > 1


def test_an_interrupt_at_a_random_instant_keeps_what_came(talking):
    rng = random.Random(3)
    expected = "%%llama chat whole << --chat whole --temperature 0 --max-tokens 120 --text\nhello"
    talking.ok(expected)
    whole = talking.evaluate("[token.id for token in whole.tokens]")
    for turn in range(8):
        talking.ok("r = None")
        code = f"%%llama chat r << --chat c{turn} --temperature 0 --max-tokens 120\nhello"
        cell = talking.submit(code)
        talking.until(lambda result=cell: len(result.comms) > 0)
        talking.interrupt(after=0.001 + rng.random() * 0.1)
        talking.wait(cell)
        talking.pump(0.15)
        assert cell.stderr == ""
        assert len(cell.error_text.splitlines()) <= 1
        ids = talking.evaluate("[token.id for token in r.tokens if token.id is not None]")
        assert ids == whole[: len(ids)]


def test_an_unload_gives_the_memory_back_and_an_old_handle_says_so(stories):
    assert "1.04 MB given back" in stories.ok("%llama unload stories").text
    result = stories.run("m.chat('hi')")
    assert "was unloaded" in result.error["evalue"]
    assert "%llama load" in result.error["evalue"]


def test_what_is_in_use_is_not_unloaded_without_force(talking):
    talking.ok("r = %llama chat --bg --max-tokens 480 hello")
    result = talking.run("%llama unload talker")
    assert result.status == "error", "480 tokens were over before the next cell ran"
    assert result.error["ename"] == "ModelBusy"
    assert "--force" in result.error_text
    talking.ok("%llama stop\n_ = r.wait()")


def test_a_chat_comes_back_after_a_restart(talking, tmp_path):
    talking.ok("%llama chat --chat diary --seed 1 --max-tokens 8 my name is Ada")
    before = talking.evaluate("[message.content for message in llama_nb.current().chats['diary'].messages()]")
    talking.ok("folder = llama_nb.current().checked.folder\nllama_nb.unload()\n_ = llama_nb.load(folder)")
    result = talking.ok("%llama chat --restore --chat diary")
    assert "Restored chat 'diary': 1 turn" in result.text
    assert "my name is Ada" in result.text
    after = talking.evaluate("[message.content for message in llama_nb.current().chats['diary'].messages()]")
    assert after == before
    talking.ok("%llama chat --chat diary --max-tokens 4 and then?")
    assert talking.evaluate("llama_nb.current().chats['diary'].turn_count()") == 2

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%%llama\nmy name is Ada")])
    shown = talking.ok("%llama chat --chat saved --seed 1 --max-tokens 8 my name is Ada").outputs[0]
    book.cells[0].outputs = [nbformat.v4.new_output("display_data", data=shown["data"])]
    nbformat.write(book, tmp_path / "old.ipynb")
    result = talking.ok(f"%llama chat --chat copy --from '{tmp_path / 'old.ipynb'}'")
    assert "Restored chat 'copy': 1 turn" in result.text
    missing = talking.run("%llama chat --restore --chat nowhere")
    assert missing.error["ename"] == "ChatStoreError"


# What needs a person, a network, a log-in to lose or a mixture, or takes minutes: each has tests of its own.
ELSEWHERE = ("adapter", "login", "logout", "quantize", "route", "routing", "runs", "tools", "train")
ON_AN_ANSWER = ("ablate", "attention", "branch", "continue", "edit", "export", "goto", "retry")
# The data and the schema that examples name.
FOR_EXAMPLES = """
from pydantic import BaseModel
reviews = [{"review": "It was good."}]
class Recipe(BaseModel):
    title: str
"""


@pytest.mark.full
def test_every_example_runs_on_the_bundled_model(started, stories260k):
    folder = Path(started.evaluate("os.getcwd()"))
    write_gguf(stories260k, folder / "model.gguf")
    (folder / "questions.csv").write_text("question\nWhat is rope?\n")
    write_tuned_lens(folder / "my-lens", layers=6, hidden=192)
    started.ok(FOR_EXAMPLES)
    started.ok("%llama load cria")
    started.ok("%llama record\n%llama chat --max-tokens 2 hi\n%llama record --stop")
    started.ok("%llama load cria --name second")
    for verb in sorted(set(verbs.names()) - {*ELSEWHERE}):
        for example in verbs.find(verb).EXAMPLES:
            if verb == "unload":
                started.ok("%llama load cria")
            if verb in ON_AN_ANSWER:
                started.ok("%llama chat --max-tokens 8 What is 2 + 3? And what is 4 + 5?")
            result = started.run(example)
            assert result.status == "ok", (example, result.error_text)
        if verb in ("load", "unload"):
            started.ok("%llama load cria")
