"""Calls of functions that wait until somebody in a page says yes or no.

Knows what a call says of itself; knows no page and no function.
"""

import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from llama_nb.render.clean import clean, clean_line
from llama_nb.session.tools import PendingCall

_LOOK_S: Final = 0.1  # how often who waits looks whether the run was stopped


@dataclass(frozen=True, slots=True)
class _Asked:
    id: str
    call: PendingCall
    answered: threading.Event = field(default_factory=threading.Event)
    yes: list[bool] = field(default_factory=list)


class Approvals:
    """One call at a time waits here.

    Parameters
    ----------
    changed
        Called when a call begins or ceases to wait.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._asked: _Asked | None = None
        self._closed = False

    def ask(self, call: PendingCall) -> bool:
        """Wait for the answer, on the thread of the run, and return it; without anybody to ask it is no.

        Parameters
        ----------
        call
            Its `name` and `arguments` are shown; its `stop` ends the waiting.
        """
        if self._closed:
            return False
        asked = self._asked = _Asked(secrets.token_hex(8), call)
        self._changed()
        while not asked.answered.wait(_LOOK_S) and not call.stop.is_set():
            pass
        self._asked = None
        self._changed()
        return asked.yes == [True]

    def answer(self, call_id: str, *, yes: bool) -> None:
        """Take the page's answer to the call that waits; an answer to any other is none."""
        asked = self._asked
        if asked is not None and secrets.compare_digest(asked.id.encode(), call_id.encode()):
            asked.yes.append(yes)
            asked.answered.set()

    def close(self) -> None:
        """Say no to what waits and to all that comes."""
        self._closed = True
        if self._asked is not None:
            self.answer(self._asked.id, yes=False)

    def pending(self) -> dict[str, Any]:
        """Return what waits, as `pending` of a ChatLive; nothing when nothing does."""
        asked = self._asked
        if asked is None:
            return {}
        name = clean_line(asked.call.name)
        arguments = json.dumps(dict(asked.call.arguments), ensure_ascii=False, default=str)
        return {
            "pending": {
                "call": asked.id,
                "name": name,
                "arguments": clean(arguments),
                "sentence": f"The model asks to run your function {name} in this kernel:",
            }
        }
