"""A page that is a list of messages, a notebook that is a list of displays, and a reply without a model."""

import threading
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm

from llama_nb.core.events import Finish, ReplyAdvanced, ReplyEnded, ReplyStarted, TokenEvent, Usage
from llama_nb.core.sampling import Sampling
from llama_nb.runtime.environment import Environment
from llama_nb.session.reply import Reply
from llama_nb.widgets.live import LiveReplies

PAGE = Environment("lab", watched=True, widgets=True)
TERMINAL = Environment("terminal", watched=True, widgets=False)
BATCH = Environment("batch", watched=False, widgets=False)


class Wire:
    """Every message from the kernel's widgets to the page."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, dict[str, Any]]] = []
        self.comms: dict[str, BaseComm] = {}

    def of(self, model_id: str) -> list[dict[str, Any]]:
        """The data of the messages of one widget, its opening first."""
        return [data for comm_id, _, data in self.messages if comm_id == model_id]

    def customs(self) -> list[dict[str, Any]]:
        return [data["content"] for _, _, data in self.messages if data.get("method") == "custom"]

    def updates(self) -> list[dict[str, Any]]:
        return [data["state"] for _, _, data in self.messages if data.get("method") == "update"]

    def send(self, model_id: str, content: dict[str, Any]) -> None:
        """What the page sends."""
        self.comms[model_id].handle_msg(
            {"content": {"data": {"method": "custom", "content": content}}, "buffers": []}
        )


@pytest.fixture
def wire(monkeypatch):
    made = Wire()

    class RecordedComm(BaseComm):
        def __init__(self, **options):
            super().__init__(**options)
            made.comms[self.comm_id] = self

        def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
            made.messages.append((self.comm_id, msg_type, data or {}))

    monkeypatch.setattr(comm, "create_comm", RecordedComm)
    return made


class Notebook:
    """Stands in for `Output`: what was displayed, updated and printed, in order."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str | None, Any]] = []
        self._count = 0

    def display(self, data, display_id=None):
        self.log.append(("display", display_id, data))

    def update(self, data, display_id):
        self.log.append(("update", display_id, data))

    def write(self, text):
        self.log.append(("write", None, text))

    def new_id(self):
        self._count += 1
        return f"display-{self._count}"

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The outputs as a notebook holds them: updates in the place of what they replace."""
        outputs: list[tuple[str | None, dict[str, Any]]] = []
        for kind, display_id, data in self.log:
            if kind == "display":
                outputs.append((display_id, data))
            elif kind == "update":
                outputs = [(known, data if known == display_id else held) for known, held in outputs]
        return [data for _, data in outputs]

    @property
    def printed(self) -> str:
        return "".join(text for kind, _, text in self.log if kind == "write")


@pytest.fixture
def notebook():
    return Notebook()


def make_reply(user="What is a token?", **changes) -> Reply:
    given = {"kind": "chat", "model_name": "cria", "fingerprint": "0" * 16, "chat": "main", **changes}
    return Reply(user=user, sampling=Sampling(temperature=0), **given)


class Told:
    """Tells a LiveReplies what a session would."""

    def __init__(self, live: LiveReplies, reply: Reply) -> None:
        self.live = live
        self.reply = reply
        self.count = 0

    def start(self):
        self.live(ReplyStarted(self.reply))
        return self

    def say(self, *pieces: str):
        for piece in pieces:
            self.count += 1
            event = TokenEvent(piece, id=self.count, logprob=-0.5, entropy=1.0, elapsed_s=0.02 * self.count)
            self.reply.append(event)
            self.live(ReplyAdvanced(self.reply, event))
        return self

    def end(self, reason="end", error=None, detail=""):
        usage = Usage(7, 0, self.count, 0.02, 0.02 * self.count)
        self.reply.end(Finish(reason, usage, None, detail), error)
        self.live(ReplyEnded(self.reply))
        return self


@pytest.fixture
def live(notebook, wire):
    """A LiveReplies in a page, with the notebook and the wire it talks to."""
    made = LiveReplies(lambda: PAGE, notebook)
    yield made
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "llama-nb-page"]
