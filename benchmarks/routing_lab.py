"""Our routing explorer in a real JupyterLab: bytes on its websocket, seconds until it answers, memory.

A cell captures the routing of a text; the next one shows it. Everything is timed from the start of that
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

LOAD: Final = """
%load_ext llama_nb
import gc, json, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
import llama_nb as llama
from benchmarks.plan_child import reset_peak, resident
model = llama.load({folder!r}, dtype="float32")
_ = model.routing("One two three.")
"""
READ: Final = """
begun = time.perf_counter()
trace = model.routing(Path({text!r}).read_text())
print(json.dumps({{"seconds": time.perf_counter() - begun, "tokens": trace.length, "bytes": trace.nbytes}}))
"""
SHOW: Final = "reset_peak()\nbefore = resident()\ntrace"
AFTER: Final = 'print(json.dumps({"memory": resident("VmHWM") - before}))'
SETTLED_MS: Final = 3000

_DRAWN: Final = """() => {
    const root = document.querySelector('.llama-nb-moe');
    if (!root || root.dataset.empty !== 'false' || !root.querySelector('.llama-nb-moe-chip')) return false;
    const canvas = root.querySelector('.llama-nb-moe-cells canvas');
    if (!canvas || !canvas.width) return false;
    const drawn = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return drawn.some((value, index) => index % 4 === 3 && value > 0);
}"""
_SCORED: Final = """() => {
    const scores = document.querySelector('.llama-nb-moe-scores');
    return scores && scores.children.length > 0 && scores.getAttribute('aria-busy') === 'false';
}"""


@dataclass
class Seen:
    """What was measured: seconds, bytes to the page, memory in bytes.

    Attributes
    ----------
    interactive_s
        From the start of the cell to a painted map and tokens, on a page that takes the mouse.
    bytes
        All that the page received until nothing more came: code, style, routes, tokens, load.
    scores_s
        From pointing at a token to the scores of all experts.
    """

    read: dict[str, Any] = field(default_factory=dict)
    interactive_s: float = 0.0
    bytes: int = 0
    scores_s: float = 0.0
    page: int = 0
    kernel: int = 0


def look(folder: Path, text: Path, threads: int) -> Seen:
    """Open the explorer on a text in a fresh JupyterLab, then point at a token."""
    root = str(Path(__file__).resolve().parents[1])
    cells = (LOAD.format(root=root, folder=str(folder)), READ.format(text=str(text)), SHOW, AFTER)
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
        page.page.locator(".llama-nb-moe").hover(position={"x": 5, "y": 5})
        seen.interactive_s = time.perf_counter() - begun
        page.page.wait_for_timeout(SETTLED_MS)
        seen.bytes = frames.total
        begun = time.perf_counter()
        page.page.locator(".llama-nb-moe-chip").nth(3).hover()
        wait(page, _SCORED)
        seen.scores_s = time.perf_counter() - begun
    seen.page = memory.grown
    page.run_cell(3)
    seen.kernel = printed(page, 3)["memory"]
    return seen
