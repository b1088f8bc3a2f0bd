"""Asks the person at the keyboard whether a call may run: `input()`, in a terminal, a notebook or a console.

Where nobody can be asked the answer is no, and that is an error which names the call.
"""

import sys
from typing import Final

from llama_nb.core.errors import ToolError
from llama_nb.render.clean import clean_line
from llama_nb.runtime.environment import detect
from llama_nb.session.tools import PendingCall

_LONGEST_PROMPT: Final = 300
_TRIES: Final = 3
_YES: Final = ("y", "yes")
_NO: Final = ("n", "no", "")
_ALWAYS: Final = ("a", "always")


class PromptApproval:
    """Asks for each call of one run; "always" allows a function for the rest of it."""

    def __init__(self) -> None:
        self._always: set[str] = set()

    def __call__(self, call: PendingCall) -> bool:
        """Return whether `call` may run.

        Raises
        ------
        ToolError
            If nobody can be asked.
        """
        if call.name in self._always:
            return True
        if not _somebody():
            raise nobody(call)
        for _ in range(_TRIES):
            try:
                answer = input(f"Run {_short(call.sentence)}? [y]es, [n]o, [a]lways in this run: ")
            except (EOFError, RuntimeError, OSError):  # ipykernel's StdinNotImplementedError is the second
                raise nobody(call) from None
            answer = answer.strip().lower()
            if answer in _ALWAYS:
                self._always.add(call.name)
            if answer in (*_YES, *_ALWAYS):
                return True
            if answer in _NO:
                return False
        return False


def nobody(call: PendingCall) -> ToolError:
    """Return the error for a call that nobody can be asked for."""
    return ToolError(
        f"The model asks for {_short(call.sentence)}, and nobody can be asked here: it was not run.",
        f"Run the cell where a person can answer; or, if {call.name} is harmless, define it under "
        "@llama_nb.tool(safe=True) and add --auto (in Python auto=True, or approve=...).",
    )


def in_background(call: PendingCall) -> bool:
    """Refuse: what runs in the background has no question, since its cell is over.

    Raises
    ------
    ToolError
        Always.
    """
    raise ToolError(
        f"The model asks for {_short(call.sentence)}, and in the background nobody is asked: it was not run.",
        "Run it without --bg, or give approve=...; with --auto those under @llama_nb.tool(safe=True) run.",
    )


def _somebody() -> bool:
    place = detect()
    return place.watched if place.kind != "plain" else sys.stdin is not None and sys.stdin.isatty()


def _short(sentence: str) -> str:
    line = clean_line(sentence)
    return line if len(line) <= _LONGEST_PROMPT else f"{line[:_LONGEST_PROMPT]}\u2026"
