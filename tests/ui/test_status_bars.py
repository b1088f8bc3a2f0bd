"""`%llama status` in a real JupyterLab: bars that follow the kernel while they are seen."""

from collections.abc import Callable, Iterator

import nbformat
import pytest

from tools.lab_page import LabPage
from tools.lab_server import LabServer

SETUP = """
%load_ext llama_nb
from tests.magics import fake
from llama_nb.session import memory_use
model = fake.install("fake")
read, taken = [], memory_use.memory_use
def memory_use_counted():
    read.append(1)
    return taken()
memory_use.memory_use = memory_use_counted
"""
BARS = ".llama-nb-status-bars"


@pytest.fixture
def shown(page: LabPage, notebook: Callable[..., str]) -> Iterator[LabPage]:
    """A page that shows the live status in cell 1."""
    page.open(notebook(SETUP, "%llama status", "fake.install('another')", *["#"] * 30))
    page.run_cell(0)
    page.run_cell(1)
    page.page.locator(BARS).wait_for(timeout=90_000)
    yield page
    page.shut_down()


def readings(page: LabPage) -> int:
    """How often the kernel was asked; running a cell would scroll to it."""
    ask = """async panel => {
        const content = { code: '', silent: true, user_expressions: { count: 'len(read)' } };
        const reply = await panel.sessionContext.session.kernel.requestExecute(content).done;
        return reply.content.user_expressions.count.data['text/plain'];
    }"""
    return int(page.evaluate(ask))


def test_the_bars_follow_the_kernel(shown: LabPage) -> None:
    labels = [bar.get_attribute("aria-label") or "" for bar in shown.page.locator(f"{BARS} [role=img]").all()]
    assert labels[0].startswith("RAM")
    assert "free" in labels[0]
    assert "another" not in shown.text(1)
    shown.run_cell(2)
    shown.wait_for_text(1, "another", seconds=10)
    shown.wait_until(
        lambda: "another" in shown.outputs(1)[0]["data"]["text/plain"], "the twin of today in the output"
    )


def test_nothing_is_read_while_nobody_sees_it(shown: LabPage) -> None:
    shown.wait_until(lambda: readings(shown) >= 2, "a second reading", seconds=15)
    scroll = "(panel, index) => panel.content.widgets[index].node.scrollIntoView()"
    shown.evaluate(scroll, shown.cells() - 1)
    shown.page.wait_for_timeout(500)
    before = readings(shown)
    shown.page.wait_for_timeout(5000)
    assert readings(shown) == before
    shown.evaluate(scroll, 0)
    shown.wait_until(lambda: readings(shown) > before, "a reading", seconds=15)


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
def test_what_is_saved_can_be_read(shown: LabPage, lab: LabServer, trusted: bool) -> None:
    path = shown.save()
    shown.shut_down()
    shown.wait_until(lambda: shown.page.locator(BARS).count() == 0, "the twin")
    if trusted:
        lab.run("trust", path.name)
    else:
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.append(nbformat.v4.new_markdown_cell("Changed by another hand."))
        nbformat.write(notebook, path)
    shown.open(path.name, kernel=False)
    shown.wait_for_text(1, "RAM")
    text = shown.text(1)
    assert "fake" in text
    assert "free" in text
    assert "Error displaying widget" not in text
    assert shown.page.locator(BARS).count() == 0
    assert shown.foreign == []


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_is_small_in_both_themes(shown: LabPage, theme: str) -> None:
    shown.theme(theme)
    box = shown.page.locator(BARS).bounding_box()
    assert box is not None
    assert box["width"] <= 600
    assert box["height"] <= 420
