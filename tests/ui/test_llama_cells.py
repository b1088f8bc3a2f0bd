"""`%%llama` cells in JupyterLab: the message is prose, not Python."""

import nbformat
from playwright.sync_api import Locator

from tools.lab_page import LabPage
from tools.lab_server import LabServer

MESSAGE = "What is in a token, and why is it not a word?"


def editor(page: LabPage, index: int) -> Locator:
    """The editor of a code cell."""
    return page.page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(index)


def coloured(page: LabPage, index: int) -> list[str]:
    """The pieces of the cell's last line that its language draws differently."""
    line = editor(page, index).locator(".cm-line").last
    return [text for text in line.locator("span").all_inner_texts() if text.strip()]


def test_a_message_is_drawn_as_prose(page: LabPage, lab: LabServer) -> None:
    cells = [
        nbformat.v4.new_code_cell(f"%%llama\n{MESSAGE}"),
        nbformat.v4.new_code_cell("x = 1\nx is not None"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), lab.work / "prose.ipynb")
    page.open("prose.ipynb")
    assert "is" in "".join(coloured(page, 1))
    assert editor(page, 0).locator(".llama-nb-body").inner_text() == MESSAGE
    assert coloured(page, 0) == []
