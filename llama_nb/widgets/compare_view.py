"""A comparison in the page: answers side by side as they are written, where they part, KL as shades, Stop.

Knows the comparison's record and the page; asks no model. The page is told what grew in which cell, and all
cells in checkpoints and when it asks, so that a page that missed messages comes back.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from llama_nb.render import compare as rendered
from llama_nb.render.clean import clean, clean_line
from llama_nb.widgets.base import STATIC
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.messages import Messages
from llama_nb.widgets.traits import Count, Flag, Record, Text, Texts

CHECKPOINT_S: Final = 1.0
# Long answers are checkpointed more rarely, so that checkpoints never cost more than this on average.
CHECKPOINT_BYTES_PER_S: Final = 3072
# Sent with a delta, at a checkpoint or when a page asks, never because the kernel's copy changed.
_HELD: Final = ("cells", "revision", "status")
_GROWING: Final = ("common", "mark", "rest")
_PLAIN: Final = ("number", "row", "column", "span", "state", "place", "reference", "mean_kl", "kl")
_LONGEST: Final = 40_000  # characters of an answer; the rest is in the value


class Compared(Protocol):
    """What is shown: `session.comparison.Comparison`."""

    cells: tuple[Any, ...]
    notes: list[str]
    done: bool

    @property
    def stopped(self) -> bool:
        """Whether somebody stopped it."""

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON values."""

    def cell_record(self, cell: Any) -> dict[str, Any]:
        """Return one cell."""

    def stop(self, reason: str = "stopped") -> None:
        """End it."""


class CompareView(LiveWidget):
    """A comparison that is on its way, or is done.

    Parameters
    ----------
    comparison
        What to show; `refresh` and `finish` follow it.
    """

    _esm = STATIC / "compare.js"
    _css = STATIC / "compare.css"

    grid = Record("CompareGrid")
    cells = Record("CompareCells")
    revision = Count()
    status = Text()
    notes = Texts()
    running = Flag()
    stoppable = Flag()

    def __init__(self, comparison: Compared) -> None:
        self._comparison = comparison
        self._checkpoint_due = 0.0
        # Changes come on the batcher's thread, what the page asks for on a subshell's.
        self._lock = threading.RLock()
        self._record = record = comparison.to_record()
        super().__init__(
            grid=_grid(record),
            cells={"cells": [_page_cell(cell) for cell in record["cells"]]},
            status=rendered.progress(record),
            notes=rendered.notes(record),
            running=not comparison.done,
        )

    def refresh(self, numbers: Iterable[int]) -> None:
        """Show what changed in the cells with these numbers: one message, if anything did."""
        with self._lock:
            record = self._read(set(numbers))
            cells, changes = list(self.cells["cells"]), []
            for number, held in enumerate(record["cells"], 1):
                now = _page_cell(held)
                change = _difference(cells[number - 1], now)
                if change:
                    changes.append({"number": number, **change})
                    cells[number - 1] = now
            status = rendered.progress(record)
            self.notes = rendered.notes(record)
            if not changes and status == self.status:
                return
            self.revision, self.cells, self.status = self.revision + 1, {"cells": cells}, status
            if time.monotonic() >= self._checkpoint_due:
                self._checkpoint()
            else:
                self.send({"kind": "delta", "revision": self.revision, "status": status, "cells": changes})
        if any("state" in change.get("set", {}) for change in changes):
            self.twin_changed()

    def finish(self) -> None:
        """Show the end; the widget stays, to look at."""
        self.refresh(cell.number for cell in self._comparison.cells)
        with self._lock:
            self._checkpoint()
            self.running = self.stoppable = False
        self.send_twin()

    def get_state(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Return the state as ipywidgets does, but always of one revision."""
        with self._lock:
            return super().get_state(*arguments, **options)

    def looks(self) -> Messages:
        """Return what is done with the page's messages.

        "hello" comes from each page that begins to show it: that one arrives while cells are written is what
        proves that a Stop can arrive too. "lost" comes from a page that missed a delta, "stop" from the
        button.
        """
        return {
            "hello": lambda _: self._hello(),
            "lost": lambda _: self._checkpoint_now(),
            "stop": lambda _: self._comparison.stop(),
        }

    def text_twin(self) -> str:
        """Return it as text."""
        return rendered.bundle(self._comparison.to_record(), watched=True)["text/plain"]

    def html_twin(self) -> str:
        """Return it as static HTML."""
        return rendered.bundle(self._comparison.to_record(), watched=True)["text/html"]

    def _read(self, numbers: set[int]) -> dict[str, Any]:
        """Bring these cells of the record up to date, and those that they are compared with."""
        cells = self._comparison.cells
        changed = [cells[number - 1] for number in numbers]
        numbers = numbers | {cell.reference.number for cell in changed if cell.reference is not None}
        for number in numbers:
            self._record["cells"][number - 1] = self._comparison.cell_record(cells[number - 1])
        ends = {"done": self._comparison.done, "stopped": self._comparison.stopped}
        self._record |= {**ends, "notes": list(self._comparison.notes)}
        return self._record

    def _hello(self) -> None:
        self.stoppable = self.running

    def _checkpoint_now(self) -> None:
        with self._lock:
            self._checkpoint()

    def _checkpoint(self) -> None:
        size = len(str(self.cells))
        self._checkpoint_due = time.monotonic() + max(CHECKPOINT_S, size / CHECKPOINT_BYTES_PER_S)
        self.send_state(["cells", "revision", "status"])

    def _should_send_property(self, key: str, value: Any) -> bool:
        return key not in _HELD and super()._should_send_property(key, value)


def _grid(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": rendered.title(record),
        "message": clean(record["message"]),
        "system": clean(record["system"] or ""),
        "columns": [clean_line(name) for name in record["columns"]],
        "rows": [clean_line(name) for name in record["rows"]],
    }


def _page_cell(record: Mapping[str, Any]) -> dict[str, Any]:
    """A cell as the page draws it: texts cleaned, lines written."""
    cell = {name: record[name] for name in _PLAIN}
    cell |= {name: clean(record[name][:_LONGEST]) for name in _GROWING}
    cell |= {
        "label": clean_line(record["label"]),
        "status": rendered.status(record, watched=True),
        "verdict": rendered.verdict(record, watched=True),
        "error": clean(record["error"]),
        "hint": clean(record["hint"]),
    }
    if "pieces" in record:
        cell["pieces"] = [[clean(text), special] for text, special in record["pieces"]]
    return cell


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What makes `new` out of `old`: texts that grew at their ends, and everything else that is another."""
    grow, changed = {}, {}
    for name, value in new.items():
        before = old.get(name)
        if value == before:
            continue
        if name in _GROWING and value.startswith(str(before)):
            grow[name] = value[len(str(before)) :]
        else:
            changed[name] = value
    return {**({"grow": grow} if grow else {}), **({"set": changed} if changed else {})}
