"""Our explorer in a real JupyterLab: bytes on its websocket, seconds until it answers, memory of both sides.

A cell captures the attention of a text; the next one shows it. Everything is timed from the start of that
second cell in the page, with what the kernel computes for it.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser

from benchmarks.attention_page import PAINTED
from benchmarks.attention_watch import Memory, renderers
from benchmarks.lab import MOST_S, Frames, notebook, printed, wait
from tools.lab_page import LabPage

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
    with notebook(cells, threads) as (browser, page, frames):
        return _look(browser, page, frames)


def _look(browser: Browser, page: LabPage, frames: Frames) -> Seen:
    page.run_cell(0)
    page.run_cell(1, MOST_S)
    seen = Seen(read=printed(page, 1))
    page.wait_for_kernel()
    frames.forget()
    with Memory(lambda: renderers(browser)) as memory:
        begun = time.perf_counter()
        page.start_cell(2)
        wait(page, _DRAWN)
        page.page.evaluate(PAINTED)
        page.page.locator(".llama-nb-att").hover(
            position={"x": 5, "y": 5}
        )  # at no token, which asks for more
        seen.interactive_s, seen.interactive_bytes = time.perf_counter() - begun, frames.total
        wait(page, _EXACT)
        seen.exact_s, seen.exact_bytes = time.perf_counter() - begun, frames.total
    seen.page = memory.grown
    _zoom(page, frames, seen)
    page.run_cell(3)
    seen.kernel = printed(page, 3)["memory"]
    return seen


def _zoom(page: LabPage, frames: Frames, seen: Seen) -> None:
    """Zoom in with the keyboard; kept is the longest wait for a map of a window of at most `ZOOMED`."""
    page.page.locator(".llama-nb-att-map").first.focus()
    span = float(seen.read["tokens"])
    while span > FINEST:
        frames.forget()
        begun = time.perf_counter()
        page.page.keyboard.press("+")
        page.page.wait_for_timeout(SETTLED_MS)
        span /= STEP
        tiles = [(when - begun, len(data)) for when, data in frames.seen if b'"tile_info"' in data]
        if span <= ZOOMED and tiles:
            seen.zoom_s = max(seen.zoom_s, tiles[-1][0])
            seen.zoom_bytes = max(seen.zoom_bytes, *(size for _, size in tiles))
