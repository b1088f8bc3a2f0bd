"""An interrupt at every line of our code that a chat runs through, in the main thread of this process."""

import signal
import sys

import pytest

from llama_nb.magics.boundary import ReplyInterrupted
from tests.conftest import ROOT

OURS = str(ROOT / "llama_nb")
STRIDE = 23
CELL = "%%llama chat r << --text\ncount 4"


class At:
    """Raises the interrupt when line event number `number` in our files is reached."""

    def __init__(self, number):
        self.number, self.seen, self.where = number, 0, ""

    def __call__(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.number:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                signal.raise_signal(signal.SIGINT)
        return self


@pytest.mark.parametrize("offset", [0, *(pytest.param(n, marks=pytest.mark.full) for n in range(1, STRIDE))])
def test_an_interrupt_at_any_line_loses_nothing(shell, model, offset):
    shell(CELL)  # imports what is imported lazily
    number, problems = 1 + offset, []
    while True:
        model.chats.clear()
        shell.names["r"] = None
        at = At(number)
        sys.settrace(at)
        try:
            error = shell(CELL).error
        except KeyboardInterrupt as escaped:  # IPython itself was at work: transforming the cell
            error = escaped
        finally:
            sys.settrace(None)
        if at.seen < number:
            break
        problem = check(error, shell.names["r"], model.chats["main"].turn_count())
        if problem:
            problems.append((number, problem, at.where))
        number += STRIDE
    assert not problems
    assert number > 100
    assert shell("%llama chat hello").ok


def check(error, reply, turns):
    words = reply.text.split() if reply is not None else []
    problems = {
        "another error": error is not None and not isinstance(error, KeyboardInterrupt),
        "passed without a reply": error is None and reply is None,
        "stopped, and no reply kept": isinstance(error, ReplyInterrupted) and reply is None,
        "the reply is torn": words != ["1", "2", "3", "4"][: len(words)],
        "the turn is in the chat, but the reply is lost": bool(turns) and reply is None,
        "the reply is kept, but not in the chat": bool(words) and not turns,
    }
    return [name for name, found in problems.items() if found]
