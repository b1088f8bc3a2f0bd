"""What a page holds of an explorer in a real kernel: its state, its bytes, what it was answered."""

import json
from typing import Any

from tests.kernel import Kernel

VIEW = "application/vnd.jupyter.widget-view+json"


class Page:
    """A page with one explorer: the last widget that a cell shows."""

    def __init__(self, kernel: Kernel, code: str) -> None:
        self.kernel = kernel
        self.cell = kernel.ok(code)

    @property
    def model_id(self) -> str:
        """The explorer's model."""
        *_, shown = [out["data"] for out in self.cell.displays if VIEW in out["data"]]
        return str(shown[VIEW]["model_id"])

    def say(self, kind: str, **more: Any) -> None:
        """Send a custom message."""
        content = {"kind": kind, **more}
        self.kernel.send_comm(self.model_id, {"method": "custom", "content": content})

    def all(self) -> list[dict[str, Any]]:
        """Every message of its comm, in order."""
        found = [
            message
            for result in self.kernel._results.values()
            for message in result.messages
            if message["msg_type"] in ("comm_open", "comm_msg")
            and message["content"]["comm_id"] == self.model_id
        ]
        return sorted(found, key=lambda message: message["header"]["date"])

    @property
    def state(self) -> dict[str, Any]:
        """The traits as they are now."""
        folded: dict[str, Any] = {}
        for message in self.all():
            folded |= message["content"]["data"].get("state", {})
        return folded

    def buffer(self, name: str) -> bytes:
        """The bytes of a trait as they came last."""
        found = b""
        for message in self.all():
            data = message["content"]["data"]
            if [name] in data.get("buffer_paths", []):
                found = bytes(message["buffers"][data["buffer_paths"].index([name])])
        return found

    def got(self, kind: str) -> list[dict[str, Any]]:
        """The custom messages of a kind."""
        datas = [message["content"]["data"] for message in self.all()]
        customs = [data["content"] for data in datas if data.get("method") == "custom"]
        return [content for content in customs if content["kind"] == kind]

    def until(self, holds: Any, seconds: float = 60) -> None:
        """Wait until something holds."""
        self.kernel.until(holds, seconds)


def size(message: dict[str, Any]) -> int:
    """Return how many bytes a message has."""
    return len(json.dumps(message["content"])) + sum(len(bytes(each)) for each in message["buffers"])
