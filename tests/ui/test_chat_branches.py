"""The chat panel's branches in a real JupyterLab: edits, versions, tokens, tree; and what is taken away."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ui.chat import SETUP, Chat, assert_readable, opened
from tools.lab_page import LabPage

QUESTION = "What is grouped-query attention?"
LAST_SAMPLING = (
    "import llama_nb as llama\nprint(llama.loaded()['cria'].chats.open('main').path()[-1].reply['sampling'])"
)


@pytest.fixture
def chat(page: LabPage, notebook: Callable[..., str]) -> Chat:
    """A panel in which one question was answered."""
    made = opened(page, notebook(SETUP, "%llama chat", ""))
    made.ask(QUESTION)
    return made


def test_an_edit_is_a_version_that_arrows_go_back_from(chat: Chat) -> None:
    page, keyboard = chat.lab, chat.page.keyboard
    before = chat.answers[0]
    chat.does("Edit", 0).focus()
    keyboard.press("Enter")
    keyboard.press("Control+a")
    keyboard.type("What is 17 + 25?")
    keyboard.press("Enter")
    chat.wait("17 + 25 = 42.")
    chat.wait("2 / 2")
    chat.does("Previous version", 0).focus()
    keyboard.press("Enter")
    page.wait_until(lambda: chat.answers == [before], "the first answer")
    keyboard.press("Tab")
    keyboard.press("Enter")
    page.wait_until(lambda: "42" in chat.answers[0], "the second answer")
    page.shut_down()


def test_a_token_is_clicked_and_the_answer_goes_on_from_there(chat: Chat) -> None:
    page, keyboard = chat.lab, chat.page.keyboard
    before = chat.answers[0]
    chat.does("Tokens").click()
    chip = chat.root.locator("[role=option]").nth(4)
    chip.wait_for()
    label = str(chip.get_attribute("aria-label"))
    keyboard.press("Home")
    for _ in range(4):
        keyboard.press("ArrowRight")
    keyboard.press("Enter")
    others = chat.root.locator(".llama-nb-alternative:enabled")
    others.first.wait_for()
    written = label.split(": ", maxsplit=1)[1].split(",", maxsplit=1)[0]
    assert written in chat.find(".llama-nb-alternatives-head").inner_text()
    assert_readable(chat)
    keyboard.press("ArrowDown")
    chosen = others.nth(1).locator("code").inner_text().replace("·", " ")
    keyboard.press("Enter")
    chat.wait("2 / 2")
    page.wait_until(lambda: not chat.running(), "the end")
    after = chat.answers[0]
    assert after != before
    assert chosen.strip() in after
    rows = chat.open("tree").get_by_role("treeitem")
    rows.first.wait_for()
    assert [row.get_attribute("aria-selected") for row in rows.all()] == ["true", "false", "true"]
    keyboard.press("ArrowUp")
    keyboard.press("Enter")
    page.wait_until(lambda: chat.answers == [before], "the first answer")
    assert_readable(chat)
    page.shut_down()


@pytest.mark.full
def test_the_sliders_are_the_next_answers_sampling(chat: Chat) -> None:
    page = chat.lab
    drawer = chat.open("sampling")
    temperature = drawer.locator(".llama-nb-slider input[type=range]").first
    temperature.focus()
    for _ in range(4):
        page.page.keyboard.press("ArrowRight")
    page.wait_until(lambda: "temperature 0.2" in drawer.inner_text(), "the command")
    page.page.keyboard.press("Escape")
    chat.ask("What is 17 + 25?")
    assert "'temperature': 0.2" in chat.held(LAST_SAMPLING, 2)
    chat.open("sampling")
    chat.held("%llama set temperature 0.5", 2)
    page.wait_until(
        lambda: temperature.get_attribute("aria-valuetext") == "0.5", "the slider follows the cell"
    )
    page.shut_down()


@pytest.mark.full
def test_a_conversation_is_taken_away(chat: Chat, tmp_path: Path) -> None:
    page = chat.lab
    drawer = chat.open("export")
    preview = drawer.locator(".llama-nb-preview")
    page.wait_until(lambda: QUESTION in preview.inner_text(), "Markdown")
    drawer.get_by_label("Format").select_option("messages")
    page.wait_until(lambda: '"role"' in preview.inner_text(), "messages")
    with page.page.expect_download() as download:
        drawer.get_by_text("Download").click()
    download.value.save_as(tmp_path / "chat.json")
    assert download.value.suggested_filename == "main.json"
    roles = [message["role"] for message in json.loads((tmp_path / "chat.json").read_text())]
    assert roles == ["user", "assistant"]
    drawer.get_by_label("Format").select_option("notebook")
    page.wait_until(
        lambda: "nbformat" in preview.inner_text() or "cells" in preview.inner_text(), "a notebook"
    )
    cells = page.cells()
    drawer.get_by_text("Insert as cells").click()
    page.wait_until(lambda: page.cells() > cells, "new cells")
    sources = page.evaluate(
        "panel => panel.content.widgets.map(cell => [cell.model.type, cell.model.sharedModel.source])"
    )
    added = sources[2 : 2 + page.cells() - cells]
    assert {kind for kind, _ in added} == {"code"}
    assert QUESTION in added[-1][1]
    page.shut_down()
