"""The harness itself: cells run, outputs are read, files are saved, and the canary sings when called."""

import urllib.request
from collections.abc import Callable

import nbformat

from tests.ui.canary import Canary
from tools.lab_page import LabPage


def test_a_cell_runs_and_is_saved(page: LabPage, notebook: Callable[..., str]) -> None:
    page.open(notebook("print(6 * 7)", "1 + 1", name="plain.ipynb"))
    page.run_all()
    assert page.text(0) == "42"
    assert page.outputs(1)[0]["data"]["text/plain"] == "2"
    saved = nbformat.read(page.save(), as_version=4)
    assert saved.cells[0].outputs[0].text == "42\n"
    assert not page.foreign
    page.shut_down()


def test_a_page_that_is_not_saved_can_be_left(page: LabPage, notebook: Callable[..., str]) -> None:
    page.open(notebook("1 + 1", name="unsaved.ipynb"))
    page.page.locator(".jp-Cell .cm-content").first.click()
    page.page.keyboard.type("2 + ")
    page.reload()
    assert not page.dialogs
    page.shut_down()


def test_the_canary_records_what_is_fetched(canary: Canary) -> None:
    urllib.request.urlopen(f"{canary.origin}/seen", timeout=10).close()
    assert canary.hits.pop() == "GET /seen"
