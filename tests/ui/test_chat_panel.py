"""The chat panel in a real JupyterLab: asking, stopping, a reload, several panels, errors, hostile text."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ui.chat import SETUP, Chat, assert_readable, opened
from tools.lab_page import LabPage

QUESTION = "What is grouped-query attention?"
GQA = "lets several query heads share one key and value head"
HOSTILE = "<script>window.__hostile=1</script><img src=x onerror=window.__hostile=1> {{ 1 + 1 }}"


def test_a_conversation_by_keyboard_alone(page: LabPage, notebook: Callable[..., str]) -> None:
    chat = opened(page, notebook(SETUP, "%llama chat", ""))
    keyboard = page.page.keyboard
    box = chat.root.bounding_box()
    assert box is not None
    assert box["width"] <= 602
    assert box["height"] <= 420
    assert_readable(chat)
    chat.field.focus()
    for _ in range(3):
        keyboard.press("Shift+Tab")
    keyboard.press("Enter")  # the first of the ideas
    assert chat.field.input_value() == QUESTION
    keyboard.press("Enter")
    chat.wait(GQA)
    page.wait_until(lambda: not chat.running(), "the end")
    assert chat.field.input_value() == ""
    chat.ask("and in one word?")
    assert chat.answers[1] == "Sharing"
    assert (page.cells(), page.evaluate("panel => panel.content.activeCellIndex")) == (3, 1)
    chat.open("sampling")
    assert_readable(chat)
    keyboard.press("Escape")
    assert chat.find(".llama-nb-drawer").is_hidden()
    heard = page.page.locator("#llama-nb-announcer").inner_text()
    assert heard.endswith("Sharing")
    assert not [line for line in page.console if "error" in line.lower()]
    page.shut_down()


@pytest.fixture
def slow_chat(slow_llama: Path, tmp_path: Path) -> Path:
    """The random Llama with a chat template: it answers at length."""
    folder = tmp_path / "gibberish"
    shutil.copytree(slow_llama, folder)
    template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    return folder


def test_stop_keeps_the_part_and_continue_goes_on(
    page: LabPage, notebook: Callable[..., str], slow_chat: Path
) -> None:
    load = f"%load_ext llama_nb\n%llama load {slow_chat}\n%llama set max_tokens 6000"
    chat = opened(page, notebook(load, "%llama chat", "1 + 1"))
    chat.ask("Go on for long", wait=False)
    page.wait_until(lambda: len("".join(chat.answers)) > 200, "an answer that grows")
    page.run_cell(2)  # the kernel is free meanwhile
    assert "2" in page.text(2)
    page.save()
    page.reload()
    chat = Chat(page)
    page.wait_until(
        lambda: chat.running() and len("".join(chat.answers)) > 200, "the answer that still grows"
    )
    length = len("".join(chat.answers))
    page.wait_until(lambda: len("".join(chat.answers)) > length + 50, "the answer grows on")
    chat.field.focus()
    page.page.keyboard.press("Escape")
    chat.wait("stopped: this is the part that was written")
    part = chat.answers[0].split("■")[0].strip()
    assert len(part) > length
    chat.does("Continue").click()
    page.wait_until(lambda: chat.running() and len("".join(chat.answers)) > len(part) + 20, "more of it")
    chat.find(".llama-nb-halt").click()
    chat.wait("2 / 2")
    assert chat.answers[0].startswith(part[:100])
    page.shut_down()


def test_panels_and_cells_of_one_chat_agree(page: LabPage, notebook: Callable[..., str]) -> None:
    name = notebook(SETUP, "%llama chat", "%llama chat", f"%%llama chat\n{QUESTION}", "%llama unload cria")
    one = opened(page, name)
    page.run_cell(2)
    two = Chat(page, 2, 1)
    two.field.fill("half a thought")
    one.ask("What is 17 + 25?")
    two.wait("42")
    assert two.field.input_value() == "half a thought"
    page.run_cell(3)
    for panel in (one, two):
        panel.wait(GQA)
    one.open("system").locator("textarea").fill("Answer in capitals.")
    page.page.keyboard.press("Control+Enter")
    page.wait_until(lambda: one.find(".llama-nb-drawer .llama-nb-primary").is_disabled(), "the prompt is set")
    two.open("system")
    assert two.find(".llama-nb-drawer textarea").input_value() == "Answer in capitals."
    page.save()
    page.reload()
    two = Chat(page, 2, 1)
    page.wait_until(lambda: two.field.input_value() == "half a thought", "what was typed")
    two.wait(GQA)
    page.run_cell(4)
    page.wait_until(lambda: two.find("[role=alert]").is_visible(), "that the model is gone")
    assert "%llama load" in two.find("[role=alert]").inner_text()
    two.field.press("Enter")
    assert two.field.input_value() == "half a thought"
    page.run_cell(0)
    page.wait_until(lambda: two.find(".llama-nb-send").is_enabled(), "the model is back")
    two.field.press("Enter")
    page.wait_until(lambda: not two.field.input_value(), "the thought is taken")
    page.shut_down()


def test_an_error_takes_no_typed_text(page: LabPage, notebook: Callable[..., str]) -> None:
    setup = "%load_ext llama_nb\nfrom tests.magics import fake\nmodel = fake.install(context=10_000)"
    chat = opened(page, notebook(setup, "%llama chat"))
    chat.field.focus()
    page.page.keyboard.type("boom")
    page.page.keyboard.press("Enter")
    alert = chat.find("[role=alert]")
    page.wait_until(alert.is_visible, "an error")
    assert "Logits are NaN" in alert.inner_text()
    assert "%llama load" in alert.inner_text()
    assert "boom" in chat.text + chat.field.input_value()
    page.shut_down()


def test_hostile_text_stays_text(page: LabPage, notebook: Callable[..., str]) -> None:
    setup = "%load_ext llama_nb\nfrom tests.ui import scripted\nmodel = scripted.install()"
    chat = opened(page, notebook(setup, "%llama chat"))
    chat.ask(HOSTILE)
    chat.does("Tokens").click()
    chat.find("[role=option]").wait_for()
    chat.open("tree").get_by_role("treeitem").first.wait_for()
    chat.open("export")
    page.wait_until(lambda: "script" in chat.find(".llama-nb-preview").inner_text(), "the export")
    page.page.wait_for_timeout(1000)
    assert chat.text.count("<script>") >= 1
    assert page.page.evaluate("window.__hostile === undefined")
    assert chat.root.locator("img, script").count() == 0
    assert not page.foreign
    assert not page.dialogs
    page.shut_down()
