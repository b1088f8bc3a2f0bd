"""Answers to what a page asks the attention explorer by number: links of a token, a weight, tokens, a copy.

Knows messages and the explorer; changes nothing of what is looked at.
"""

from collections.abc import Callable
from typing import Any

from llama_nb.core.errors import TraceError
from llama_nb.core.stop import StopFlag
from llama_nb.session.explorer import Explorer
from llama_nb.session.explorer_records import tokens_record
from llama_nb.session.known_traces import find_trace
from llama_nb.session.latest import Jobs
from llama_nb.widgets.messages import Messages, Said, text, whole


class Answers:
    """What is sent back; the newest question of a kind is answered, older ones may be dropped.

    Parameters
    ----------
    send
        Sends a custom message, on any thread.
    """

    def __init__(self, explorer: Explorer, jobs: Jobs, send: Callable[[dict[str, Any]], None]) -> None:
        self._explorer, self._jobs, self._send = explorer, jobs, send

    def messages(self) -> Messages:
        """Return what is done with each kind of question."""
        return {
            "row": self._row,
            "column": self._column,
            "value": self._value,
            "data": self._data,
            "tokens": self._tokens,
        }

    def _row(self, said: Said) -> None:
        query, second = whole(said, "query"), said.get("second") is True
        if query is not None:
            self._answer("links", said, lambda _: {**self._explorer.row(query, second), "second": second})

    def _column(self, said: Said) -> None:
        key, second = whole(said, "key"), said.get("second") is True
        if key is not None:
            self._answer(
                "links", said, lambda flag: {**self._explorer.column(key, flag, second), "second": second}
            )

    def _value(self, said: Said) -> None:
        row, col, second = whole(said, "row"), whole(said, "col"), said.get("second") is True
        if row is not None and col is not None:
            where = {"row": row, "col": col, "second": second}
            self._answer("value", said, lambda _: {**where, "value": self._explorer.value(row, col, second)})

    def _data(self, said: Said) -> None:
        self._answer("copy", said, lambda flag: {"text": self._explorer.data(flag)})

    def _answer(self, job: str, said: Said, find: Callable[[StopFlag], dict[str, Any]]) -> None:
        number = whole(said, "number")
        if number is None:
            return

        def work(flag: StopFlag) -> None:
            found = find(flag)
            if not flag.is_set():
                self._send({"kind": said["kind"], "number": number, **found})

        # What the page named may not be there (any more).
        self._jobs.put(job, work, ignored=(TraceError,))

    def _tokens(self, said: Said) -> None:
        start, end = whole(said, "start"), whole(said, "end")
        if start is not None and end is not None:
            name = text(said, "trace") or self._explorer.id
            self._send({"kind": "tokens", "trace": name, **tokens_record(find_trace(name), start, end)})
