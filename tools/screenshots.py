"""Take the README's pictures in a real JupyterLab: `python -m tools.screenshots`. They go to docs/images/."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

from tools.lab_page import LabPage, launch
from tools.lab_server import ROOT, LabServer

IMAGES = ROOT / "docs" / "images"
SIZE = {"width": 1000, "height": 720}
CHAT = (
    "%load_ext llama_nb\n%llama set temperature 0\n%llama load cria",
    "%%llama\nWhat is grouped-query attention?",
    '%llama chat "What is 17 + 25?"',
    "%llama tokens What is grouped-query attention?",
)
PLAN = ("%load_ext llama_nb", "%llama plan llama-3.1-8b-instruct --gpus T4")
LOAD = ("%load_ext llama_nb", "%llama load")
SCENES = {"chat": CHAT, "plan": PLAN, "load": LOAD}
THEMES = {"": "JupyterLab Light", "-dark": "JupyterLab Dark"}


def main() -> int:
    """Run a notebook of a few cells for each scene and take one picture of it a theme."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        LabServer(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = launch(playwright.chromium)
        for scene, cells in SCENES.items():
            page = LabPage(browser.new_context(viewport=SIZE, device_scale_factor=2).new_page(), server)
            take(page, server, scene, cells)
        browser.close()
    return 0


def take(page: LabPage, server: LabServer, scene: str, cells: Sequence[str]) -> None:
    """Run `cells` in a notebook of their own and write its pictures."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, server.work / f"{scene}.ipynb")
    page.open(f"{scene}.ipynb")
    # The picture is of the notebook: no file browser, no tab of the right-hand side.
    page.command("application:toggle-left-area")
    page.run_all()
    failed = [
        index for index in range(page.cells()) if '"output_type": "error"' in json.dumps(page.outputs(index))
    ]
    if failed:
        raise SystemExit(f"a cell failed: {page.text(failed[0])}")
    page.evaluate("panel => { panel.content.activeCellIndex = 0; panel.content.node.scrollTop = 0; }")
    for suffix, theme in THEMES.items():
        page.theme(theme)
        page.page.wait_for_timeout(500)
        path = IMAGES / f"{scene}{suffix}.png"
        page.page.screenshot(path=path)
        print(f"wrote {path.relative_to(ROOT)}")
    page.shut_down()


if __name__ == "__main__":
    sys.exit(main())
