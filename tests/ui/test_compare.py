"""A comparison in a real JupyterLab: side by side, stopped, both themes, through a reload, with no kernel."""

import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import BrowserContext, Locator

from tools.lab_page import LabPage
from tools.lab_server import LabServer

GRID = 1
LOAD = "%load_ext llama_nb\n%llama load cria"
ASK = "%%llama compare c << cria cria:nf4 --temperature 0,1.5 --max-tokens 40\nTell me a short story."
FAKE = "%load_ext llama_nb\nfrom tests.magics import fake\nfake.install(pace_s={pace})"
LONG = "%%llama compare c << --seeds 4 --temperature 1 --max-tokens 2000\ncount 2000"
KEPT = "print(c.stopped, c.cells[0].text[:4] == '1 2 ', c.cells[3].state)"
HOSTILE = "<img src=x onerror=window.__hostile=1><script>window.__hostile=2</script>"


def find(page: LabPage, selector: str) -> Locator:
    return page.page.locator(f".llama-nb-compare {selector}")


def cell(page: LabPage, number: int) -> Locator:
    return find(page, ".llama-nb-compare-cell").nth(number - 1)


def answer_length(page: LabPage, number: int) -> int:
    return len(cell(page, number).locator(".llama-nb-compare-answer").inner_text())


@pytest.fixture
def running(page: LabPage, notebook: Callable[..., str]) -> LabPage:
    """A comparison of four long answers that is on its way."""
    page.open(notebook(FAKE.format(pace=0.02), LONG, KEPT))
    page.run_cell(0)
    begin(page)
    return page


def begin(page: LabPage) -> None:
    page.start_cell(GRID)
    page.wait_until(lambda: cell(page, 1).count() and answer_length(page, 1) > 20, "an answer that grows")


def assert_stopped(page: LabPage, at_least: int) -> None:
    page.wait_cell(GRID)
    page.wait_for_text(GRID, "stopped")
    assert answer_length(page, 1) >= at_least
    assert "not begun" in cell(page, 4).inner_text()
    assert "Interrupted" in page.text(GRID)
    assert not find(page, ".llama-nb-compare-stop").is_visible()
    page.run_cell(2)
    assert page.text(2) == "True True skipped"


def focus_by_tab(page: LabPage, class_name: str) -> None:
    """Press Tab until an element of this class has the focus."""
    for _ in range(15):
        if class_name in str(page.page.evaluate("document.activeElement.className")):
            return
        page.page.keyboard.press("Tab")
    raise AssertionError(f"{class_name} is not reached")


def test_answers_stand_side_by_side_with_their_differences_and_shades(
    page: LabPage, notebook: Callable[..., str], tmp_path: Path
) -> None:
    page.open(notebook(LOAD, ASK, "print(len(c.kl(2)))"))
    page.run_cell(0)
    page.run_cell(GRID)
    page.wait_for_text(GRID, "4 of 4 answered")
    first, beside, below = (cell(page, number).bounding_box() or {} for number in (1, 2, 3))
    assert first["y"] == beside["y"] < below["y"]
    assert first["x"] < beside["x"]
    assert find(page, "thead th").all_inner_texts() == ["cria", "cria:nf4"]
    assert find(page, "tbody th").all_inner_texts() == ["temperature 0", "temperature 1.5"]
    whole = page.page.locator(".llama-nb-compare").bounding_box() or {}
    assert whole["width"] <= 620
    assert whole["height"] <= 480
    keyboard = page.page.keyboard
    grounds = set()
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        page.theme(theme)
        page.page.screenshot(path=tmp_path / f"answers {theme}.png")
        grounds.add(
            page.page.locator(".llama-nb-compare").evaluate("el => getComputedStyle(el).backgroundColor")
        )
        find(page, ".llama-nb-compare-scroll").focus()
        focus_by_tab(page, "llama-nb-compare-shading")
        keyboard.press("Enter")
        chips = cell(page, 2).locator("[role=option]:visible")
        assert chips.count() == 40
        assert cell(page, 1).locator("[role=option]:visible").count() == 0
        chips.nth(0).focus()
        keyboard.press("Home")
        keyboard.press("ArrowRight")
        keyboard.press("Enter")
        said = cell(page, 2).locator(".llama-nb-compare-readout").inner_text()
        assert said.startswith("token 1")
        assert said.endswith("nats")
        page.page.screenshot(path=tmp_path / f"shades {theme}.png")
        find(page, ".llama-nb-compare-shading").click()
        assert chips.count() == 0
    assert len(grounds) == 2
    assert page.cells() == 3
    page.run_cell(2)
    assert page.text(2) == "40"
    assert not [line for line in page.console if "error" in line.lower()]
    page.shut_down()


def test_it_streams_and_the_button_stops_it_by_mouse_and_by_keyboard(running: LabPage) -> None:
    page = running
    before = answer_length(page, 1)
    page.wait_until(lambda: answer_length(page, 1) > before, "an answer that goes on")
    assert cell(page, 2).inner_text().split()[-1] == "waits"
    find(page, ".llama-nb-compare-stop").click()
    assert_stopped(page, before)
    begin(page)
    find(page, ".llama-nb-compare-stop").wait_for()
    find(page, ".llama-nb-compare-scroll").focus()
    page.page.keyboard.press("Shift+Tab")
    focus_by_tab(page, "llama-nb-compare-stop")
    page.page.keyboard.press("Enter")
    assert_stopped(page, 20)
    assert page.cells() == 3
    page.shut_down()


def test_a_reload_in_the_middle_comes_back_to_all_answers(running: LabPage) -> None:
    page = running
    page.save()
    page.reload()
    # While the cell blocks, the kernel answers no new page: the twin is there, and the widget at the end.
    assert "4 answers of" in page.text(GRID)
    page.interrupt()
    page.wait_until(lambda: find(page, ".llama-nb-compare-cell").count() == 4, "the widget")
    page.wait_for_text(GRID, "stopped")
    assert cell(page, 1).locator(".llama-nb-compare-answer").inner_text().startswith("1 2 3 ")
    page.wait_until(lambda: "not begun" in json.dumps(page.outputs(GRID)), "a twin that says so")
    page.shut_down()


@pytest.mark.full
def test_it_can_be_read_without_its_kernel(
    page: LabPage, context: BrowserContext, lab: LabServer, notebook: Callable[..., str]
) -> None:
    page.open(notebook(FAKE.format(pace=0), "%%llama compare --seeds 2 --temperature 1\ncount 30"))
    page.run_cell(0)
    page.run_cell(GRID)
    page.wait_for_text(GRID, "2 of 2 answered")
    page.wait_until(lambda: "the same as 1" in json.dumps(page.outputs(GRID)), "a twin with everything")
    path = page.save()
    page.shut_down()
    page.page.close()
    saved = nbformat.read(path, as_version=4)
    saved.cells.append(nbformat.v4.new_markdown_cell("Changed by another hand."))
    nbformat.write(saved, lab.work / "compare-untrusted.ipynb")
    for name in (path.name, "compare-untrusted.ipynb"):
        again = LabPage(context.new_page(), lab)
        again.open(name, kernel=False)
        again.wait_for_text(GRID, "2 answers of fake")
        again.page.wait_for_timeout(1000)
        shown = again.text(GRID)
        assert "Error displaying widget" not in shown
        assert "28 29 30" in shown
        assert "the same as 1" in shown
        assert again.page.locator(".llama-nb-compare:visible").count() == 0
        assert not again.foreign
        again.shut_down()
        again.page.close()


def test_hostile_text_is_only_shown(page: LabPage, notebook: Callable[..., str]) -> None:
    install = "%load_ext llama_nb\nfrom tests.ui import scripted\nscripted.install()"
    page.open(notebook(install, f"%%llama compare --seeds 2 --temperature 1 --raw --system hi\n{HOSTILE}"))
    page.run_cell(0)
    page.run_cell(GRID)
    page.wait_for_text(GRID, "2 of 2 answered")
    assert cell(page, 1).locator(".llama-nb-compare-answer").inner_text() == HOSTILE
    page.page.wait_for_timeout(1500)
    assert page.page.evaluate("window.__hostile === undefined")
    assert find(page, ":is(img, script)").count() == 0
    assert not page.foreign
    assert not page.dialogs
    page.shut_down()
