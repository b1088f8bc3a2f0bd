"""What the lines of one cell show: each what it says, in a real kernel and in an IPython shell."""

from pathlib import Path
from typing import Any

import pytest

from tests.kernel import Kernel

CARD = "border-left:4px"


def cards(result: Any) -> list[Any]:
    return [output for output in result.outputs if CARD in output.get("data", {}).get("text/html", "")]


def texts(result: Any) -> list[str]:
    return [output.get("text") or output["data"]["text/plain"] for output in result.outputs]


@pytest.mark.kernel
def test_a_load_above_other_lines_shows_its_card(kernel: Kernel, stories260k: Path) -> None:
    result = kernel.ok(f"%llama load {stories260k} --name above\n%llama set temperature 0.3\nx = 1 + 1")
    assert ["above" in card["data"]["text/html"] for card in cards(result)] == [True]
    assert any("temperature" in text for text in texts(result))
    below = kernel.ok(f"y = 1\n%llama load {stories260k} --name below")
    assert [card["output_type"] for card in cards(below)] == ["execute_result"]
    quiet = kernel.ok(f"m = %llama load {stories260k} --name kept\nm.name")
    assert not cards(quiet)
    kernel.ok("for name in ('above', 'below', 'kept'): llama_nb.unload(name)\n%llama set temperature --reset")


@pytest.mark.kernel
def test_a_reply_above_other_lines_is_shown_once(kernel: Kernel) -> None:
    kernel.ok("m = fake.install()")
    result = kernel.ok("%llama chat one\n%llama chat two\n'last'")
    assert [text.count("echo:") for text in texts(result)] == [1, 1, 0]


def test_only_our_own_lines_are_touched(shell: Any, model: Any) -> None:
    said = shell("%llama set temperature 0.4\n1 + 1\n%llama use fake\n%time 3\n'last'")
    assert said.ok, said.error
    assert said.value == "last"
    shown = [display.data["text/plain"] for display in said.displays]
    assert len(shown) == 2
    assert "0.4" in shown[0]
    said = shell("if True:\n    %llama set temperature 0.5\nx = 3")
    assert not said.displays
    assert shell("%llama set temperature").value.text.startswith("temperature is 0.5")


def test_an_error_above_other_lines_fails_the_cell(shell: Any, model: Any) -> None:
    said = shell("%llama set temperature hot\nx = 'went on'")
    assert not said.ok
    assert "temperature" in str(said.error)
    assert "x" not in shell.names


def test_where_ipython_shows_every_expression_nothing_is_shown_twice(shell: Any, model: Any) -> None:
    shell.ip.ast_node_interactivity = "all"
    try:
        said = shell("%llama set temperature 0.6\n'last'")
    finally:
        shell.ip.ast_node_interactivity = "last_expr"
    assert not said.displays
    assert said.out.count("0.6") == 1
