"""IPython in a terminal, as somebody types into it: what stands on the screen."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

PROMPT = r"In \[\d+\]: "
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@pytest.fixture(scope="module")
def typed(stories260k: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Return a function that types a line into a terminal IPython with a model, and returns what came."""
    arguments = ["-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit", "--colors=NoColor"]
    home = tmp_path_factory.mktemp("terminal")
    terminal = pexpect.spawn(
        sys.executable, arguments, cwd=str(home), timeout=60, encoding="utf-8", dimensions=(50, 160)
    )

    def type_line(line: str) -> str:
        terminal.sendline(line)
        terminal.expect(PROMPT)
        return _CONTROL.sub("", terminal.before or "").partition("\n")[2]  # behind the echo

    terminal.expect(PROMPT)
    type_line("%load_ext llama_nb")
    type_line(f"%llama load {stories260k} --name stories")
    yield type_line
    terminal.sendeof()
    terminal.close(force=True)


def test_a_streamed_reply_leaves_no_empty_out_prompt(typed: Callable[[str], str]) -> None:
    said = typed('%llama complete "Once upon a time" --max-tokens 8 --temperature 0')
    assert "tokens" in said
    assert "Out[" not in said
    text = typed("_.text")
    assert re.match(r"Out\[\d+\]: '.+'", text)
    assert eval(text.partition(": ")[2]).strip() in said
    assert re.match(r"Out\[\d+\]: True", typed("Out[max(Out) - 1].text == _"))


def test_a_reply_of_before_is_shown_as_every_value(typed: Callable[[str], str]) -> None:
    typed('r = %llama complete "Once upon a time" --max-tokens 8 --temperature 0')
    said = typed("r")
    assert re.match(r"Out\[\d+\]: ", said)
    assert "r" in typed("r.text")


def test_other_values_have_their_prompt(typed: Callable[[str], str]) -> None:
    assert re.match(r"Out\[\d+\]: 2", typed("1 + 1"))
    assert "Out[" not in typed("1 + 1;")
    assert "Out[" not in typed("None")


def test_without_the_extension_ipython_is_as_it_was(typed: Callable[[str], str]) -> None:
    typed("shell = get_ipython()")
    assert "False" in typed("shell.display_trap.hook is shell.displayhook")
    typed("%unload_ext llama_nb")
    assert "True" in typed("shell.display_trap.hook is shell.displayhook")
    assert "[]" in typed("[each for each in shell.ast_transformers if 'llama' in type(each).__module__]")
