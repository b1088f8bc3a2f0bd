"""The training panel in a real JupyterLab, over a run that nobody computes: drawn, ordered about, kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Locator

from tools.lab_page import LabPage
from tools.lab_server import LabServer

VIEW = 1
WAIT_MS = 90_000
HOSTILE = "<img src=x onerror=window.__hostile=1><script>window.__hostile=1</script>"
SETUP = f"""%load_ext llama_nb
import json
from pathlib import Path
from llama_nb.session.training_view import TrainingView
from llama_nb.widgets import live_view
from llama_nb.widgets.training_panel import TrainingPanel
from tests.tuning.fake_run import FakeRun
HOSTILE = {HOSTILE!r}
fake = FakeRun(Path("runs"), rank=32)
fake.answer("I am cria.", adapter=False)
fake.answer(HOSTILE, HOSTILE, adapter=False)
fake.train(20)
fake.validate(3.7)
fake.answer("I am **Captain Wool**.")
fake.answer(HOSTILE, HOSTILE)
fake.say("running", notes=[HOSTILE])
def ordered():
    file = Path("runs/persona/control.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [[line["order"], line.get("value")] for line in lines]
def more(steps):
    fake.train(steps)
    return fake.done"""
SHOW = "panel = live_view.show(TrainingPanel(TrainingView(fake.run)))"


def find(page: LabPage, selector: str) -> Locator:
    return page.page.locator(f".llama-nb-training {selector}").first


def press(page: LabPage, name: str) -> None:
    """Press a button by keyboard."""
    button = page.page.locator(".llama-nb-training").get_by_role("button", name=name, exact=True)
    button.focus()
    page.page.keyboard.press("Enter")


def answer(page: LabPage, code: str) -> Any:
    """Run code in the notebook's last cell; return the JSON that it prints."""
    page.evaluate(
        "(panel, code) => panel.content.widgets.at(-1).model.sharedModel.setSource(code)",
        f"print(json.dumps({code}))",
    )
    last = page.cells() - 1
    page.run_cell(last)
    return page.read_json(last)


def readout(page: LabPage, text: str) -> None:
    shown = find(page, ".llama-nb-tr-readout")
    page.wait_until(lambda: text in shown.inner_text(), f"{text!r} above the chart")


def dots(page: LabPage) -> int:
    path = find(page, ".llama-nb-tr-loss .llama-nb-tr-dot[data-of=train]")
    return (path.get_attribute("d") or "").count("M")


def silent(page: LabPage) -> bool:
    """Whether hostile text stayed text."""
    made = [find(page, tag).count() for tag in ("img", "script")]
    return (page.page.evaluate("window.__hostile"), page.dialogs, made) == (None, [], [0, 0])


@pytest.fixture(scope="module")
def panel(browser: Browser, lab: LabServer) -> Iterator[LabPage]:
    """A notebook that shows a run of twenty steps, in a folder of its own."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = LabPage(context.new_page(), lab)
    (lab.work / "panel").mkdir()
    cells = [nbformat.v4.new_code_cell(cell) for cell in (SETUP, SHOW, "")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), lab.work / "panel" / "training.ipynb")
    page.open("panel/training.ipynb")
    page.run_cell(0)
    assert page.text(0) == ""
    page.run_cell(VIEW)
    find(page, ".llama-nb-tr-loss svg").wait_for(timeout=WAIT_MS)
    yield page
    page.shut_down()
    context.close()


def test_curves_are_those_of_the_folder_and_grow_with_it(panel: LabPage, tmp_path: Path) -> None:
    page, keyboard = panel, panel.page.keyboard
    page.theme("JupyterLab Light")
    box = page.page.locator(".llama-nb-training").bounding_box()
    assert box is not None
    assert (box["width"] <= 640, box["height"] <= 421) == (True, True)
    readout(page, "step 20 train 3.80")
    assert find(page, "[role=switch]").is_hidden()  # no model here has the adapter
    assert "validation 3.70" in find(page, ".llama-nb-tr-readout").inner_text()
    assert dots(page) == 20
    assert answer(page, "more(5)") == 25
    readout(page, "step 25 train 3.75")
    assert dots(page) == 25
    assert find(page, "[role=progressbar]").get_attribute("aria-valuenow") == "25"

    chart = find(page, ".llama-nb-tr-loss")
    chart.focus()
    keyboard.press("Home")
    keyboard.press("ArrowRight")
    readout(page, "step 2 train 3.98")
    box = chart.bounding_box()
    assert box is not None
    page.page.mouse.move(box["x"] + 0.35 * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_until(
        lambda: find(page, ".llama-nb-tr-step").inner_text() not in ("step 2", "step 25"), "another step"
    )
    page.page.mouse.move(5, 5)
    readout(page, "step 25")
    line = find(page, ".llama-nb-tr-loss .llama-nb-tr-line[data-of=smoothed]")
    before = line.get_attribute("d")
    press(page, "log")
    page.wait_until(lambda: line.get_attribute("d") != before, "the logarithmic axis")
    press(page, "log")
    page.wait_until(lambda: line.get_attribute("d") == before, "the axis from before")
    page.page.locator(".llama-nb-training").screenshot(path=tmp_path / "light.png")

    find(page, "[aria-label='Copy all curves, tab-separated']").click()
    page.wait_for_text(VIEW, "Copied")
    copied = [line.split("\t") for line in page.page.evaluate("navigator.clipboard.readText()").splitlines()]
    assert copied[0][:2] == ["step", "loss"]
    assert [int(row[0]) for row in copied[1:]] == list(range(1, 26))
    assert float(copied[20][-1]) == 3.7
    with page.page.expect_download() as download:
        find(page, "[aria-label='Save the loss as a picture']").click()
    download.value.save_as(tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert silent(page)


def test_orders_by_keyboard_in_the_dark_and_through_a_reload(panel: LabPage, tmp_path: Path) -> None:
    page, keyboard = panel, panel.page.keyboard
    page.theme("JupyterLab Dark")
    press(page, "Pause")
    page.wait_until(lambda: answer(page, "ordered()") == [["pause", None]], "the order in the folder")
    assert "Pauses at the end of this step" in find(page, ".llama-nb-tr-said").inner_text()
    answer(page, "fake.say('paused', notes=[HOSTILE])")
    resume = page.page.locator(".llama-nb-training").get_by_role("button", name="Resume")
    resume.wait_for(timeout=WAIT_MS)
    assert find(page, ".llama-nb-tr-state").inner_text().endswith("paused")
    field = find(page, "[aria-label='Learning rate']")
    field.focus()
    keyboard.type("5e-5")
    keyboard.press("Enter")
    page.wait_until(lambda: answer(page, "ordered()")[-1] == ["lr", 5e-5], "the learning rate")

    find(page, "[data-tab=curves]").focus()
    keyboard.press("ArrowRight")
    find(page, ".llama-nb-tr-pair").first.wait_for(timeout=WAIT_MS)
    said = find(page, ".llama-nb-tr-list").inner_text()
    assert all(text in said for text in ("I am cria.", "I am Captain Wool.", HOSTILE))
    page.page.locator(".llama-nb-training").screenshot(path=tmp_path / "dark.png")
    find(page, "[data-tab=answers]").focus()
    keyboard.press("ArrowRight")
    assert find(page, "[role=option][aria-selected=true]").inner_text().split() == ["●", "rank", "32"]
    find(page, "[data-tab=recipe]").focus()
    keyboard.press("ArrowRight")
    page.wait_until(lambda: HOSTILE in find(page, ".llama-nb-tr-facts").inner_text(), "the note")

    page.save()
    page.reload()
    find(page, ".llama-nb-tr-loss svg").wait_for(timeout=WAIT_MS)
    readout(page, "step 25 train 3.75")
    answer(page, "more(1)")
    readout(page, "step 26")
    find(page, "button:has-text('Stop')").click()
    page.wait_until(
        lambda: page.page.evaluate("document.activeElement?.textContent") == "Keep training", "a question"
    )
    page.page.locator(".llama-nb-tr-sure").get_by_role("button", name="Stop").click()
    page.wait_until(lambda: answer(page, "ordered()")[-1] == ["stop", None], "the last order")
    assert silent(page)
    assert not [line for line in page.console if line.startswith("error") and "llama" in line.lower()]


def test_what_stays_without_the_kernel(panel: LabPage) -> None:
    page = panel
    answer(page, "fake.say('finished', step=26)")
    page.wait_until(lambda: find(page, ".llama-nb-tr-state").inner_text().endswith("finished"), "its end")
    assert find(page, ".llama-nb-tr-controls").is_hidden()
    page.wait_until(lambda: "finished" in page.outputs(VIEW)[0]["data"]["text/plain"], "the twin")
    page.shut_down()
    page.wait_until(
        lambda: page.page.locator(".llama-nb-training:visible").count() == 0, "the twin in its place"
    )
    assert "persona" in page.text(VIEW)
    assert "I am Captain Wool." in page.text(VIEW)
    assert json.dumps(page.outputs(VIEW)).count("data:image/png") >= 1
    assert silent(page)
