"""`%llama status` in a page: bars of memory that move while somebody looks, over tables of models and chats.

The page asks for each reading, and only while it is seen; a kernel that is busy or gone does not answer, and
the page says so. Knows no model: it is handed a report and asks it for the next one.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from llama_nb.render.memory import MemoryUse
from llama_nb.render.nodes import Node
from llama_nb.widgets.base import STATIC
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.traits import Nodes, Record

# The notebook's copy follows when a memory moved by this share of itself, not with every reading.
NOTABLE: Final = 0.05


class Tables(Protocol):
    """What stands below the bars."""

    def as_nodes(self) -> Sequence[Node]:
        """Return it as a tree."""


class Report(Protocol):
    """Models and memory at one moment (`magics.status_report.StatusReport`)."""

    tables: Tables
    memory: Sequence[MemoryUse]
    again: "Callable[[], Report]"

    def _repr_mimebundle_(self) -> dict[str, str]: ...


class StatusBars(LiveWidget):
    """A report that stays current.

    Parameters
    ----------
    report
        What to show first.
    """

    _esm = STATIC / "status_bars.js"
    _css = STATIC / "status_bars.css"

    memory = Record("MemoryReadings")
    tables = Nodes()

    def __init__(self, report: Report) -> None:
        self._report = self._saved = report
        super().__init__(memory=_readings(report), tables=list(report.tables.as_nodes()))

    def received(self, message: dict[str, Any]) -> None:
        """Take the page's request for a reading."""
        if message.get("kind") != "sample":
            return
        self._report = self._report.again()
        self.error = ""
        self.memory = _readings(self._report)
        self.tables = list(self._report.tables.as_nodes())
        if _differs(self._saved, self._report):
            self._saved = self._report
            self.twin_changed()
        self.send({"kind": "sampled"})

    def text_twin(self) -> str:
        """Return the report as text."""
        return self._report._repr_mimebundle_()["text/plain"]

    def html_twin(self) -> str:
        """Return the report as static HTML."""
        return self._report._repr_mimebundle_()["text/html"]


def _readings(report: Report) -> dict[str, Any]:
    return {"bars": [use.to_record() for use in report.memory]}


def _differs(saved: Report, now: Report) -> bool:
    """Whether somebody who opens the notebook later would miss something."""
    if [use.name for use in saved.memory] != [use.name for use in now.memory]:
        return True
    moved = [abs(before.free - use.free) for before, use in zip(saved.memory, now.memory, strict=True)]
    limits = [NOTABLE * use.capacity for use in now.memory]
    named = [[share.label for share in use.shares] for use in saved.memory]
    return named != [[share.label for share in use.shares] for use in now.memory] or any(
        distance > limit for distance, limit in zip(moved, limits, strict=True)
    )
