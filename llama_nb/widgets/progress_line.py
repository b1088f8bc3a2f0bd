"""Long work that is not a reply, as one line that counts: downloads, conversions; and single notes.

In a page the line is one output that is replaced a few times a second; in a terminal it is rewritten in
place; where nobody watches nothing is shown.
"""

import time
from collections.abc import Callable
from typing import Final

from llama_nb.core.events import Progress
from llama_nb.render import clean
from llama_nb.render.note import note_bundle
from llama_nb.runtime.environment import Environment
from llama_nb.widgets.output import Output

EVERY_S: Final = 0.25
_BYTE_UNITS: Final = ("B", "bytes")
_BYTES: Final = ("B", "kB", "MB", "GB", "TB")


class ProgressLines:
    """The lines of the work that is going on, by its name."""

    def __init__(
        self,
        detect: Callable[[], Environment],
        output: Output,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._detect = detect
        self._output = output
        self._clock = clock
        self._running: dict[str, _Line] = {}

    def advance(self, progress: Progress) -> None:
        """Show how far `progress.what` is."""
        environment = self._detect()
        if not environment.watched:
            return
        now = self._clock()
        line = self._running.setdefault(progress.what, _Line(began=now, display_id=self._output.new_id()))
        if progress.ended:
            self._running.pop(progress.what, None)
        elif now < line.due:
            return
        line.due = now + EVERY_S
        text = _sentence(progress, now - line.began)
        if environment.kind == "terminal":
            self._output.write(f"\r\x1b[2K{text}" + ("\n" if progress.ended else ""))
        elif line.shown:
            self._output.update(note_bundle(text), line.display_id)
        else:
            self._output.display(note_bundle(text), line.display_id)
        line.shown = True

    def line(self, text: str) -> None:
        """Show a note that belongs to no reply."""
        environment = self._detect()
        if environment.kind == "terminal":
            self._output.write(f"[{clean.clean_line(text)}]\n")
        elif environment.watched:
            self._output.display(note_bundle(clean.clean_line(text)))


class _Line:
    def __init__(self, began: float, display_id: str) -> None:
        self.began = began
        self.display_id = display_id
        self.due = 0.0
        self.shown = False


def _sentence(progress: Progress, spent_s: float) -> str:
    line = _counted(progress, spent_s)
    return f"{line}, {clean.clean_line(progress.detail)}" if progress.detail else line


def _counted(progress: Progress, spent_s: float) -> str:
    done, total = progress.done, progress.total
    what = clean.clean_line(progress.what)
    if progress.ended:
        return f"{what}: {_amount(done, progress.unit)} in {_duration(spent_s)}"
    if not total:
        return f"{what}: {_amount(done, progress.unit)}"
    # "1 of 4 files", but "51 MB of 1.2 GB".
    so_far = _amount(done, progress.unit) if progress.unit in _BYTE_UNITS else f"{done:,.0f}"
    line = f"{what}: {so_far} of {_amount(total, progress.unit)} ({done / total:.0%})"
    if spent_s < 1 or done <= 0:
        return line
    return f"{line}, {_duration(spent_s * (total - done) / done)} left"


def _amount(value: float, unit: str) -> str:
    if unit not in _BYTE_UNITS:
        return f"{value:,.0f} {unit}"
    power = 0
    while value >= 1000 and power < len(_BYTES) - 1:
        value /= 1000
        power += 1
    return f"{value:.3g} {_BYTES[power]}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds >= 0.1 else "0.1 s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
