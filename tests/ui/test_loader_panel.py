"""The loader panel in a real JupyterLab: by keyboard, in both themes, through a reload, with no kernel."""

import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import BrowserContext, Locator

from tools.lab_page import LabPage
from tools.lab_server import LabServer

PANEL = 1
SETUP = "%load_ext llama_nb\nfrom llama_nb.session import registry"
# As if another model were being loaded.
HELD = f"{SETUP}\nfrom llama_nb.loading.turn import turn\nheld = turn(None, 'another')\nheld.__enter__()"
HOSTILE = "<img src=x onerror=window.__hostile=1>"


def find(page: LabPage, selector: str) -> Locator:
    return page.page.locator(f".llama-nb-loader {selector}").first


def opened(page: LabPage, name: str) -> LabPage:
    page.open(name)
    page.run_cell(0)
    page.run_cell(PANEL)
    find(page, "[role=option]").wait_for()
    return page


@pytest.fixture
def panel(page: LabPage, notebook: Callable[..., str]) -> LabPage:
    return opened(page, notebook(SETUP, "%llama load", "1 + 1"))


def focused(page: LabPage) -> str:
    """What has the focus, as a screen reader says it."""
    return str(
        page.page.evaluate(
            "() => { const at = document.activeElement;"
            " return at.getAttribute('aria-label') || at.value || at.textContent; }"
        )
    )


def tab_to(page: LabPage, name: str, back: bool = False) -> None:
    """Press Tab until what is called so has the focus."""
    passed = []
    for _ in range(25):
        passed.append(focused(page))
        if passed[-1] == name:
            return
        page.page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"{name!r} is not reached: {passed}")


def active_cell(page: LabPage) -> int:
    return int(page.evaluate("panel => panel.content.activeCellIndex"))


THEMES = [pytest.param("JupyterLab Light", marks=pytest.mark.full), "JupyterLab Dark"]


@pytest.mark.parametrize("theme", THEMES)
def test_a_student_gets_to_a_chat_by_keyboard_alone(panel: LabPage, tmp_path: Path, theme: str) -> None:
    page, keyboard = panel, panel.page.keyboard
    page.theme(theme)
    find(page, "[role=combobox]").focus()
    keyboard.type("3.2 1b ins")
    assert find(page, "[role=option]").inner_text().startswith("llama-3.2-1b-instruct")
    keyboard.press("Enter")
    page.wait_for_text(PANEL, "1.24 B parameters")
    assert "nothing can be downloaded" in page.text(PANEL)
    assert find(page, ".llama-nb-primary").is_disabled()
    keyboard.press("Escape")
    keyboard.type("cria")
    keyboard.press("Enter")
    page.wait_for_text(PANEL, "2.76 M parameters")

    tab_to(page, "float32")
    keyboard.press("ArrowDown")
    assert "--quant int8" in find(page, ".llama-nb-load-line").inner_text()
    keyboard.press("ArrowUp")
    tab_to(page, "1", back=True)  # the slider's position
    before = find(page, "[role=img]").get_attribute("aria-label")
    keyboard.press("ArrowLeft")
    assert find(page, "[role=img]").get_attribute("aria-label") != before
    assert find(page, ".llama-nb-load-line").inner_text() == "%llama load cria --context 512"
    assert (page.cells(), active_cell(page)) == (3, PANEL)

    tab_to(page, "Load cria")
    keyboard.press("Enter")
    page.wait_for_text(PANEL, "cria is loaded")
    page.page.screenshot(path=tmp_path / "loaded.png")
    assert "context 512" in page.text(PANEL)
    tab_to(page, "Insert a cell that begins with %%llama")
    keyboard.press("Enter")
    assert page.cells() == 4
    assert active_cell(page) == PANEL + 1
    keyboard.type("What is 1 + 1?")
    keyboard.press("Shift+Enter")
    page.wait_until(lambda: bool(page.outputs(PANEL + 1)), "a reply")
    page.wait_cell(PANEL + 1)
    assert "1 + 1" in page.text(PANEL + 1)

    find(page, "[role=combobox]").focus()
    tab_to(page, "Unload cria")
    keyboard.press("Enter")
    page.wait_for_text(PANEL, "given back")
    assert "is loaded" not in page.text(PANEL)
    page.run_cell(0)
    assert not [line for line in page.console if "error" in line.lower()]
    page.shut_down()


def test_it_opens_small_and_typing_is_for_the_panel(panel: LabPage) -> None:
    page = panel
    box = page.page.locator(".llama-nb-loader").bounding_box()
    assert box is not None
    assert box["width"] <= 640
    assert box["height"] <= 420
    find(page, "[role=combobox]").focus()
    page.page.keyboard.type("ddab")
    assert find(page, "[role=combobox]").input_value() == "ddab"
    tab_to(page, "Copy the command")
    page.page.keyboard.press("d")
    page.page.keyboard.press("d")
    page.page.keyboard.press("ArrowDown")
    assert (page.cells(), active_cell(page)) == (3, PANEL)
    page.shut_down()


@pytest.mark.full
def test_a_load_goes_on_while_a_cell_runs(page: LabPage, notebook: Callable[..., str]) -> None:
    busy = (
        "import time, llama_nb\nend = time.monotonic() + 60\n"
        "while not llama_nb.loaded() and time.monotonic() < end: time.sleep(0.1)\nlist(llama_nb.loaded())"
    )
    opened(page, notebook(SETUP, "%llama load", busy))
    page.start_cell(2)
    page.page.wait_for_timeout(500)
    find(page, ".llama-nb-primary").click()
    page.wait_cell(2)
    assert page.text(2).endswith("['cria']")
    assert len(page.outputs(2)) == 1
    page.shut_down()


def test_a_reload_in_the_middle_of_a_load_comes_back_to_it(
    page: LabPage, notebook: Callable[..., str]
) -> None:
    opened(page, notebook(HELD, "%llama load", "held.__exit__(None, None, None)"))
    find(page, ".llama-nb-primary").click()
    page.wait_for_text(PANEL, "Waiting until another model is loaded")
    page.save()
    page.reload()
    page.wait_for_text(PANEL, "Waiting until another model is loaded")
    find(page, "button:has-text('Cancel')").click()
    page.wait_for_text(PANEL, "Cancelled")
    find(page, ".llama-nb-primary").click()
    page.wait_for_text(PANEL, "Waiting until another model is loaded")
    page.run_cell(2)
    page.wait_for_text(PANEL, "cria is loaded")
    page.shut_down()


def test_it_can_be_read_without_its_kernel(panel: LabPage, context: BrowserContext, lab: LabServer) -> None:
    page = panel
    find(page, ".llama-nb-primary").click()
    page.wait_for_text(PANEL, "cria is loaded")
    # The saved output follows within a second.
    page.wait_until(lambda: "current" in json.dumps(page.outputs(PANEL)), "a twin that names the model")
    path = page.save()
    page.shut_down()
    page.page.close()
    saved = nbformat.read(path, as_version=4)
    saved.cells.append(nbformat.v4.new_markdown_cell("Changed by another hand."))
    nbformat.write(saved, lab.work / "panel-untrusted.ipynb")
    lab.run("trust", path.name)
    for name, trusted in ((path.name, True), ("panel-untrusted.ipynb", False)):
        again = LabPage(context.new_page(), lab)
        again.open(name, kernel=False)
        again.wait_for_text(PANEL, "%llama load cria")
        again.page.wait_for_timeout(1500)
        shown = again.text(PANEL)
        assert "Error displaying widget" not in shown
        assert "float32 on cpu" in shown
        assert again.page.locator(".llama-nb-loader:visible").count() == 0
        assert again.trusted() is trusted
        assert not again.foreign
        again.shut_down()
        again.page.close()


def test_hostile_names_do_nothing(
    page: LabPage, notebook: Callable[..., str], lab: LabServer, stories260k: Path
) -> None:
    folder = lab.work / HOSTILE
    folder.mkdir()
    for path in stories260k.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    opened(page, notebook(SETUP, "%llama load"))
    find(page, "[role=combobox]").focus()
    page.page.keyboard.type(f"./{HOSTILE}")
    page.page.keyboard.press("Enter")
    page.wait_for_text(PANEL, "260 k parameters")
    find(page, ".llama-nb-primary").click()
    page.wait_for_text(PANEL, "is loaded")
    page.page.wait_for_timeout(1500)
    assert HOSTILE in page.text(PANEL)
    assert page.page.evaluate("window.__hostile === undefined")
    assert find(page, "img").count() == 0
    assert not page.foreign
    assert not page.dialogs
    page.shut_down()


def test_an_error_stands_in_the_panel_with_what_to_do(panel: LabPage) -> None:
    page = panel
    find(page, "[role=combobox]").focus()
    page.page.keyboard.type("./nope")
    page.page.keyboard.press("Enter")
    alert = find(page, "[role=alert]")
    alert.wait_for()
    assert "does not exist" in alert.inner_text()
    page.page.keyboard.press("Escape")
    page.page.keyboard.press("Enter")
    alert.wait_for(state="detached")
    page.shut_down()
