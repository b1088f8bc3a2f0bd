"""Our explorer in a real JupyterLab: bytes on its websocket, seconds until it answers, memory of both sides.

A cell captures the attention of a text; the next one shows it. Everything is timed from the start of that
second cell in the page, with what the kernel computes for it.
"""

import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.attention_page import PAINTED
from benchmarks.attention_watch import Memory, renderers
from tools.lab_page import LabPage, launch
from tools.lab_server import LabServer

MOST_S: Final = 600
# A window of so many tokens a side is "zoomed"; the keyboard goes on to `FINEST`, by `STEP` each time.
ZOOMED: Final = 1024
FINEST: Final = 300
STEP: Final = 1.6
SETTLED_MS: Final = 2000
LOAD: Final = """
%load_ext llama_nb
import gc, json, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
import llama_nb as llama
from benchmarks.plan_child import reset_peak, resident
model = llama.load({folder!r}, dtype="float32")
_ = model.attention("One two three.")
"""
READ: Final = """
text = Path({text!r}).read_text()
trace = None
reset_peak()
before, begun = resident(), time.perf_counter()
trace = model.attention(text, layers={layers!r})
print(json.dumps({{"seconds": time.perf_counter() - begun, "memory": resident("VmHWM") - before,
                   "tokens": trace.length, "bytes": trace.nbytes}}))
"""
SHOW: Final = "reset_peak()\nbefore = resident()\ntrace"
AFTER: Final = 'print(json.dumps({"memory": resident("VmHWM") - before}))'

_DRAWN: Final = """() => {
    const root = document.querySelector('.llama-nb-att[data-more=true]');
    if (!root || root.dataset.empty !== 'false' || !root.querySelector('.llama-nb-att-strip *')) return false;
    const small = root.querySelector('.llama-nb-att-heads canvas');
    const canvas = root.querySelector('.llama-nb-att-map canvas');
    if (!small || !canvas || !canvas.width) return false;
    const drawn = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return drawn.some((value, index) => index % 4 === 3 && value > 0);
}"""
_EXACT: Final = """() => {
    const rule = document.querySelector('.llama-nb-att .llama-nb-att-rule');
    const map = document.querySelector('.llama-nb-att .llama-nb-att-map');
    return rule?.textContent.startsWith('pixel') && map.getAttribute('aria-busy') === 'false';
}"""


@dataclass
class Seen:
    """What was measured of one text: seconds, bytes to the page, memory in bytes."""

    read: dict[str, Any] = field(default_factory=dict)
    interactive_s: float = 0.0
    interactive_bytes: int = 0
    exact_s: float = 0.0
    exact_bytes: int = 0
    page: int = 0
    kernel: int = 0
    zoom_s: float = 0.0
    zoom_bytes: int = 0


def look(folder: Path, text: Path, layers: "str | list[int]", threads: int) -> Seen:
    """Open the explorer on a text in a fresh JupyterLab, then zoom into a corner of its map."""
    root = str(Path(__file__).resolve().parents[1])
    cells = (
        LOAD.format(root=root, folder=str(folder)),
        READ.format(text=str(text), layers=layers),
        SHOW,
        AFTER,
    )
    environment = {"OMP_NUM_THREADS": str(threads)}
    with (
        tempfile.TemporaryDirectory() as base,
        LabServer(Path(base), environment=environment) as server,
        sync_playwright() as playwright,
    ):
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(made, server.work / "look.ipynb")
        browser = launch(playwright.chromium)
        try:
            return _look(browser, server)
        finally:
            browser.close()


def _look(browser: Browser, server: LabServer) -> Seen:
    tab = browser.new_page(viewport={"width": 1100, "height": 900})
    frames = Frames(tab)
    page = LabPage(tab, server)
    page.open("look.ipynb")
    page.run_cell(0)
    page.run_cell(1, MOST_S)
    seen = Seen(read=_json(page, 1))
    page.wait_for_kernel()
    frames.forget()
    with Memory(lambda: renderers(browser)) as memory:
        begun = time.perf_counter()
        page.start_cell(2)
        _wait(page, _DRAWN)
        page.page.evaluate(PAINTED)
        page.page.locator(".llama-nb-att").hover(
            position={"x": 5, "y": 5}
        )  # at no token, which asks for more
        seen.interactive_s, seen.interactive_bytes = time.perf_counter() - begun, frames.total
        _wait(page, _EXACT)
        seen.exact_s, seen.exact_bytes = time.perf_counter() - begun, frames.total
    seen.page = memory.grown
    _zoom(page, frames, seen)
    page.run_cell(3)
    seen.kernel = _json(page, 3)["memory"]
    return seen


def _zoom(page: LabPage, frames: "Frames", seen: Seen) -> None:
    """Zoom in with the keyboard; kept is the longest wait for a map of a window of at most `ZOOMED`."""
    page.page.locator(".llama-nb-att-map").first.focus()
    span = float(seen.read["tokens"])
    while span > FINEST:
        frames.forget()
        begun = time.perf_counter()
        page.page.keyboard.press("+")
        page.page.wait_for_timeout(SETTLED_MS)
        span /= STEP
        tiles = [(when - begun, size) for when, size, is_tile in frames.seen if is_tile]
        if span <= ZOOMED and tiles:
            seen.zoom_s = max(seen.zoom_s, tiles[-1][0])
            seen.zoom_bytes = max(seen.zoom_bytes, *(size for _, size in tiles))


class Frames:
    """What a page's websockets received: when, how many bytes, and whether a map was in it."""

    def __init__(self, tab: Page) -> None:
        self.seen: list[tuple[float, int, bool]] = []
        tab.on("websocket", lambda socket: socket.on("framereceived", self._take))

    @property
    def total(self) -> int:
        """All bytes since the last `forget`."""
        return sum(size for _, size, _ in self.seen)

    def forget(self) -> None:
        """Begin anew."""
        self.seen.clear()

    def _take(self, frame: str | bytes) -> None:
        data = frame.encode() if isinstance(frame, str) else frame
        self.seen.append((time.perf_counter(), len(data), b'"tile_info"' in data))


def _wait(page: LabPage, holds: str) -> None:
    page.page.wait_for_function(holds, timeout=MOST_S * 1000, polling="raf")


def _json(page: LabPage, cell: int) -> dict[str, Any]:
    """Return what a cell printed."""
    last = page.text(cell).splitlines()[-1:]
    if not last or not last[0].startswith("{"):
        raise RuntimeError("\n".join(page.text(each) for each in range(cell + 1)))
    found: dict[str, Any] = json.loads(last[0])
    return found
