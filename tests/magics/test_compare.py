"""`%%llama compare`: the line in this process, then in a real kernel, watched and as nbclient runs it."""

import pytest

from llama_nb.magics.commands import compare
from tests.conftest import ROOT
from tests.kernel import Kernel
from tests.magics import fake


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("%llama compare", "Nothing to send"),
        ("%llama compare fake", "Nothing to send"),
        ("%%llama compare\n  ", "Nothing to send"),
        ("%%llama compare --seeds x\nhi", "--seeds is 'x'"),
        ("%%llama compare --seeds 1,x\nhi", "--seeds is '1,x'"),
        ("%%llama compare --seeds 0\nhi", "seeds is 0"),
        ("%%llama compare --reference a\nhi", "--reference is 'a'"),
        ("%%llama compare --reference 7\nhi", "The reference is cell 7"),
        ("%%llama compare --temperature 0,hot\nhi", "temperature is 'hot'"),
        ("%%llama compare --temprature 0,1\nhi", "--temperature"),
        ("%%llama compare --preset precise,wild\nhi", "wild"),
        ("%%llama compare nope\nhi", "nope"),
        ("%%llama compare fake fake\nhi", "named twice"),
        ("%%llama compare\n{{ missing }}", "missing"),
        ("%%llama compare --seeds 40 --top-k 1,2\nhi", "80 cells"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_sent(shell, model, line, says):
    cell = shell(line)
    assert not cell.ok
    assert says in str(cell.error)
    assert model.engine.requests == []


def test_the_body_is_asked_and_what_has_commas_is_varied(shell, model):
    shell("topic = 'sea'")
    cell = shell(
        "%%llama compare c << --temperature 0.5,1 --seeds 2 --max-tokens 3 -o top_k 5\nthe {{ topic }}"
    )
    assert cell.ok, cell.error
    found = shell.names["c"]
    assert [slot.label for slot in found.cells] == [
        "temperature 0.5, seed 1",
        "temperature 1, seed 1",
        "temperature 0.5, seed 2",
        "temperature 1, seed 2",
    ]
    assert {request.input[-1].content for request in model.engine.requests} == {"the sea"}
    assert {request.sampling.top_k for request in model.engine.requests} == {5}
    assert {request.sampling.max_tokens for request in model.engine.requests} == {3}


def test_on_a_line_the_quoted_words_at_the_end_are_the_message(shell, model):
    fake.install("other")
    cell = shell('c = %llama compare fake other "and you?" --temperature 0')
    assert cell.ok, cell.error
    assert [one.model for one in shell.names["c"]] == ["fake", "other"]
    assert shell.names["c"].cell(1).text == "echo: and you? "


def test_seeds_can_be_listed(shell, model):
    shell("%%llama compare c << --seeds 7,9 --system Be-kind\nhi")
    assert [cell.seed for cell in shell.names["c"]] == [7, 9]
    assert model.engine.requests[0].input[0].content == "Be-kind"
    shell("%%llama compare c << --preset precise,creative\nhi")
    assert [cell.label for cell in shell.names["c"]] == ["precise", "creative"]


def test_models_are_offered_as_words(shell, model):
    offered = list(compare.complete(["cria"]))
    assert "fake" in offered
    assert "cria" not in offered


# --- in a real kernel -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    with Kernel(environment={"PYTHONPATH": str(ROOT), "LLAMA_NB_CHATS": "off"}, cwd=folder) as running:
        running.ok("%load_ext llama_nb\n%llama load cria")
        yield running


GRID = "%%llama compare c << cria cria:nf4 --temperature 0,1.5 --seeds 2 --max-tokens 16\nTell me of the sea."


@pytest.mark.kernel
def test_nbclient_gets_one_static_output_that_is_always_the_same(kernel):
    once, again = (kernel.ok(GRID, allow_stdin=False) for _ in range(2))
    (shown,) = once.displays
    assert set(shown["data"]) == {"text/plain", "text/html"}
    assert shown["data"] == again.displays[0]["data"]
    assert not once.comms
    text = shown["data"]["text/plain"]
    assert "6 answers of cria, cria:nf4" in text
    assert "mean KL (nats)" in text
    assert "tokens/s" not in text
    assert "/" not in text.replace("n/a", "")


@pytest.mark.kernel
def test_a_page_gets_a_widget_with_twins_and_a_value(kernel):
    done = kernel.ok(GRID)
    (shown,) = done.displays
    assert "application/vnd.llama-nb.view+json" in shown["data"]
    assert done.comms
    assert kernel.ok("print(len(c), len(c.kl(2)), c.to_frame().shape[0])").stdout == "6 16 6\n"
    assert kernel.ok("c").value is not None
    plain = kernel.ok("import llama_nb\nllama_nb.compare('hi', max_tokens=2)")
    assert (len(plain.displays), plain.value) == (1, None), "it is shown once, where it ran"


@pytest.mark.kernel
def test_every_example_runs(kernel):
    for example in compare.EXAMPLES:
        kernel.ok(example, allow_stdin=False)


@pytest.mark.kernel
def test_an_interrupt_keeps_what_was_done_and_fails_the_cell(kernel):
    running = kernel.submit(
        "%%llama compare stopped << --seeds 30 --max-tokens 400 --temperature 1\nTell me a story."
    )
    kernel.until(lambda: any("'state': 'done'" in str(comm) for comm in running.comms))
    kernel.interrupt()
    kernel.wait(running)
    assert "Interrupted" in running.error_text
    counts = kernel.evaluate(
        "[stopped.stopped, sum(cell.answered for cell in stopped), stopped.cells[-1].state]"
    )
    assert counts[0] is True
    assert 1 <= counts[1] < 30
    assert counts[2] == "skipped"
    assert "cria" in kernel.ok("%llama status").text


@pytest.mark.kernel
def test_a_model_that_cannot_be_loaded_fails_its_cells_only(kernel):
    done = kernel.ok(
        "from pathlib import Path\nPath('broken').mkdir()\nPath('broken/config.json').write_text('{')\n"
        "get_ipython().run_cell_magic('llama', 'compare cria ./broken --temperature 0 --max-tokens 4', 'hi')",
        allow_stdin=False,
    )
    assert "config.json" in done.text
    assert "[1] cria" in done.text
    failed = kernel.run("%%llama compare ./broken\nhi", allow_stdin=False)
    assert "config.json" in failed.error_text
