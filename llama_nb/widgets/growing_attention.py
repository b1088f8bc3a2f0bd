"""The attention explorer of an answer that is being written: a row a token.

Knows the answer's events and the explorer; who captures the rows, and when, is the session's business.
"""

import contextlib
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from llama_nb.core import events
from llama_nb.core.errors import TraceError
from llama_nb.session.explorer import Explorer
from llama_nb.widgets import live_view
from llama_nb.widgets.attention_explorer import AttentionExplorer
from llama_nb.widgets.output import Output

if TYPE_CHECKING:
    from llama_nb.interpret.attention import AttentionTrace

EVERY_S: Final = 0.3
_LONG: Final = 2_000  # tokens from which on a map takes as long as that, and is drawn more rarely


class GrowingView:
    """Shows a trace once it has rows, and follows it.

    Rows come on the model's thread, but only the cell's own thread can display: that one gets the reply's
    events.
    """

    def __init__(
        self, layer: int | None = None, head: int | None = None, output: Output | None = None
    ) -> None:
        self._where = layer, head
        self._output = output
        self._trace: AttentionTrace | None = None
        self._due = 0.0
        self.explorer: AttentionExplorer | None = None

    def follow(self, trace: "AttentionTrace") -> None:
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
                made = AttentionExplorer(Explorer(trace, *self._where))
            except TraceError:
                self._due = math.inf  # there is no such head; the verb says so when the answer is there
                return
            self.explorer = live_view.show(made, self._output)
        else:
            self.explorer.grow()
        self._due = time.monotonic() + EVERY_S * max(1, trace.length / _LONG)
