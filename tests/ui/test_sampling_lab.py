"""The sampling laboratory in a real JupyterLab: by keyboard and mouse, in both themes, through a reload."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import BrowserContext, Locator

from tools.lab_page import LabPage
from tools.lab_server import LabServer

LAB = 2
SETUP = "%load_ext llama_nb\nimport llama_nb as llama\nm = llama.load('cria')"
ASK = "r = m.chat('Tell me a story about a llama.', seed=3, temperature=1.1, max_tokens=40)"
HOSTILE = "<img src=x onerror=window.__hostile=1><script>window.__hostile=1</script>"


def find(page: LabPage, selector: str) -> Locator:
    return page.page.locator(f".llama-nb-lab {selector}").first


def stages(page: LabPage) -> list[str]:
    cards = page.page.locator(".llama-nb-lab [data-stage]")
    return [str(name) for name in cards.evaluate_all("cards => cards.map(card => card.dataset.stage)")]


def bars(page: LabPage) -> list[str]:
    shown = page.page.locator(".llama-nb-lab .llama-nb-lab-bar-after")
    return [str(width) for width in shown.evaluate_all("bars => bars.map(bar => bar.style.width)")]


def changed(page: LabPage, before: list[str]) -> list[str]:
    page.wait_until(lambda: bars(page) != before, "other bars", 20)
    return bars(page)


def line(page: LabPage) -> str:
    return find(page, ".llama-nb-lab-line code").inner_text()


@pytest.fixture
def lab_page(page: LabPage, notebook: Callable[..., str]) -> LabPage:
    page.open(notebook(SETUP, ASK, "%llama sampling", "1 + 1"))
    for cell in range(LAB + 1):
        page.run_cell(cell)
    find(page, "tbody tr").wait_for()
    return page


def test_by_keyboard_alone_in_both_themes(lab_page: LabPage, tmp_path: Path) -> None:
    page, keyboard = lab_page, lab_page.page.keyboard
    box = page.page.locator(".llama-nb-lab").bounding_box()
    assert box is not None
    assert (box["width"] <= 640, box["height"] <= 420) == (True, True)

    find(page, ".llama-nb-lab-strip [tabindex='0']").focus()
    keyboard.press("Home")
    keyboard.press("ArrowRight")
    before = bars(page)
    keyboard.press("Enter")
    before = changed(page, before)
    assert find(page, "[aria-selected=true]").get_attribute("title").startswith("token 1:")
    find(page, "[aria-label=temperature]").focus()
    keyboard.press("End")
    changed(page, before)
    assert "--temperature 2" in line(page)
    keyboard.press("Delete")
    page.wait_until(lambda: bars(page) == before, "the bars from before", 20)
    keyboard.press("Home")
    changed(page, before)
    page.wait_for_text(LAB, "at temperature 0 the likeliest token is always taken")
    assert find(page, "[aria-label=temperature]").get_attribute("aria-valuetext") == "greedy"
    page.page.locator(".llama-nb-lab").screenshot(path=tmp_path / "light.png")

    page.theme("JupyterLab Dark")
    keyboard.press("Tab")
    keyboard.type("1.3")
    keyboard.press("Enter")
    page.wait_until(lambda: "--temperature 1.3" in line(page), "1.3", 20)
    keyboard.type("-4")
    keyboard.press("Enter")
    assert find(page, "[aria-invalid=true]").count() == 1
    keyboard.press("Escape")
    _move_look_and_apply(page)
    page.page.locator(".llama-nb-lab").screenshot(path=tmp_path / "dark.png")
    assert not [line for line in page.console if "error" in line.lower()]
    page.shut_down()


def _move_look_and_apply(page: LabPage) -> None:
    keyboard = page.page.keyboard
    find(page, "[data-stage=top_p]").focus()
    keyboard.press("Alt+ArrowLeft")
    keyboard.press("Alt+ArrowLeft")
    assert stages(page).index("top_p") < stages(page).index("temperature")
    page.wait_until(lambda: line(page).endswith(",top_p"), "an order", 20)
    assert stages(page).index("top_p") < stages(page).index("temperature")
    keyboard.press("Enter")
    assert find(page, "thead .llama-nb-lab-after").inner_text() == "top-p"
    keyboard.press("Enter")
    find(page, "button:has-text('Apply')").focus()
    keyboard.press("Enter")
    page.wait_for_text(LAB, "The session uses them")
    applied = line(page)
    find(page, "button:has-text('Insert')").focus()
    keyboard.press("Enter")
    page.wait_until(lambda: page.cells() == 5, "a new cell", 20)
    source = page.evaluate("panel => panel.content.activeCell.model.sharedModel.getSource()")
    assert str(source).strip() == applied
    page.run_cell(LAB + 1)
    assert "temperature is now 1.3" in page.text(LAB + 1)


def _some_text(page: LabPage, written: Locator) -> str:
    """Wait for a text; at a high temperature it may end at once, and then other dice are thrown."""
    for _ in range(6):
        with contextlib.suppress(AssertionError):
            page.wait_until(lambda: len(written.inner_text()) > 10, "a text", 10)
            return written.inner_text()
        find(page, "button:has-text('Roll')").click()
    raise AssertionError(f"no text in six throws: {written.inner_text()!r}")


@pytest.mark.full
def test_by_mouse_with_draws_and_a_text_that_follows(lab_page: LabPage) -> None:
    page, mouse = lab_page, lab_page.page.mouse
    before = bars(page)
    find(page, ".llama-nb-lab-strip [role=option]:nth-of-type(2)").click()
    before = changed(page, before)

    from_ = find(page, "[data-stage=top_p]").bounding_box()
    to = find(page, "[data-stage=temperature]").bounding_box()
    assert from_ is not None
    assert to is not None
    mouse.move(from_["x"] + 20, from_["y"] + 20)
    mouse.down()
    mouse.move(to["x"] + 30, to["y"] + 20, steps=6)
    mouse.move(to["x"] + 5, to["y"] + 20, steps=3)
    mouse.up()
    page.wait_until(lambda: "--order" in line(page), "an order", 20)
    assert stages(page).index("top_p") < stages(page).index("temperature")
    find(page, "button:has-text('Reset')").click()
    page.wait_until(lambda: "--order" not in line(page), "the order from before", 20)

    slider = find(page, "[aria-label=temperature]").bounding_box()
    assert slider is not None
    mouse.move(slider["x"] + slider["width"] / 2, slider["y"] + slider["height"] / 2)
    mouse.down()
    mouse.move(slider["x"] + slider["width"] - 8, slider["y"] + slider["height"] / 2, steps=12)
    mouse.up()
    changed(page, before)

    find(page, "button:has-text('1,000 draws')").click()
    page.wait_for_text(LAB, "drawn")
    drawn = page.page.locator(".llama-nb-lab tbody td:last-child")
    page.wait_until(
        lambda: sum(int(n.replace(",", "")) for n in drawn.all_inner_texts()) == 1000, "1,000", 20
    )
    find(page, "button:has-text('Write on')").click()
    written = find(page, ".llama-nb-lab-written")
    first = _some_text(page, written)
    find(page, "tbody tr:nth-child(2) button").click()
    find(page, "mark").wait_for()
    page.wait_until(lambda: written.inner_text() not in ("", first), "another text", 30)
    find(page, "select").select_option("deterministic")
    page.wait_for_text(LAB, "greedy")
    _keys_stay_and_errors_are_shown(page)
    page.shut_down()


def _keys_stay_and_errors_are_shown(page: LabPage) -> None:
    find(page, "[data-stage=top_p]").focus()
    for key in ("d", "d", "a", "b", "ArrowDown", "x"):
        page.page.keyboard.press(key)
    assert page.cells() == 4
    find(page, "input[placeholder]").fill("word " * 3000)
    page.page.keyboard.press("Enter")
    alert = find(page, "[role=alert]")
    alert.wait_for()
    assert "context" in alert.inner_text()
    find(page, "[aria-label=temperature]").focus()
    page.page.keyboard.press("ArrowRight")
    alert.wait_for(state="hidden")
    assert not page.foreign


@pytest.mark.full
def test_a_reload_comes_back_and_without_a_kernel_it_can_be_read(
    lab_page: LabPage, context: BrowserContext, lab: LabServer
) -> None:
    page = lab_page
    find(page, "[aria-label=temperature]").focus()
    page.page.keyboard.press("End")
    page.wait_until(lambda: "--temperature 2" in line(page), "2", 20)
    shown = bars(page)
    page.wait_until(lambda: "temperature 2" in json.dumps(page.outputs(LAB)), "a twin with the line")
    page.save()
    page.reload()
    find(page, "tbody tr").wait_for()
    assert bars(page) == shown
    assert find(page, "[aria-label=temperature]").get_attribute("aria-valuetext") == "2"
    page.wait_for_kernel()
    find(page, "[aria-label=temperature]").focus()
    page.page.keyboard.press("Home")
    changed(page, shown)

    path = page.save()
    page.shut_down()
    page.page.close()
    saved = nbformat.read(path, as_version=4)
    saved.cells.append(nbformat.v4.new_markdown_cell("Changed by another hand."))
    nbformat.write(saved, lab.work / "laboratory-untrusted.ipynb")
    lab.run("trust", path.name)
    for name in (path.name, "laboratory-untrusted.ipynb"):
        again = LabPage(context.new_page(), lab)
        again.open(name, kernel=False)
        again.wait_for_text(LAB, "tokens before and after the sampling")
        again.page.wait_for_timeout(1500)
        assert "Error displaying widget" not in again.text(LAB)
        assert again.page.locator(".llama-nb-lab:visible").count() == 0
        assert not again.foreign
        again.shut_down()
        again.page.close()


def test_hostile_and_long_text_with_the_tokens_of_llama_3(
    page: LabPage, notebook: Callable[..., str], slow_llama: Path
) -> None:
    text = f"{HOSTILE} " + " ".join(f"number {n}" for n in range(250))
    setup = f"{SETUP.rsplit('llama.load', 1)[0]}llama.load({str(slow_llama)!r})"
    page.open(notebook(setup, f"text = {text!r}", "%%llama sampling\n{{ text }}"))
    for cell in range(LAB + 1):
        page.run_cell(cell)
    find(page, "tbody tr").wait_for()
    page.wait_for_text(LAB, "128,256 left")
    chips = page.page.locator(".llama-nb-lab-strip [role=option]")
    assert chips.count() > 600
    before = bars(page)
    # A change is in the page within a fraction of a second: the hand gets ten of them in a row.
    find(page, "[aria-label=temperature]").focus()
    page.page.evaluate("window.began = performance.now()")
    for _ in range(10):
        page.page.keyboard.press("ArrowRight")
    changed(page, before)
    page.wait_until(lambda: "--temperature 1.1" in line(page), "the last value", 20)
    assert page.page.evaluate("performance.now() - window.began") < 5000
    chips.nth(chips.count() - 20).click()
    page.wait_for_text(LAB, "stands here")
    find(page, "input[placeholder]").fill(HOSTILE)
    page.page.keyboard.press("Enter")
    page.wait_until(lambda: chips.count() < 60, "the other text", 30)
    page.page.wait_for_timeout(1500)
    assert page.page.evaluate("window.__hostile === undefined")
    assert find(page, "img").count() == 0
    assert not page.foreign
    assert not page.dialogs
    page.shut_down()
