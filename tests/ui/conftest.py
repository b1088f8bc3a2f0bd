"""A real JupyterLab and a real Chromium for the tests of this folder.

Server and browser are shared by the tests of a process; each test has a fresh page.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.models import write_random_llama
from tests.ui.canary import Canary
from tools.lab_page import LabPage, launch
from tools.lab_server import LabServer


def pytest_itemcollected(item: pytest.Item) -> None:
    if Path(__file__).parent in item.path.parents:
        item.add_marker(pytest.mark.ui)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with LabServer(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def canary() -> Iterator[Canary]:
    with Canary() as server:
        yield server


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, lab: LabServer) -> LabPage:
    return LabPage(context.new_page(), lab)


@pytest.fixture
def notebook(lab: LabServer, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Write a notebook of code cells into the server's folder and return its name."""

    def write(*cells: str, name: str = "") -> str:
        name = name or f"{request.node.name}.ipynb"
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(made, lab.work / name)
        return name

    return write


@pytest.fixture(scope="session")
def slow_llama(tmp_path_factory: pytest.TempPathFactory, llama3_tokenizer: Path) -> Path:
    """A random Llama whose replies are gibberish and long: its end token is one of 128,256."""
    folder = tmp_path_factory.mktemp("models") / "gibberish"
    return write_random_llama(
        folder, tokenizer_from=llama3_tokenizer, layers=3, hidden=32, context=8192, tie=True
    )
