"""Take the README's pictures in a real JupyterLab: `python -m tools.screenshots`. They go to docs/images/."""

import json
import sys
import tempfile
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

from tools.lab_page import LabPage, launch
from tools.lab_server import ROOT, LabServer

IMAGES = ROOT / "docs" / "images"
SIZE = {"width": 1000, "height": 720}
CELLS = (
    "%load_ext llama_nb\n%llama set temperature 0\n%llama load cria",
    "%%llama\nWhat is grouped-query attention?",
    '%llama chat "What is 17 + 25?"',
    "%llama tokens What is grouped-query attention?",
)
THEMES = {"chat": "JupyterLab Light", "chat-dark": "JupyterLab Dark"}


def main() -> int:
    """Run a notebook of a few cells and take one picture a theme."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        LabServer(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
        nbformat.write(notebook, server.work / "llama.ipynb")
        browser = launch(playwright.chromium)
        page = LabPage(browser.new_context(viewport=SIZE, device_scale_factor=2).new_page(), server)
        page.open("llama.ipynb")
        # The picture is of the notebook: no file browser, no tab of the right-hand side.
        page.command("application:toggle-left-area")
        page.run_all()
        failed = [
            index
            for index in range(page.cells())
            if '"output_type": "error"' in json.dumps(page.outputs(index))
        ]
        if failed:
            raise SystemExit(f"a cell failed: {page.text(failed[0])}")
        page.evaluate("panel => { panel.content.activeCellIndex = 0; panel.content.node.scrollTop = 0; }")
        for name, theme in THEMES.items():
            page.theme(theme)
            page.page.wait_for_timeout(500)
            page.page.screenshot(path=IMAGES / f"{name}.png")
            print(f"wrote {(IMAGES / name).relative_to(ROOT)}.png")
        page.shut_down()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
