"""A notebook in a real JupyterLab that figures are taken of: its cells, its page, what the page received."""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

from tools.lab_page import LabPage, launch
from tools.lab_server import LabServer

MOST_S: Final = 600


class Frames:
    """What a page's websockets received: when, and the bytes."""

    def __init__(self, tab: Page) -> None:
        self.seen: list[tuple[float, bytes]] = []
        tab.on("websocket", lambda socket: socket.on("framereceived", self._take))

    @property
    def total(self) -> int:
        """All bytes since the last `forget`."""
        return sum(len(data) for _, data in self.seen)

    def forget(self) -> None:
        """Begin anew."""
        self.seen.clear()

    def _take(self, frame: str | bytes) -> None:
        self.seen.append((time.perf_counter(), frame.encode() if isinstance(frame, str) else frame))


@contextmanager
def notebook(cells: Sequence[str], threads: int) -> Iterator[tuple[Browser, LabPage, Frames]]:
    """Open a notebook of these cells in a fresh JupyterLab whose kernel has so many threads."""
    with (
        tempfile.TemporaryDirectory() as base,
        LabServer(Path(base), environment={"OMP_NUM_THREADS": str(threads)}) as server,
        sync_playwright() as playwright,
    ):
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(made, server.work / "look.ipynb")
        browser = launch(playwright.chromium)
        try:
            tab = browser.new_page(viewport={"width": 1100, "height": 900})
            frames = Frames(tab)
            page = LabPage(tab, server)
            page.open("look.ipynb")
            yield browser, page, frames
        finally:
            browser.close()


def wait(page: LabPage, holds: str) -> None:
    """Wait until a JavaScript function returns true; it is asked in each frame."""
    page.page.wait_for_function(holds, timeout=MOST_S * 1000, polling="raf")


def printed(page: LabPage, cell: int) -> dict[str, Any]:
    """Return the JSON that a cell printed."""
    last = page.text(cell).splitlines()[-1:]
    if not last or not last[0].startswith("{"):
        raise RuntimeError("\n".join(page.text(each) for each in range(cell + 1)))
    found: dict[str, Any] = json.loads(last[0])
    return found
