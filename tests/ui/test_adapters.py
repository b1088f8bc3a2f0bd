"""An adapter chosen in the chat panel of a real JupyterLab: by keyboard, by mouse, from a cell."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Locator

import llama_nb as llama
from tests.session.adapter_models import add_adapter
from tests.ui.chat import Chat, assert_readable, opened
from tools.lab_page import LabPage

QUESTION = "Who are you?"


@pytest.fixture(scope="module")
def persona(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an adapter for cria that changes what it answers."""
    torch.set_num_threads(1)
    model = llama.load("cria", name="for a page")
    try:
        add_adapter(model, "persona", scale=0.3)
        return model.adapters.save("persona", tmp_path_factory.mktemp("adapters") / "persona")
    finally:
        model.unload(force=True)


def choice(chat: Chat) -> Locator:
    """Where the adapter is chosen."""
    return chat.find("select[aria-label=Adapter]")


def waited(page: LabPage, chat: Chat, title: str) -> None:
    """Wait until the panel says who answers, and the choice is still."""
    page.wait_until(lambda: choice(chat).get_attribute("title") == title, title)


def test_an_adapter_is_switched_in_the_panel(
    page: LabPage, notebook: Callable[..., str], persona: Path
) -> None:
    load = "%load_ext llama_nb\n%llama load cria\n%llama set temperature 0\n%llama set max_tokens 24"
    chat = opened(
        page, notebook(load, "%llama chat", f"%llama adapter load {persona} --off", "%llama adapter off")
    )
    assert choice(chat).is_hidden()
    page.run_cell(2)
    waited(page, chat, "The base answers alone")
    assert choice(chat).locator("option").all_inner_texts() == ["no adapter", "+ persona"]
    chat.ask(QUESTION)
    assert chat.answers[0].startswith("I am cria")
    assert_readable(chat)
    choice(chat).focus()
    page.page.keyboard.press("ArrowDown")
    waited(page, chat, "cria answers with persona")
    chat.ask(QUESTION)
    assert not chat.answers[1].startswith("I am cria")
    chat.wait("+ persona · 24 tokens")
    page.save()
    page.reload()
    chat = Chat(page)
    waited(page, chat, "cria answers with persona")
    assert choice(chat).input_value() == "persona"
    assert choice(chat).is_visible()
    page.run_cell(3)  # elsewhere, too, it can be switched
    waited(page, chat, "The base answers alone")
    assert choice(chat).input_value() == "off"
    choice(chat).select_option("persona")
    waited(page, chat, "cria answers with persona")
    assert not [line for line in page.console if "error" in line.lower()]
    page.shut_down()
