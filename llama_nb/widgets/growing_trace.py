"""An explorer of an answer that is being written: shown once there is something to see, and then following.

Knows the answer's events; who captures what is seen, and when, is the session's business.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

from llama_nb.core import events
from llama_nb.core.errors import TraceError
from llama_nb.widgets import live_view
from llama_nb.widgets.output import Output
from llama_nb.widgets.trace_explorer import TraceExplorer

EVERY_S: Final = 0.3
_LONG: Final = 2_000  # tokens from which on an explorer takes as long as that, and is drawn more rarely


class Trace(Protocol):
    """What is known of a trace here."""

    length: int


_Explorer = TypeVar("_Explorer", bound=TraceExplorer)


class GrowingView(Generic[_Explorer]):
    """Shows a trace once it has rows, and follows it.

    Rows come on the model's thread, but only the cell's own thread can display: that one gets the reply's
    events.

    Parameters
    ----------
    open_
        Makes the explorer of a trace. A TraceError of it is not tried again: the verb says so when the
        answer is there.
    """

    def __init__(self, open_: Callable[[Any], _Explorer], output: Output | None = None) -> None:
        self._open, self._output = open_, output
        self._trace: Trace | None = None
        self._due = 0.0
        self.explorer: _Explorer | None = None

    def follow(self, trace: Trace) -> None:
        """Take the trace, which has rows more; costs the caller nothing."""
        self._trace = trace

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Follow the replies of the block."""
        unsubscribe = events.subscribe(self._watch)
        try:
            yield
        finally:
            unsubscribe()

    def end(self) -> None:
        """Show all of what is there now."""
        if self.explorer is not None:
            self.explorer.grow()

    def _watch(self, event: events.Event) -> None:
        trace = self._trace
        if trace is None or not isinstance(event, events.ReplyAdvanced) or time.monotonic() < self._due:
            return
        if self.explorer is None:
            try:
                made = self._open(trace)
            except TraceError:
                self._due = math.inf
                return
            self.explorer = live_view.show(made, self._output)
        else:
            self.explorer.grow()
        self._due = time.monotonic() + EVERY_S * max(1, trace.length / _LONG)
