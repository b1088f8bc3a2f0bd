"""One notebook in a real JupyterLab page, driven through Playwright: open, run, read, save, shut down.

Works on JupyterLab's own objects (`window.jupyterapp`) where clicking would only test JupyterLab.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserType, Dialog, ElementHandle, Page

from tools import chromium
from tools.lab_server import LabServer

PANEL = "window.jupyterapp.shell.currentWidget"
WAIT_SECONDS = 90.0


def launch(browser_type: BrowserType) -> Browser:
    """Start the Chromium of this machine, or Playwright's own where there is none."""
    return browser_type.launch(executable_path=chromium.on_path(), args=list(chromium.ARGUMENTS))


class LabPage:
    """A notebook opened in `page`.

    Requests to any host but the server's are collected in `foreign`, dialogs in `dialogs`; only the question
    whether to leave an unsaved notebook is answered with yes.
    """

    def __init__(self, page: Page, server: LabServer) -> None:
        self.page = page
        self.server = server
        self.foreign: list[str] = []
        self.dialogs: list[str] = []
        self.console: list[str] = []
        page.context.on("request", lambda request: self._note(request.url))
        page.on("dialog", self._dismiss)
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.console.append(f"pageerror: {error}"))

    def _note(self, url: str) -> None:
        own = (self.server.origin, self.server.origin.replace("http", "ws", 1), "data:", "blob:", "about:")
        if not url.startswith(own):
            self.foreign.append(url)

    def _dismiss(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":  # "Leave the site?", of a notebook that is not saved: yes
            dialog.accept()
            return
        self.dialogs.append(f"{dialog.type}: {dialog.message}")
        dialog.dismiss()

    def open(self, notebook: str, *, kernel: bool = True) -> None:
        """Open a notebook of the server's work folder; with `kernel`, wait until its kernel is idle."""
        self.page.goto(self.server.url(notebook), wait_until="domcontentloaded")
        self.page.wait_for_function(
            f"name => window.jupyterapp && {PANEL}?.context?.isReady && {PANEL}.context.path.endsWith(name)",
            arg=notebook.rsplit("/", 1)[-1],
            timeout=WAIT_SECONDS * 1000,
        )
        if kernel:
            self.wait_for_kernel()

    def reload(self) -> None:
        """Reload the page as a user does, and wait for the notebook; the kernel lives on."""
        path = self.evaluate("panel => panel.context.path")
        self.open(path, kernel=False)

    def wait_for_kernel(self) -> None:
        """Wait until the kernel is connected and idle, and stays so for a moment.

        Run All right after the first "idle" was ignored once.
        """
        ready = f"{PANEL}.sessionContext.session?.kernel?.status === 'idle' && {PANEL}.sessionContext.isReady"
        self.page.wait_for_function(ready, timeout=WAIT_SECONDS * 1000)
        self.page.wait_for_timeout(500)
        self.page.wait_for_function(ready, timeout=WAIT_SECONDS * 1000)

    def evaluate(self, function: str, argument: Any = None) -> Any:
        """Call a JavaScript function with the notebook's panel and an argument."""
        return self.page.evaluate(f"argument => ({function})({PANEL}, argument)", argument)

    def command(self, name: str, **arguments: Any) -> None:
        """Execute a command of JupyterLab."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, arguments]
        )

    def theme(self, name: str) -> None:
        """Switch to a theme by its full name, such as "JupyterLab Dark", and wait until it is painted."""
        self.command("apputils:change-theme", theme=name)
        light = "false" if "Dark" in name else "true"
        selector = f"body[data-jp-theme-light='{light}']"
        self.page.wait_for_selector(selector, state="attached", timeout=WAIT_SECONDS * 1000)

    def cells(self) -> int:
        """Return how many cells the notebook has."""
        return int(self.evaluate("panel => panel.content.widgets.length"))

    def start_cell(self, index: int) -> None:
        """Run a cell and return at once."""
        self.evaluate(
            """(panel, index) => {
                panel.content.deselectAll();
                panel.content.activeCellIndex = index;
                window.jupyterapp.commands.execute('notebook:run-cell');
            }""",
            index,
        )
        self.page.wait_for_timeout(50)

    def run_cell(self, index: int, seconds: float = WAIT_SECONDS) -> None:
        """Run a cell and wait for its end."""
        self.start_cell(index)
        self.wait_cell(index, seconds)

    def wait_cell(self, index: int, seconds: float = WAIT_SECONDS) -> None:
        """Wait until a cell that was started is done."""
        self.page.wait_for_function(
            f"""index => {{
                const model = {PANEL}.content.widgets[index].model;
                return model.executionCount !== null && (model.executionState ?? 'idle') === 'idle';
            }}""",
            arg=index,
            timeout=seconds * 1000,
        )
        self.page.wait_for_timeout(100)

    def run_all(self, seconds: float = 3 * WAIT_SECONDS) -> None:
        """Run all cells and wait until the last one is done."""
        self.evaluate(
            "panel => { window.done = false;"
            " window.jupyterapp.commands.execute('notebook:run-all-cells')"
            ".then(() => { window.done = true; }); }"
        )
        self.page.wait_for_function("window.done === true", timeout=seconds * 1000)
        self.page.wait_for_timeout(300)

    def interrupt(self) -> None:
        """Interrupt the kernel, as the toolbar's square does, by the server: a new page may not know it."""
        path = str(self.evaluate("panel => panel.context.path"))
        headers = {"Authorization": f"token {self.server.token}"}
        api = f"{self.server.origin}/api"
        sessions = self.page.request.get(f"{api}/sessions", headers=headers).json()
        kernel = next(session["kernel"]["id"] for session in sessions if session["path"] == path)
        self.page.request.post(f"{api}/kernels/{kernel}/interrupt", headers=headers)

    def output(self, index: int) -> ElementHandle:
        """Return the element that holds a cell's outputs."""
        handle = self.page.evaluate_handle(f"index => {PANEL}.content.widgets[index].outputArea.node", index)
        element = handle.as_element()
        if element is None:
            raise AssertionError(f"cell {index} has no output area")
        return element

    def text(self, index: int) -> str:
        """Return the text that a reader sees in a cell's outputs."""
        return self.output(index).inner_text().strip()

    def html(self, index: int) -> str:
        """Return the outputs' HTML."""
        return self.output(index).inner_html()

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """Return a cell's outputs as they would be saved."""
        found: list[dict[str, Any]] = self.evaluate(
            "(panel, index) => panel.content.widgets[index].model.outputs.toJSON()", index
        )
        return found

    def read_json(self, index: int) -> Any:
        """Return what a cell printed as JSON; the page may draw it a moment after the cell's end."""
        self.wait_until(lambda: self.text(index) != "", f"an output of cell {index}")
        return json.loads(self.text(index))

    def wait_for_text(self, index: int, wanted: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until a cell's outputs show a text."""
        self.wait_until(lambda: wanted in self.text(index), f"{wanted!r} in cell {index}", seconds)

    def wait_until(self, holds: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until something of the page holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n" + "\n".join(self.console[-20:]))
            self.page.wait_for_timeout(50)

    def wait_for_input(self) -> None:
        """Wait until a cell asks for input and has the focus: what is typed before goes to the notebook."""
        self.page.wait_for_function(
            "document.activeElement?.matches('.jp-Stdin-input') === true", timeout=WAIT_SECONDS * 1000
        )

    def save(self) -> Path:
        """Save the notebook and return its path."""
        self.evaluate("panel => panel.context.save()")
        return self.server.work / str(self.evaluate("panel => panel.context.path"))

    def shut_down(self) -> None:
        """Shut the kernel down."""
        self.evaluate("panel => panel.sessionContext.shutdown()")

    def trusted(self) -> bool:
        """Whether every code cell of the notebook is trusted."""
        return bool(
            self.evaluate(
                "panel => panel.content.widgets.every("
                "cell => cell.model.type !== 'code' || cell.model.trusted)"
            )
        )
