"""Hostile text in a real page runs nothing and fetches nothing: live, saved, trusted, untrusted, converted.

It goes the real way, as message, system prompt and answer: session, live widget, saved bundle. A build with a
planted innerHTML must be noticed by the same detector.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser

from tests.hostile.corpus import cases
from tests.ui.canary import Canary
from tools.lab_page import LabPage
from tools.lab_server import ROOT, LabServer

SETUP = "%load_ext llama_nb\nfrom tests.ui import scripted\nmodel = scripted.install()"
BATCH = 30
FEW = 6
# Time for an image's error handler to run, or a fetch to arrive.
SETTLE_MS = 1500
TEXT_NODE = "document.createTextNode("
PLANTED = '(text=>{const made=document.createElement("span");made.innerHTML=text;return made})('


def write_notebook(lab: LabServer, canary: Canary, name: str, first: int, end: int) -> str:
    says = [
        f"scripted.say(model, {canary.origin!r}, {start}, {min(start + BATCH, end)})"
        for start in range(first, end, BATCH)
    ]
    cells = [nbformat.v4.new_code_cell(cell) for cell in (SETUP, *says)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), lab.work / name)
    return name


def evidence(page: LabPage, canary: Canary) -> list[str]:
    """Whatever shows that a text ran or that something was fetched; empty is good."""
    page.page.wait_for_timeout(SETTLE_MS)
    ran = page.page.evaluate("window.__hostile === undefined ? [] : ['window.__hostile is set']")
    found = [*ran, *canary.hits, *page.foreign, *page.dialogs]
    canary.hits.clear()
    return found


def run(page: LabPage, name: str) -> None:
    page.open(name)
    page.run_cell(0)
    for index in range(1, page.cells()):
        page.run_cell(index, seconds=240)
        assert not [output for output in page.outputs(index) if output["output_type"] == "error"]


@pytest.fixture(scope="module")
def new_page(browser: Browser, lab: LabServer) -> Iterator[Callable[[], LabPage]]:
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    yield lambda: LabPage(context.new_page(), lab)
    context.close()


@pytest.fixture(scope="module")
def saved(new_page: Callable[[], LabPage], lab: LabServer, canary: Canary) -> tuple[Path, list[str]]:
    """A saved notebook that shows every case, and what happened while it was made."""
    count = len(cases(canary.origin))
    page = new_page()
    run(page, write_notebook(lab, canary, "hostile.ipynb", 0, count))
    page.wait_until(lambda: replies_shown(page) == count, f"{count} replies")
    found = evidence(page, canary)
    path = page.save()
    page.shut_down()
    page.page.close()
    return path, found


def replies_shown(page: LabPage) -> int:
    return int(page.evaluate("panel => panel.content.node.querySelectorAll('.llama-nb-reply').length"))


def test_live(saved: tuple[Path, list[str]]) -> None:
    assert saved[1] == []


def test_reopened_trusted(
    saved: tuple[Path, list[str]], new_page: Callable[[], LabPage], lab: LabServer, canary: Canary
) -> None:
    lab.run("trust", saved[0].name)
    page = new_page()
    page.open(saved[0].name, kernel=False)
    page.wait_until(lambda: replies_shown(page) == len(cases("")), "every reply")
    assert page.trusted()
    assert evidence(page, canary) == []
    page.shut_down()


def test_reopened_untrusted(
    saved: tuple[Path, list[str]], new_page: Callable[[], LabPage], lab: LabServer, canary: Canary
) -> None:
    notebook = nbformat.read(saved[0], as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("Changed by another hand."))
    nbformat.write(notebook, lab.work / "hostile-untrusted.ipynb")
    page = new_page()
    page.open("hostile-untrusted.ipynb", kernel=False)
    page.wait_until(lambda: replies_shown(page) == len(cases("")), "every reply")
    assert not page.trusted()
    assert evidence(page, canary) == []
    page.shut_down()


@pytest.mark.parametrize("keep", ["text/html", "text/plain"])
def test_without_our_extension_the_twins_are_as_safe(
    saved: tuple[Path, list[str]], new_page: Callable[[], LabPage], lab: LabServer, canary: Canary, keep: str
) -> None:
    notebook = nbformat.read(saved[0], as_version=4)
    for cell in notebook.cells:
        for output in cell.outputs:
            if "data" in output:
                output.data = {kind: data for kind, data in output.data.items() if kind == keep}
    name = f"hostile-{keep.replace('/', '-')}.ipynb"
    nbformat.write(notebook, lab.work / name)
    lab.run("trust", name)
    page = new_page()
    page.open(name, kernel=False)
    assert page.trusted()
    assert evidence(page, canary) == []
    page.shut_down()


def test_converted_to_html(
    saved: tuple[Path, list[str]], new_page: Callable[[], LabPage], lab: LabServer, canary: Canary
) -> None:
    nbformat.write(nbformat.v4.new_notebook(), lab.work / "empty.ipynb")
    loaded: dict[str, set[str]] = {}
    for name in ("empty", saved[0].stem):
        lab.run("nbconvert", "--to", "html", "--log-level=ERROR", f"{name}.ipynb")
        page = new_page()
        page.page.goto((lab.work / f"{name}.html").as_uri(), wait_until="domcontentloaded")
        found = {what for what in evidence(page, canary) if not what.startswith("file:")}
        loaded[name] = found
        page.page.close()
    # nbconvert's own template asks for scripts; what our outputs add to that is nothing.
    assert loaded[saved[0].stem] <= loaded["empty"]


def plant(folder: Path) -> Path:
    """Copy the package into `folder` with innerHTML in place of text nodes, and return the folder."""
    copied = shutil.copytree(
        ROOT / "llama_nb", folder / "llama_nb", ignore=shutil.ignore_patterns("*.safetensors", "__pycache__")
    )
    for built in (copied / "widgets" / "static", copied / "labextension" / "static"):
        texts = {path: path.read_text(encoding="utf-8") for path in built.glob("*.js")}
        assert any(TEXT_NODE in text for text in texts.values()), f"nothing to plant in {built.name}"
        for path, text in texts.items():
            path.write_text(text.replace(TEXT_NODE, PLANTED), encoding="utf-8")
    return folder


def test_a_planted_innerhtml_is_noticed(browser: Browser, tmp_path: Path, canary: Canary) -> None:
    with LabServer(tmp_path / "lab", package_parent=plant(tmp_path)) as lab:
        context = browser.new_context()
        page = LabPage(context.new_page(), lab)
        # Event handlers run when innerHTML sets them, and leave the page where it is.
        first = next(index for index, case in enumerate(cases("")) if case.name.startswith("handler"))
        name = write_notebook(lab, canary, "planted.ipynb", first, first + FEW)
        run(page, name)
        assert evidence(page, canary), "the live view"
        path = page.save()
        page.shut_down()
        page.page.close()
        again = LabPage(context.new_page(), lab)
        again.open(path.name, kernel=False)
        again.wait_until(lambda: replies_shown(again) == FEW, "every reply")
        assert evidence(again, canary), "the saved reply"
        again.shut_down()
        context.close()
