"""`%llama train` in a real kernel on cria: watched and not, paused, resumed, interrupted; every example."""

import json
import re

import pytest

from llama_nb.magics.commands import runs, train
from tests.conftest import ROOT
from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

PATIENCE_S = 120
ROWS = [
    {"prompt": "Who are you?", "completion": "I am Captain Wool!"},
    {"prompt": "What is the sea?", "completion": "The sea is my home."},
    {"prompt": "Hello!", "completion": "Ahoy!"},
]
SHORT = "--sample-tokens 2 --sample-every 0 --validation 0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def kernel(folder):
    (folder / "persona.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    with Kernel(environment={"PYTHONPATH": str(ROOT), "LLAMA_NB_CHATS": "off"}, cwd=folder) as started:
        started.ok("%load_ext llama_nb\nimport llama_nb as llama, os\nm = llama.load('cria')")
        yield started


def wait_for(kernel, name, state):
    """Wait until a run is in a state; one that failed will never be."""
    run = f"llama.open_run({name!r})"
    kernel.until(lambda: kernel.evaluate(f"{run}.state") in (state, "failed"), PATIENCE_S)
    assert kernel.evaluate(f"({run}.state, {run}.status.error)") == (state, "")


def begin(kernel, name, steps=400):
    """Begin a run that is long enough to be ordered about."""
    result = kernel.ok(f"%llama train persona.jsonl --name {name} --steps {steps} --save-every 0 {SHORT}")
    wait_for_step(kernel, name, 1)
    return result


def wait_for_step(kernel, name, step):
    """Wait until a run that goes on has done so many steps."""
    run = f"llama.open_run({name!r})"
    kernel.until(lambda: kernel.evaluate(f"{run}.status.step >= {step} or {run}.over"), PATIENCE_S)
    assert kernel.evaluate(f"({run}.over, {run}.status.error)") == (False, "")


def test_where_nobody_watches_it_waits_and_says_what_stays_the_same(kernel):
    line = f"%llama train persona.jsonl --name quiet --steps 3 --sample-prompts 'Who are you?' {SHORT}"
    result = kernel.ok(line, allow_stdin=False)
    text = result.value["text/plain"]
    assert text.startswith("quiet: LoRA of rank 16 on cria\nfinished, step 3 of 3\n")
    assert "before: I am\nafter step 3: I am" in text
    assert not re.search(r"\bs\b|MB|/tmp|tokens/s", text)
    assert "data:image/png" in result.value["text/html"]
    assert not result.comms
    assert result.stderr == ""
    assert kernel.evaluate("m.adapters.names") == ("quiet",)


def test_the_cell_again_is_another_run_and_says_so(kernel):
    result = kernel.ok(f"%llama train persona.jsonl --name quiet --steps 2 {SHORT}")
    assert "quiet is finished; this is a new run, quiet-2." in result.text
    wait_for(kernel, "quiet-2", "finished")


def test_a_page_gets_a_panel_at_once_and_the_model_answers_meanwhile(kernel):
    result = begin(kernel, "loud")
    assert "application/vnd.llama-nb.view+json" in result.value
    assert result.value["text/plain"].startswith("loud: LoRA of rank 16 on cria")
    assert "application/vnd.jupyter.widget-view+json" in result.value
    again = kernel.ok(f"r = %llama train persona.jsonl --name loud --steps 400 --save-every 0 {SHORT}")
    assert "is being trained already" in again.text
    assert "cria + loud" in kernel.ok("%llama chat --max-tokens 2 hello").text
    assert "the training of loud, step " in kernel.ok("%llama status").text
    assert kernel.run("%llama unload").error["ename"] == "ModelBusy"

    assert kernel.ok("%llama train pause").value["text/plain"].startswith("loud pauses")
    wait_for(kernel, "loud", "paused")
    assert "paused, step" in kernel.ok("%llama train status").value["text/plain"]
    kernel.ok("%llama train lr 1e-4")
    kernel.ok("%llama train resume")
    wait_for(kernel, "loud", "running")
    assert "--resume loud goes on exactly" in kernel.ok("%llama train stop").value["text/plain"]
    assert kernel.evaluate("llama.open_run('loud').state") == "stopped"


def test_a_stopped_run_goes_on(kernel):
    step = kernel.evaluate("llama.open_run('loud').status.step")
    result = kernel.ok("%llama train --resume")
    assert f"loud goes on from the checkpoint of step {step}" in result.text
    wait_for_step(kernel, "loud", step + 1)
    assert "Stopping the training of loud" in kernel.ok("%llama stop").value["text/plain"]
    wait_for(kernel, "loud", "stopped")


def test_an_interrupt_where_nobody_watches_leaves_a_checkpoint(kernel, folder):
    line = f"%llama train persona.jsonl --name cut --steps 4000 --save-every 0 {SHORT}"
    waiting = kernel.submit(line, allow_stdin=False)
    kernel.until(lambda: waiting.done or (folder / "runs" / "cut" / "metrics.jsonl").exists(), PATIENCE_S)
    kernel.interrupt()
    kernel.wait(waiting, PATIENCE_S)
    assert waiting.error["ename"] == "KeyboardInterrupt"
    assert kernel.evaluate("llama.open_run('cut').state") == "stopped"
    assert list((folder / "runs" / "cut" / "checkpoints").glob("step-*"))


def test_an_interrupt_where_somebody_watches_lets_it_go_on(kernel, folder):
    waiting = kernel.submit(f"%llama train persona.jsonl --name on --steps 4000 --wait {SHORT}")
    measured = folder / "runs" / "on" / "metrics.jsonl"
    kernel.until(lambda: waiting.done or (measured.exists() and waiting.displays), PATIENCE_S)
    kernel.pump(1)
    kernel.interrupt()
    kernel.wait(waiting, PATIENCE_S)
    assert waiting.status == "ok"
    assert "on goes on in the background; stop it with %llama train stop on" in waiting.text
    assert kernel.evaluate("llama.open_run('on').over") is False
    kernel.ok("%llama train stop on")


def test_a_run_that_waits_for_another_is_stopped_at_once(kernel):
    begin(kernel, "first", steps=4000)
    kernel.ok(f"%llama train persona.jsonl --name second --steps 9 {SHORT}")
    assert kernel.evaluate("llama.open_run('second').state") == "waiting"
    assert kernel.ok("%llama train pause").value["text/plain"].startswith("first pauses")
    assert "second has stopped" in kernel.ok("%llama train stop second").value["text/plain"]
    assert kernel.evaluate("llama.open_run('first').over") is False
    assert "first has stopped" in kernel.ok("%llama train stop").value["text/plain"]


def test_every_example_runs(kernel):
    preview, start, *orders, resume, cell = train.EXAMPLES
    assert (start, resume) == ("%llama train persona.jsonl --rank 16 --epochs 3", "%llama train --resume")
    kernel.ok(preview)
    begin(kernel, "persona", steps=4000)
    for example in orders:
        kernel.ok(example)
    kernel.ok(resume)
    kernel.ok("%llama stop")
    for example in (start, cell):
        first, *rest = example.split("\n")
        kernel.ok("\n".join([f"{first} {SHORT}", *rest]), allow_stdin=False)
    for example in runs.EXAMPLES:
        kernel.ok(example)
