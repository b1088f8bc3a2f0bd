"""A reply on its way, in a real page: it streams, stops by button or interrupt, and survives a reload."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.lab_page import LabPage

LOAD = "%load_ext llama_nb\n%llama load {}\n%llama set seed 1"
LONG = "%%llama complete r << --max-tokens 6000\nOnce upon a time"
AFTER = "print(r.finish.reason, len(r.tokens) > 20, r.text[:20] in r.text)"
# Notes every length that the answer had in the page.
WATCH = """(panel, index) => {
    const area = panel.content.widgets[index].outputArea.node;
    window.lengths = [];
    new MutationObserver(() => {
        const answer = area.querySelector('.llama-nb-answer');
        if (answer) window.lengths.push(answer.textContent.length);
    }).observe(area, {childList: true, subtree: true, characterData: true});
}"""


@pytest.fixture
def running(page: LabPage, notebook: Callable[..., str], slow_llama: Path) -> LabPage:
    """A notebook whose second cell writes a long reply right now."""
    page.open(notebook(LOAD.format(slow_llama), LONG, AFTER, "%%llama complete --max-tokens 5\nAnd then"))
    page.run_cell(0)
    page.evaluate(WATCH, 1)
    page.start_cell(1)
    page.wait_until(lambda: answer_length(page) > 200, "an answer that grows")
    return page


def answer_text(page: LabPage) -> str:
    found = page.output(1).query_selector(".llama-nb-answer")
    return found.inner_text() if found else ""


def answer_length(page: LabPage) -> int:
    return len(answer_text(page))


def assert_kept(page: LabPage, at_least: int) -> None:
    """The stopped reply is there, as text and without a widget, and the model goes on working."""
    page.wait_cell(1)
    text = page.text(1)
    assert "stopped" in text
    assert len(text) >= at_least
    page.wait_until(lambda: not widget_outputs(page), "a reply without a widget")
    page.run_cell(2)
    assert page.text(2) == "stopped True True"
    page.run_cell(3)
    assert not [output for output in page.outputs(3) if output["output_type"] == "error"]
    page.shut_down()


def widget_outputs(page: LabPage) -> list[str]:
    widget = "application/vnd.jupyter.widget-view+json"
    return [widget for output in page.outputs(1) if widget in output.get("data", {})]


def test_a_reply_streams(running: LabPage) -> None:
    page = running
    page.wait_until(lambda: len(set(page.page.evaluate("window.lengths"))) > 10, "ten lengths of the answer")
    lengths = page.page.evaluate("window.lengths")
    assert sorted(lengths) == lengths
    page.interrupt()
    page.wait_cell(1)
    page.shut_down()


def test_the_stop_button_stops_and_the_text_stays(running: LabPage) -> None:
    page = running
    before = answer_length(page)
    page.output(1).wait_for_selector("button.llama-nb-stop:visible", timeout=10_000).click()
    assert_kept(page, before)


def test_an_interrupt_stops_and_the_text_stays(running: LabPage) -> None:
    before = answer_length(running)
    running.interrupt()
    assert_kept(running, before)


def test_a_reload_in_a_blocking_cell_keeps_the_text(running: LabPage) -> None:
    page = running
    page.save()
    start = answer_text(page)[:100]
    page.reload()
    # While the cell blocks, the kernel answers no new page: the text is there when the reply ends.
    page.interrupt()
    page.wait_until(lambda: "stopped" in page.text(1), "the end of the reply")
    assert start in answer_text(page)
    page.run_cell(2)
    assert page.text(2) == "stopped True True"
    page.shut_down()


def test_a_reload_goes_on_with_a_reply_in_the_background(
    page: LabPage, notebook: Callable[..., str], slow_llama: Path
) -> None:
    page.open(notebook(LOAD.format(slow_llama), LONG.replace("r <<", "r << --bg"), AFTER, "%llama stop"))
    page.run_cell(0)
    page.start_cell(1)
    page.wait_until(lambda: answer_length(page) > 200, "an answer that grows")
    page.save()
    start, before = answer_text(page)[:100], answer_length(page)
    page.reload()
    page.wait_until(lambda: answer_length(page) > before, "an answer that goes on growing after the reload")
    page.run_cell(3)
    page.wait_until(lambda: "stopped" in page.text(1), "the end of the reply")
    assert start in answer_text(page)
    page.run_cell(2)
    assert page.text(2) == "stopped True True"
    page.shut_down()
