"""The chat panel in a real kernel: the page's messages, sent as a page sends them, while cells run or not."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel import Kernel

VIEW = "application/vnd.jupyter.widget-view+json"


class Page:
    """What a page holds of one panel."""

    def __init__(self, kernel: Kernel, line: str = "%llama chat") -> None:
        self.kernel = kernel
        self.cell = kernel.ok(line)
        (shown,) = [out["data"] for out in self.cell.displays if VIEW in out["data"]]
        self.shown = shown
        self.model_id = shown[VIEW]["model_id"]

    def say(self, kind: str, **more: Any) -> None:
        content = {"kind": kind, **more}
        self.kernel.send_comm(self.model_id, {"method": "custom", "content": content})

    def messages(self) -> list[dict[str, Any]]:
        """Every comm message for this panel, in order, whatever cell or message it belongs to."""
        found = [
            (message["header"]["date"], comm["data"])
            for result in self.kernel._results.values()
            for message in result.messages
            if message["msg_type"] in ("comm_open", "comm_msg")
            and (comm := message["content"])["comm_id"] == self.model_id
        ]
        return [data for _, data in sorted(found, key=lambda pair: pair[0])]

    @property
    def state(self) -> dict[str, Any]:
        folded: dict[str, Any] = {}
        for data in self.messages():
            folded |= data.get("state", {})
        return folded

    def got(self, kind: str) -> list[dict[str, Any]]:
        customs = [data["content"] for data in self.messages() if data.get("method") == "custom"]
        return [content for content in customs if content["kind"] == kind]

    def steps(self) -> list[dict[str, Any]]:
        return list(self.state["path"]["steps"])

    def until(self, holds: Any, seconds: float = 60) -> None:
        self.kernel.until(holds, seconds)

    def idle(self, count: int) -> None:
        """Wait until so many messages are there and nothing runs."""
        self.until(lambda: len(self.steps()) == count and not self.state["running"])


@pytest.fixture(scope="module")
def kernel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("kernel")
    with Kernel(environment={"PYTHONPATH": str(root), "LLAMA_NB_CHATS": "off"}, cwd=folder) as running:
        running.ok(
            "%load_ext llama_nb\nimport llama_nb, time\nfrom tests.magics import fake\nm = fake.install()"
        )
        yield running


@pytest.fixture(autouse=True)
def _as_new(kernel: Kernel) -> Iterator[None]:
    yield
    kernel.ok(
        "m = fake.install()\nfrom llama_nb.widgets import chat_panel, live_view\n"
        "for panel in live_view.shown(chat_panel.ChatPanel): panel.close()"
    )


def test_a_line_alone_opens_the_panel(kernel: Kernel) -> None:
    page = Page(kernel)
    assert page.cell.value is None
    assert {"text/plain", "text/html"} <= set(page.shown)
    assert page.state["head"]["model"] == "fake"
    assert page.state["head"]["chat"] == "main"


def test_nobody_watches_so_the_message_says_what_to_type(kernel: Kernel) -> None:
    cell = kernel.run("%llama chat", allow_stdin=False)
    assert cell.status == "error"
    assert '%llama chat "..."' in cell.error_text
    assert not cell.comms


def test_a_message_from_the_page_is_answered_and_no_cell_gets_it(kernel: Kernel) -> None:
    page = Page(kernel)
    page.say("send", text="count 5")
    page.idle(2)
    assert page.got("accepted")
    page.say("want", ids=[step["id"] for step in page.steps()])
    page.until(lambda: len(page.got("contents")[-1]["items"]) == 2)
    assert [item["text"] for item in page.got("contents")[-1]["items"]] == ["count 5", "1 2 3 4 5 "]
    everything = [message for result in kernel._results.values() for message in result.messages]
    shown = [message for message in everything if message["msg_type"] in ("display_data", "stream")]
    assert not [message for message in shown if "1 2 3" in str(message["content"])]


def test_sending_does_not_block_the_kernel(kernel: Kernel) -> None:
    kernel.ok("m = fake.install(pace_s=0.02)")
    page = Page(kernel)
    page.say("send", text="count 100")
    page.until(lambda: any(delta["change"] for delta in page.got("delta")))
    began = time.monotonic()
    assert kernel.ok("6 * 7").value == {"text/plain": "42"}
    assert time.monotonic() - began < 1.5
    assert page.state["running"]
    page.say("stop")
    page.idle(2)
    assert page.steps()[-1]["finish"] == "stopped"


def test_a_message_that_was_stopped_before_a_word_came_is_given_back(kernel: Kernel) -> None:
    kernel.ok("m = fake.install(pace_s=0.5)")
    page = Page(kernel)
    page.say("send", text="count 3")
    page.say("stop")
    page.until(lambda: page.got("returned"))
    assert page.got("returned") == [{"kind": "returned", "text": "count 3"}]
    page.idle(0)


def test_a_cell_in_the_same_chat_grows_in_the_panel(kernel: Kernel) -> None:
    kernel.ok("m = fake.install(pace_s=0.01)")
    page = Page(kernel)
    cell = kernel.submit("%%llama\ncount 60")
    page.until(lambda: page.state.get("running") and page.got("delta"))
    assert page.state["live"]["asked"] == page.steps()[-1]["id"]
    kernel.wait(cell)
    page.idle(2)


def test_two_panels_agree(kernel: Kernel) -> None:
    one, two = Page(kernel), Page(kernel)
    one.say("send", text="count 3")
    one.idle(2)
    two.idle(2)
    assert one.state["path"] == two.state["path"]
    one.say("retry", id=one.steps()[-1]["id"])
    one.until(lambda: one.got("contents") or one.state["error"] or len(one.steps()) == 2)
    one.idle(2)
    two.say("set", name="temperature", value=0.25)
    one.until(lambda: one.state["sampling"]["line"] == "%llama set --temperature 0.25")
    kernel.ok("%llama set --reset")
    one.until(lambda: one.state["sampling"]["line"] == "")


def test_unloading_is_said_in_the_panel(kernel: Kernel) -> None:
    page = Page(kernel)
    kernel.ok(
        "from llama_nb.session import registry\nregistry._models.pop('fake'); m._engine = m._loaded = None"
    )
    kernel.ok("from llama_nb.core.events import *\npublish(ModelsChanged())")
    page.until(lambda: page.state["head"]["alive"] is False)
    assert "was unloaded" in page.state["error"]


def test_a_page_that_comes_back_gets_the_growing_answer(kernel: Kernel) -> None:
    kernel.ok("m = fake.install(pace_s=0.02)")
    page = Page(kernel)
    page.say("send", text="count 80")
    page.until(lambda: page.got("delta"))
    kernel.send_comm(page.model_id, {"method": "request_state"})
    before = len(page.messages())
    page.until(
        lambda: any(
            {"blocks", "revision", "running", "path"} <= set(data.get("state", ()))
            for data in page.messages()[before:]
        )
    )
    whole = [data["state"] for data in page.messages() if "running" in data.get("state", ())][-1]
    assert whole["running"] is True
    assert whole["blocks"]
    page.say("stop")
    page.idle(2)


def test_functions_are_given_by_name(kernel: Kernel) -> None:
    kernel.ok('def weather(city: str) -> str:\n    "Return the weather of a city."\n    return "rain"')
    page = Page(kernel, "%llama chat --tools weather")
    assert page.state["head"]["tools"] == ["weather"]
    cell = kernel.run("%llama chat --tools wether")
    assert "weather" in cell.error_text
    assert "%%llama tools" in kernel.run("%%llama chat --tools weather\nhello").error_text
