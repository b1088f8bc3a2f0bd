"""A lens trace in a page: a grid of layers and positions, the tokens of a cell, a position's way to the end.

Knows the page and its messages; the trace holds all that is shown, so the model may be gone. Long texts come
in windows of columns, since nobody sees more. What the page sends is untrusted: it is checked, and ignored
where it is wrong.
"""

import threading
from typing import TYPE_CHECKING, Any, Final

from llama_nb.render import lens as rendered
from llama_nb.render.clean import clean
from llama_nb.session.lens import LensTrace
from llama_nb.widgets.base import STATIC
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.messages import Messages, Said, text, whole
from llama_nb.widgets.traits import Binary, Record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST_COLUMNS: Final = 64  # of a window
_WINDOW_BYTES: Final = 256_000
_FEWEST_COLUMNS: Final = 16
_MOST_TOP: Final = 10  # tokens of a cell that the page gets
# Behind the ids and the chances of a cell's tokens, in this order.
_FIGURES: Final = ("final", "final_rank", "next", "next_rank", "entropy", "kl")


class LensView(LiveWidget):
    """What a model would say behind each layer, to walk through.

    Parameters
    ----------
    trace
        What to show.
    """

    _esm = STATIC / "lens.js"
    _css = STATIC / "lens.css"

    head = Record("LensHead")
    window = Record("LensWindow")
    cells = Binary()
    place = Record("LensPlace")

    def __init__(self, trace: LensTrace) -> None:
        # Messages come on the shell's or a subshell's thread.
        self._lock = threading.RLock()
        self._trace = trace
        self._top = min(_MOST_TOP, trace.depths.ids.shape[2])
        super().__init__()

    def fill(self) -> None:
        """Show the columns around where one looks first: the end of a text, the start of a reply."""
        trace = self._trace
        first = trace.prompt - 1
        column = trace.positions.index(first) if first in trace.positions else len(trace.positions) - 1
        with self._lock, self.hold_sync():
            self.head = self._head()
            self.place = {"row": len(trace.layers) - 1, "column": column, "by": "probability"}
            self._show(column - self._columns() // 2)

    def looks(self) -> Messages:
        """Return what a page asks for: "columns" from one on."""
        return {"columns": self._more}

    def actions(self) -> Messages:
        """Return what a page does: "look" at a cell, with a ground."""
        return {"look": self._look}

    def text_twin(self) -> str:
        """Return what is said around the place as text."""
        return self._twin()["text/plain"]

    def html_twin(self) -> str:
        """Return it as a coloured table."""
        return self._twin()["text/html"]

    def _twin(self) -> dict[str, str]:
        place = self.place
        record = self._trace.to_record(place.get("column"))
        return rendered.bundle(record, watched=True, by=place.get("by", "probability"))

    def _columns(self) -> int:
        """How many columns a window has."""
        column = len(self._trace.layers) * (2 * self._top + len(_FIGURES)) * 4
        return max(_FEWEST_COLUMNS, min(MOST_COLUMNS, _WINDOW_BYTES // column))

    def _more(self, said: Said) -> None:
        start = whole(said, "start")
        if start is not None:
            with self._lock, self.hold_sync():
                self._show(start)

    def _look(self, said: Said) -> None:
        row, column, by = whole(said, "row"), whole(said, "column"), text(said, "by")
        rows, columns = len(self._trace.layers), len(self._trace.positions)
        if row is None or column is None or not (0 <= row < rows and 0 <= column < columns):
            return
        with self._lock:
            self.place = {"row": row, "column": column, "by": by if by in rendered.GROUNDS else "probability"}
        self.twin_changed()

    def _show(self, start: int) -> None:
        """Send the window that begins at a column, or as near as there is one."""
        trace, width = self._trace, self._columns()
        count = len(trace.positions)
        start = min(max(0, start), max(0, count - width))
        end = min(start + width, count)
        positions = trace.positions[start:end]
        ahead = [trace.following(at) for at in positions]
        ids = trace.depths.ids[:, start:end, : self._top]
        wanted = {*ids.ravel().tolist(), *(token for token in ahead if token is not None)}
        with self.hold_sync():
            self.window = {
                "start": start,
                "end": end,
                "positions": list(positions),
                "tokens": [[clean(trace.texts[at]), trace.special[at]] for at in positions],
                "ahead": ahead,
                "settled": trace.settled()[start:end].tolist(),
                "names": [
                    [token, clean(trace.names[token][0]), trace.names[token][1]] for token in sorted(wanted)
                ],
            }
            self.cells = self._packed(start, end).tobytes()

    def _packed(self, start: int, end: int) -> "npt.NDArray[np.float32]":
        """The cells as float32 (depths, columns, 2 top + 6); ids are whole numbers below 2**24, so exact."""
        import numpy as np

        depths, top = self._trace.depths, self._top
        columns = slice(start, end)
        figures = [getattr(depths, name)[:, columns, None] for name in _FIGURES]
        said = [depths.ids[:, columns, :top], depths.chances[:, columns, :top]]
        return np.concatenate([part.astype("<f4") for part in (*said, *figures)], axis=2)

    def _head(self) -> dict[str, Any]:
        trace = self._trace
        record = trace.to_record(most=1)
        return {
            "title": rendered.title(record),
            "layers": list(trace.layers),
            "columns": len(trace.positions),
            "tokens": len(trace.ids),
            "prompt": trace.prompt,
            "top": self._top,
            "ends": {
                "probability": 1.0,
                "entropy": float(trace.depths.entropy.max()),
                "kl": min(float(trace.depths.kl.max()), rendered.KL_END),
            },
            "notes": [clean(note) for note in trace.notes],
        }
