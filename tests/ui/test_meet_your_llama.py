"""Notebook 1 as a reader has it: in JupyterLab, all cells, both themes; saved, closed and opened again."""

import shutil
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import BrowserContext

from tools.lab_page import LabPage
from tools.lab_server import LabServer

NAME = "01_meet_your_llama.ipynb"
WIDGET = "application/vnd.jupyter.widget-view+json"
REPLY = "application/vnd.llama-nb.reply+json"


@pytest.fixture
def opened(page: LabPage, lab: LabServer, root: Path, request: pytest.FixtureRequest) -> LabPage:
    """The notebook without its stored outputs, open and with a kernel."""
    name = f"{request.node.name}.ipynb"
    notebook = nbformat.read(root / "notebooks" / NAME, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, lab.work / name)
    page.open(name)
    return page


def code_cells(page: LabPage) -> list[int]:
    kinds = page.evaluate("panel => panel.content.widgets.map(cell => cell.model.type)")
    return [index for index, kind in enumerate(kinds) if kind == "code"]


def conversation(path: Path) -> list[str]:
    """What a reader must be able to read: the answers in the saved file."""
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.data[REPLY]["text"] for output in outputs if REPLY in output.get("data", {})]


def spoken(text: str) -> str:
    """The words of a Markdown text, as any rendering shows them."""
    return " ".join(text.replace("*", "").replace("`", "").split())


def test_it_runs_and_can_be_read_afterwards(
    opened: LabPage, context: BrowserContext, lab: LabServer, tmp_path: Path
) -> None:
    page = opened
    page.run_all()
    cells = code_cells(page)
    outputs = {index: page.outputs(index) for index in cells}
    assert not [output for found in outputs.values() for output in found if output["output_type"] == "error"]
    assert not [output for found in outputs.values() for output in found if WIDGET in output.get("data", {})]
    page.theme("JupyterLab Dark")
    page.page.screenshot(path=tmp_path / "dark.png")
    path = page.save()
    answers = conversation(path)
    assert len(answers) >= 8
    page.shut_down()
    page.page.close()
    assert not page.foreign

    trusted = LabPage(context.new_page(), lab)
    lab.run("trust", path.name)
    read(trusted, path.name, answers)
    assert trusted.trusted()
    shutil.copyfile(path, lab.work / "untrusted.ipynb")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source += "\n\nChanged by another hand."
    nbformat.write(notebook, lab.work / "untrusted.ipynb")
    untrusted = LabPage(context.new_page(), lab)
    read(untrusted, "untrusted.ipynb", answers)
    assert not untrusted.trusted()


def read(page: LabPage, name: str, answers: list[str]) -> None:
    """Open a notebook without running anything; every answer can be read."""
    page.open(name, kernel=False)
    page.page.wait_for_timeout(1500)
    shown = page.evaluate("panel => panel.content.node.innerText")
    assert "Error displaying widget" not in shown
    missing = [answer for answer in answers if spoken(answer)[:60] not in spoken(shown)]
    assert not missing
    assert not page.foreign
    page.shut_down()
