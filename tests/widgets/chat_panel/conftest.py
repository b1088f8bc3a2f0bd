"""A panel over the bundled model, and the page that shows it; each test leaves the model as new."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llama_nb as llama
from llama_nb.runtime import settings
from llama_nb.session.model import Model
from llama_nb.session.panel import Panel
from llama_nb.widgets import live_view
from llama_nb.widgets.chat_panel import ChatPanel
from tests.widgets.chat_panel.page import Page, until
from tests.widgets.conftest import Wire


@pytest.fixture(scope="module")
def cria() -> Iterator[Model]:
    made = llama.load("cria", name="panel-cria")
    yield made
    made.unload(force=True)


@pytest.fixture(autouse=True)
def _as_new(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(live_view, "TWIN_AFTER_S", 0.01)
    yield
    settings.clear_sampling()
    for panel in live_view.shown(ChatPanel):
        panel.close()


@pytest.fixture
def model(cria: Model) -> Iterator[Model]:
    yield cria
    cria.stop()
    until(lambda: not (cria.active or any(chat.turn.held for chat in cria.chats.values())))
    for name in list(cria.chats):
        cria.chats.delete(name)
    cria.chats.current = "main"


@pytest.fixture
def open_panel(wire: Wire) -> Iterator[Callable[..., Page]]:
    made: list[ChatPanel] = []

    def open_one(model: Model, **options: Any) -> Page:
        made.append(ChatPanel(Panel(model, **options)))
        made[-1].fill()
        return Page(made[-1], wire)

    yield open_one
    for panel in made:
        panel.close()


@pytest.fixture
def page(model: Model, open_panel: Callable[..., Page]) -> Page:
    return open_panel(model)
