"""`%%llama batch` in a real kernel, on the bundled model: templates, files, mistakes, interrupts."""

import json

import pytest

from tests.conftest import ROOT
from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

FAST = "--temperature 0 --max-tokens 8"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("batch")


@pytest.fixture(scope="module")
def kernel(folder):
    (folder / "questions.csv").write_text(
        'id,question\n1,What is a token?\n2,\n3,"Why, then?"\n', encoding="utf-8"
    )
    (folder / "broken.jsonl").write_text('{"q": "a"}\n' * 16 + '{"q": \n', encoding="utf-8")
    with Kernel(environment={"PYTHONPATH": str(ROOT)}, cwd=folder) as running:
        running.ok("%load_ext llama_nb\n%llama load cria")
        running.ok(
            "import pandas as pd\nword = 'kind'\n"
            "reviews = pd.DataFrame({'review': ['Good.', None, 'Bad.'], 'n': [1, 2, 3]}, index=list('abc'))"
        )
        yield running


def test_a_template_is_filled_in_with_each_row(kernel):
    kernel.ok(f"%%llama batch r << reviews {FAST}\nIs this {{{{ word }}}}? {{{{ review }}}} {{{{ n }}}}")
    shown = kernel.ok("print(list(r.to_frame()['prompt']), list(r.to_frame().index), r.errors)").stdout
    assert shown == (
        "['Is this kind? Good. 1', '', 'Is this kind? Bad. 3'] ['a', 'b', 'c'] "
        "{1: 'Nothing to send: the cell is empty.'}\n"
    )
    assert kernel.ok("print(r)").stdout == "BatchResult(cria: 2 of 3 answered)\n"


def test_a_file_is_answered_and_the_value_is_a_table(kernel):
    watched = kernel.ok(f"%llama batch questions.csv --column question {FAST}").value
    assert "cria: 2 of 3 rows answered, 1 failed" in watched["text/plain"]
    assert "tokens/s" in watched["text/plain"]
    assert "<table" in watched["text/html"]
    alone = kernel.ok(f"%llama batch questions.csv --column question {FAST}", allow_stdin=False)
    assert "tokens/s" not in str(alone.outputs)
    assert len(alone.outputs) == 1
    limited = kernel.ok(f"%llama batch questions.csv --column question --limit 1 {FAST}").value
    assert "1 of 1 rows answered" in limited["text/plain"]


def test_rows_are_what_a_chat_answers(kernel):
    kernel.ok(f"r = %llama batch questions.csv --column question {FAST}")
    kernel.ok(f"%llama chats new beside\nc = %llama chat --text {FAST} What is a token?")
    assert kernel.ok("print(r.replies[0] == c.text)").stdout.endswith("True\n")


def test_an_interrupt_keeps_what_is_done_and_the_same_line_goes_on(kernel, folder):
    kernel.ok("many = [f'Tell me a story about the number {n}.' for n in range(40)]")
    options = "--batch-size 2 --out out.jsonl --temperature 0 --max-tokens 40"
    line = f"%%llama batch NAME << many {options}\n{{{{ text }}}}"
    running = kernel.submit(line.replace("NAME", "first"))
    kernel.until(lambda: (folder / "out.jsonl").exists() or running.done)
    kernel.interrupt()
    kernel.wait(running)
    assert running.status == "error"
    assert "not computed" in str(running.outputs)
    assert "Run it again to go on" in str(running.outputs)
    done = [json.loads(row)["row"] for row in (folder / "out.jsonl").read_text("utf-8").splitlines()]
    assert 0 < len(done) < 40
    kernel.ok(f"many = many[:{max(done) + 2}]")
    again = kernel.ok(line.replace("NAME", "second"))
    assert f"{len(done)} of" in str(again.outputs)
    assert kernel.ok("print(second.restored, second.missing)").stdout == f"{len(done)} 0\n"
    other = kernel.run(line.replace("NAME", "third").replace("--max-tokens 40", "--max-tokens 41"))
    assert "other sampling" in other.error_text
    assert "--overwrite" in other.error_text


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%llama batch", "There is no data"),
        ("%llama batch question.csv", "questions.csv"),
        ("%llama batch questions.csv", "2 columns: id, question"),
        ("%llama batch questions.csv --column qestion", "Did you mean 'question'?"),
        ("%llama batch broken.jsonl", "broken.jsonl, line 17"),
        ("%%llama batch reviews\nIs it {{ reviw }}?", "review"),
        ("%%llama batch reviews\nThe same for all", "no {{ column }}"),
        ("%%llama batch reviews --column n\n{{ review }}", "Leave one of them out"),
        ("%llama batch reviews --column review --limit 0", "whole number from 1"),
        ("%llama batch word", "is a str"),
        ("%llama batch reviews --column review --bg", "no --bg"),
    ],
)
def test_what_is_wrong_is_said(kernel, cell, says):
    assert says in kernel.run(cell).error_text
