"""A page of a peer in headless Chromium: when it is drawn and answers, and the memory that it takes.

The page comes from this machine. Scripts that it asks of a CDN come from `node_modules` of the peers' folder
where that has them, else from the CDN; their bytes are counted with it.
"""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.attention_watch import MOST_S, Memory, NotFinished, renderers
from tools.lab_page import launch

# What is there when a peer has drawn its view: the lines or pictures of one layer's heads.
DRAWN: Final = {
    "bertviz": "document.querySelectorAll('#vis svg line').length > 0",
    "circuitsvis": "document.querySelectorAll('[id^=circuits-vis] canvas').length > 0",
}
# Two frames after it is drawn the page has painted it, if its main thread is free.
PAINTED: Final = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
_PAINTED: Final = (
    "() => {{ if ({}) window.frames_drawn = (window.frames_drawn ?? 0) + 1; "
    "return window.frames_drawn > 2; }}"
)
_SCRIPTS: Final = {
    "require.min.js": "requirejs/require.js",
    "d3.min.js": "d3/dist/d3.min.js",
    "jquery.min.js": "jquery/dist/jquery.min.js",
}


@dataclass(frozen=True)
class Opened:
    """A page that is interactive: bytes, seconds from its address to that, and by how much memory grew."""

    bytes: int
    seconds: float
    memory: int


def open_page(page: Path, peer: str, peers: Path) -> Opened:
    """Open a peer's page and wait until it is drawn, painted, and takes the mouse.

    Raises
    ------
    NotFinished
        If that takes more than `MOST_S`.
    """
    from playwright.sync_api import Error, sync_playwright

    fetched: list[int] = []
    with _served(page.parent) as origin, sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        tab = browser.new_page()
        tab.set_default_timeout(MOST_S * 1000)
        tab.route("**/*", lambda route: _script(route, origin, peers, fetched))
        tab.goto(f"{origin}/empty")
        with Memory(lambda: renderers(browser)) as memory:
            begun = time.perf_counter()
            try:
                tab.goto(f"{origin}/{page.name}", wait_until="commit")
                # Nothing else here has a time limit of its own where the page's thread does not answer.
                tab.wait_for_function(_PAINTED.format(DRAWN[peer]), polling="raf")
                tab.locator("body").hover(position={"x": 200, "y": 60})
            except Error as error:
                memory.kill()  # a page of gigabytes that never answers cannot be closed in time
                left = MOST_S - (time.perf_counter() - begun)
                raise NotFinished(f"{MOST_S} s" if left <= 1 else str(error).splitlines()[0]) from None
            seconds = time.perf_counter() - begun
        if seconds > MOST_S:
            raise NotFinished(f"{MOST_S} s")
        browser.close()
    return Opened(page.stat().st_size + sum(fetched), seconds, memory.grown)


def _script(route: Any, origin: str, peers: Path, fetched: list[int]) -> None:
    """Answer what the page asks of other hosts."""
    url = route.request.url
    if url.startswith(origin):
        route.continue_()
        return
    known = peers / "node_modules" / _SCRIPTS.get(url.rsplit("/", 1)[-1], "-")
    body = known.read_bytes() if known.is_file() else route.fetch().body()
    fetched.append(len(body))
    route.fulfill(body=body, content_type="text/javascript")


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder on 127.0.0.1."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
