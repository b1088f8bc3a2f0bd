"""`%%llama quantize` in a real kernel: the lesson on the bundled model, watched and unwatched."""

import pytest

from tests.conftest import ROOT
from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

TEXT = "A tokenizer cuts text into tokens. A token is a piece of text. The model reads tokens, not words."


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    with Kernel(environment={"PYTHONPATH": str(ROOT)}, cwd=tmp_path_factory.mktemp("quantize")) as running:
        running.ok("%load_ext llama_nb\n%llama load cria")
        yield running


def test_the_lesson_is_a_table_with_bars_and_a_value(kernel):
    shown = kernel.ok(f"%%llama quantize --methods nf4,int8\n{TEXT}").value
    assert "cria: each method beside float32" in shown["text/plain"]
    assert "tokens/s" in shown["text/plain"]
    assert shown["text/html"].count('role="img"') == 5
    kernel.ok(f"%%llama quantize report << --methods int8 --tokens 16\n{TEXT}")
    same = "print(report.to_frame().loc['int8', 'agreement'] > 0.7, report.tokens, report)"
    assert kernel.ok(same).stdout == "True 16 QuantisationReport(cria: float32, int8)\n"


def test_the_model_answers_as_before(kernel):
    ask = "r = %llama chat --text --temperature 0 --max-tokens 12 What is a token?\nprint(r.text)"
    before = kernel.ok(f"%llama chats new a\n{ask}").stdout.splitlines()[-1]
    kernel.ok(f"%%llama quantize --methods nf4\n{TEXT}")
    assert kernel.ok(f"%llama chats new b\n{ask}").stdout.splitlines()[-1] == before


def test_where_nobody_watches_no_speed_is_shown(kernel):
    shown = kernel.ok(f"%%llama quantize --methods int8\n{TEXT}", allow_stdin=False).value
    assert "perplexity" in shown["text/plain"]
    assert "tokens/s" not in shown["text/plain"]


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%llama quantize\n   ", "no text to measure on"),
        ("%%llama quantize --methods nf5\nsome text to read", "Did you mean 'nf4'"),
        ("%%llama quantize --tokens 2\nsome text to read", "whole number from 4"),
        ("%%llama quantize\nx", "too few"),
    ],
)
def test_what_is_wrong_is_said(kernel, cell, says):
    assert says in kernel.run(cell).error_text


def test_an_interrupt_gives_what_was_measured(kernel):
    running = kernel.submit(f"%%llama quantize stopped <<\n{(TEXT + ' ') * 30}")
    kernel.until(lambda: any("Measuring" in str(display) for display in running.displays))
    kernel.interrupt()
    kernel.wait(running)
    assert "Interrupted" in running.error_text
    assert "Stopped: the methods that follow" in running.text
    assert kernel.ok("print(stopped.stopped, len(stopped.rows) >= 1)").stdout == "True True\n"
    assert "cria" in kernel.ok("%llama status").text
