"""Shows comparisons where they run: a widget in a page, lines in a terminal, one output where nobody watches.

It is an observer of the session's events, as `live` is for replies. The widget is imported when the first
comparison comes.
"""

import contextvars
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from llama_nb.core import events
from llama_nb.render import compare as rendered
from llama_nb.render.clean import clean_line
from llama_nb.runtime.environment import Environment
from llama_nb.widgets.batching import Batcher
from llama_nb.widgets.output import Output

MOST_VIEWS: Final = 8  # that stay alive after their end; the oldest ones become their twins
_END_TIMEOUT_S: Final = 10.0

_log = logging.getLogger("llama_nb")


class Shown(Protocol):
    """A comparison on its way to whoever watches."""

    def advance(self, cell: Any) -> None:
        """Show a cell that changed. Costs the caller microseconds."""

    def end(self) -> None:
        """Leave what a saved notebook keeps."""


class LiveComparisons:
    """The observer.

    Parameters
    ----------
    detect
        Says, for the cell that runs, who watches.
    output
        Where displays go.
    """

    def __init__(self, detect: Callable[[], Environment], output: Output | None = None) -> None:
        self._detect, self._output = detect, output or Output()
        self._shown: dict[int, Shown] = {}

    def __call__(self, event: events.Event) -> None:
        """Show one event."""
        if not isinstance(event, events.ComparisonChanged):
            return
        comparison, cell = event.comparison, event.cell
        if comparison.done:
            shown = self._shown.pop(id(comparison), None)
            if shown is not None:
                shown.end()
        elif cell is not None and id(comparison) in self._shown:
            self._shown[id(comparison)].advance(cell)
        elif cell is None:
            self._shown[id(comparison)] = self._view(comparison)
            comparison.displayed = True  # so that it is not shown again as the cell's value

    def _view(self, comparison: Any) -> Shown:
        environment = self._detect()
        if environment.kind == "terminal":
            return TextComparison(comparison, self._output, watched=environment.watched)
        if environment.watched and environment.widgets:
            try:
                return PageComparison(comparison, self._output)
            except Exception:  # noqa: BLE001 - without a working widget the answers are shown when all are there
                _log.exception("the live view of a comparison could not be made")
        return FinalComparison(comparison, self._output, watched=environment.watched)


class PageComparison:
    """A widget that grows and stays."""

    def __init__(self, comparison: Any, output: Output) -> None:
        from llama_nb.widgets.compare_view import CompareView

        self._view = CompareView(comparison)
        made = self._view._repr_mimebundle_()
        output.display(made[0] if made else {})
        self._batcher: Batcher[int] = Batcher(self._view.refresh, failed=self._view.fail)

    def advance(self, cell: Any) -> None:
        """Put the cell's number into the next batch."""
        self._batcher.put(cell.number)

    def end(self) -> None:
        """Show the end; of many views the oldest is closed."""
        try:
            self._batcher.close(_END_TIMEOUT_S)
        finally:
            self._view.guard(self._view.finish)()
            _views.append(self._view)
            while len(_views) > MOST_VIEWS:
                _views.popleft().close()


class TextComparison:
    """A line for each answer that is there, then the table."""

    def __init__(self, comparison: Any, output: Output, *, watched: bool) -> None:
        self._comparison, self._output, self._watched = comparison, output, watched
        self._told: set[int] = set()

    def advance(self, cell: Any) -> None:
        """Say that an answer is there."""
        if self._watched and cell.number not in self._told and cell.state in ("done", "failed"):
            self._told.add(cell.number)
            count = f"{len(self._told)} of {len(self._comparison.cells)}"
            self._output.write(f"[{count}: {clean_line(cell.label)}, {cell.state}]\n")

    def end(self) -> None:
        """Print the table."""
        shown = rendered.bundle(self._comparison.to_record(), watched=self._watched)
        self._output.write(f"{shown['text/plain']}\n")


class FinalComparison:
    """One display when all answers are there."""

    def __init__(self, comparison: Any, output: Output, *, watched: bool) -> None:
        self._comparison, self._output, self._watched = comparison, output, watched
        self._context = contextvars.copy_context()

    def advance(self, cell: Any) -> None:
        """Show nothing yet."""

    def end(self) -> None:
        """Show the table."""
        shown = rendered.bundle(self._comparison.to_record(), watched=self._watched)
        self._context.run(self._output.display, shown)


_views: deque[Any] = deque()


def install(detect: Callable[[], Environment]) -> Callable[[], None]:
    """Show every comparison from now on; return the function that ends it."""
    return events.subscribe(LiveComparisons(detect))
