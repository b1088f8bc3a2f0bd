"""A page that shows a chat panel, without a browser: what it sends, and what it was told."""

import time
from collections.abc import Callable
from typing import Any

from llama_nb.widgets.chat_panel import ChatPanel
from tests.widgets.conftest import Wire

WAIT_S = 20


def until(holds: Callable[[], Any], seconds: float = WAIT_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


class Page:
    """A page that holds the conversation as the real one does."""

    def __init__(self, panel: ChatPanel, wire: Wire) -> None:
        self.panel, self.wire = panel, wire

    def say(self, kind: str, **more: Any) -> None:
        self.wire.send(self.panel.model_id, {"kind": kind, **more})

    def got(self, kind: str) -> list[dict[str, Any]]:
        contents = [
            data["content"] for data in self.wire.of(self.panel.model_id) if data.get("method") == "custom"
        ]
        return [content for content in contents if content["kind"] == kind]

    def idle(self) -> None:
        until(lambda: not self.panel.running and not self.panel.panel.model.active)

    def ask(self, text: str) -> None:
        self.say("send", text=text)
        self.idle()

    @property
    def steps(self) -> list[dict[str, Any]]:
        return list(self.panel.path["steps"])

    def texts(self) -> list[str]:
        self.say("want", ids=[step["id"] for step in self.steps])
        return [item["text"] for item in self.got("contents")[-1]["items"]]
