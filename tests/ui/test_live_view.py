"""Live views in a real JupyterLab: live while the model exists, readable in every other state.

The widget is the smallest that stands in an output: a number that the kernel counts up, and its twin.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

from tools.lab_page import LabPage
from tools.lab_server import LabServer

SETUP = "%load_ext llama_nb\nfrom tests.ui.counter import Counter"
SHOW = "counter = Counter(value=3)\ncounter"
VIEW = "application/vnd.llama-nb.view+json"
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def shown(page: LabPage, notebook: Callable[..., str]) -> Iterator[LabPage]:
    """A page that shows the live counter in cell 1."""
    page.open(notebook(SETUP, SHOW, "counter.count()"))
    page.run_cell(0)
    page.run_cell(1)
    page.wait_for_text(1, "live 3")
    yield page
    page.shut_down()


def twin_only(page: LabPage, text: str) -> None:
    page.wait_for_text(1, text)
    assert "live" not in page.text(1)
    assert "Error displaying widget" not in page.text(1)
    assert "Loading widget" not in page.text(1)


def test_live_and_not_twice(shown: LabPage) -> None:
    assert "counted to" not in shown.text(1)
    shown.run_cell(2)
    shown.wait_for_text(1, "live 4")


def test_the_saved_twin_follows(shown: LabPage) -> None:
    shown.run_cell(2)
    shown.wait_until(
        lambda: shown.outputs(1)[0]["data"]["text/plain"] == "counted to 4", "the twin in the output"
    )
    assert shown.outputs(1)[0]["output_type"] == "execute_result"
    assert "live 4" in shown.text(1)
    saved = nbformat.read(shown.save(), as_version=4)
    assert "counted to 4" in saved.cells[1].outputs[0].data["text/html"]


def test_the_kernel_is_restarted(shown: LabPage) -> None:
    shown.evaluate("panel => panel.sessionContext.session.kernel.restart()")
    twin_only(shown, "counted to 3")
    shown.wait_for_kernel()
    twin_only(shown, "counted to 3")
    shown.run_cell(0)
    shown.run_cell(1)
    shown.wait_for_text(1, "live 3")


def test_the_kernel_is_shut_down(shown: LabPage) -> None:
    shown.shut_down()
    twin_only(shown, "counted to 3")


def test_the_widget_is_closed(shown: LabPage) -> None:
    shown.evaluate(
        "panel => panel.sessionContext.session.kernel.requestExecute({code: 'counter.close()'}).done"
    )
    twin_only(shown, "counted to 3")


def test_a_page_loaded_again_is_live_again(shown: LabPage) -> None:
    shown.save()
    shown.reload()
    shown.wait_for_text(1, "live 3")
    shown.wait_for_kernel()
    shown.run_cell(2)
    shown.wait_for_text(1, "live 4")
    shown.wait_until(
        lambda: shown.outputs(1)[0]["data"]["text/plain"] == "counted to 4", "the twin in the output"
    )


@pytest.fixture
def saved(shown: LabPage) -> Path:
    shown.run_cell(2)
    shown.wait_until(lambda: shown.outputs(1)[0]["data"]["text/plain"] == "counted to 4", "the twin")
    path = shown.save()
    assert {VIEW, WIDGET, "text/html", "text/plain"} == set(shown.outputs(1)[0]["data"])
    shown.shut_down()
    return path


@pytest.mark.parametrize("kernel", [False, True], ids=["no kernel", "another kernel"])
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
def test_reopened(saved: Path, page: LabPage, lab: LabServer, trusted: bool, kernel: bool) -> None:
    if trusted:
        lab.run("trust", saved.name)
    else:
        notebook = nbformat.read(saved, as_version=4)
        notebook.cells.append(nbformat.v4.new_markdown_cell("Changed by another hand."))
        nbformat.write(notebook, saved)
    page.open(saved.name, kernel=kernel)
    twin_only(page, "counted to 4")
    assert page.evaluate("panel => panel.content.widgets[1].model.trusted") == trusted
    # Long enough for the widget manager to have looked for the model, and not found it.
    page.page.wait_for_timeout(2500)
    twin_only(page, "counted to 4")


def test_an_untrusted_twin_passes_the_pages_sanitizer(page: LabPage, lab: LabServer) -> None:
    hostile = "<b>bold</b><img src=x onerror='window.__hostile = 1'><script>window.__hostile = 1</script>"
    data = {VIEW: {"schema": 1, "model_id": "x"}, WIDGET: {"model_id": "x"}, "text/html": hostile}
    output = nbformat.v4.new_output("display_data", data={**data, "text/plain": "bold"})
    cells = [nbformat.v4.new_code_cell("1"), nbformat.v4.new_code_cell("2", outputs=[output])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), lab.work / "hostile-live.ipynb")
    page.open("hostile-live.ipynb", kernel=False)
    twin_only(page, "bold")
    page.page.wait_for_timeout(1000)
    assert page.page.evaluate("window.__hostile") is None
    assert "onerror" not in page.html(1)
    assert "<script" not in page.html(1)


@pytest.mark.parametrize(
    "data",
    [
        {VIEW: {}, "text/plain": "a text"},
        {VIEW: "x", WIDGET: 3, "text/plain": "a text"},
        {VIEW: None, WIDGET: {"model_id": {"a": 1}}, "text/plain": "a text"},
        {VIEW: {"schema": 9}, WIDGET: {}, "text/plain": "a text"},
    ],
)
def test_records_that_nobody_of_ours_wrote(page: LabPage, lab: LabServer, data: dict[str, object]) -> None:
    output = nbformat.from_dict({"output_type": "display_data", "metadata": {}, "data": data})
    cells = [nbformat.v4.new_code_cell("1"), nbformat.v4.new_code_cell("2", outputs=[output])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), lab.work / "odd-live.ipynb")
    lab.run("trust", "odd-live.ipynb")
    page.open("odd-live.ipynb", kernel=False)
    twin_only(page, "a text")
