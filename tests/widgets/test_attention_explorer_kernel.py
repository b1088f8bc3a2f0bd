"""The attention explorer in a real kernel: what a page sends, what it gets, and how many bytes that is."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.kernel import Kernel
from tests.widgets.explored import VIEW, Page, size

TO_OPEN = 500_000  # bytes of all messages until everything is shown
A_TILE = 270_000
TRACE = "random_trace({length}, layers=(0, 1), heads=32, kv_heads=8, width=64)"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel({"PYTHONPATH": str(ROOT)}, cwd=tmp_path_factory.mktemp("notebooks")) as started:
        started.ok("%load_ext llama_nb\nfrom tests.traces import random_trace")
        yield started


class Explored(Page):
    """A page with an attention explorer."""

    def tiles(self, name: str = "tile") -> list[tuple[dict[str, Any], bytes]]:
        """Each map with its bytes, as they came: both in one message."""
        found = []
        for message in self.all():
            data = message["content"]["data"]
            if [name] in data.get("buffer_paths", []) and data["state"].get(f"{name}_info"):
                buffer = message["buffers"][data["buffer_paths"].index([name])]
                found.append((data["state"][f"{name}_info"], bytes(buffer)))
        return found

    def map(self) -> np.ndarray:
        """The newest map, put together from its bands."""
        number = self.tiles()[-1][0]["number"]
        picture = np.zeros((0, 0), np.uint8)
        for info, values in self.tiles():
            if info["number"] == number:
                shape = (info["height"], info["width"])
                picture = picture if picture.shape == shape else np.zeros(shape, np.uint8)
                first, last = info["band"]
                picture[first:last] = np.frombuffer(values, np.uint8).reshape(last - first, shape[1])
        return picture

    def done(self) -> bool:
        return bool(self.state.get("tile_info", {}).get("done") == 1)


@pytest.mark.parametrize("length", [4096, 8192])
def test_it_opens_in_few_bytes_at_any_length(kernel: Kernel, length: int) -> None:
    kernel.ok(f"trace = {TRACE.format(length=length)}")
    page = Explored(kernel, "trace")
    page.say("hello", whole=True)
    page.say("code")
    page.until(lambda: page.done() and page.state["thumbs_info"] and page.state["twin"] and page.got("code"))
    shown = [m for m in page.cell.messages if m["msg_type"] in ("display_data", "execute_result")]
    total = sum(map(size, [*page.all(), *shown]))
    assert page.map().shape == (512, 512)
    assert total <= TO_OPEN, f"{total:,} bytes"
    # A window of it is one tile.
    before = len(page.all())
    page.say("zoom", rows=[length - 600, length], cols=[length - 600, length])
    page.until(lambda: page.state["tile_info"]["rows"] == [length - 600, length] and page.done())
    zoomed = [m for m in page.all()[before:] if "tile" in str(m["content"]["data"].get("buffer_paths"))]
    assert sum(map(size, zoomed)) <= A_TILE
    kernel.ok("del trace")


def test_what_a_page_draws_is_what_the_trace_says(kernel: Kernel) -> None:
    kernel.ok("trace = random_trace(40, seed=3)")
    page = Explored(kernel, "trace.view(1, 2)")
    page.until(page.done)
    page.say("look", layer=2, head=1)
    page.until(lambda: page.state["tile_info"]["head"] == 1 and page.done())
    weights = np.array(kernel.evaluate("trace.matrix(2, 1).tolist()"))
    assert np.abs(page.map() - np.round(255 * np.sqrt(weights))).max() <= 1
    page.say("row", query=30, number=1)
    page.say("value", row=30, col=4, number=2)
    page.until(lambda: page.got("row") and page.got("value"))
    assert page.got("value")[0]["value"] == pytest.approx(weights[30, 4], abs=1e-6)
    assert page.got("row")[0]["links"][0] == [
        int(weights[30].argmax()),
        pytest.approx(weights[30].max(), rel=1e-4),
    ]


def test_messages_are_answered_while_something_long_is_computed(kernel: Kernel) -> None:
    kernel.ok("trace = random_trace(16_000, layers=(0,), heads=2, kv_heads=1, width=64)")
    page = Explored(kernel, "trace.view(0, 0)")
    page.until(lambda: bool(page.state.get("tile_info")))
    assert page.state["tile_info"]["done"] < 1
    began = time.monotonic()
    page.say("value", row=15_000, col=3, number=1)
    page.until(lambda: bool(page.got("value")))
    assert time.monotonic() - began < 2
    page.say("cancel")
    kernel.pump(0.5)
    reached = page.state["tile_info"]["done"]
    kernel.pump(1.0)
    assert page.state["tile_info"]["done"] == reached < 1
    assert page.state["error"] == ""


def test_malformed_messages_of_every_kind_change_nothing(kernel: Kernel) -> None:
    kernel.ok("trace = random_trace(12)")
    page = Explored(kernel, "trace.view(0, 0)")
    page.until(
        lambda: page.done() and bool(page.state["thumbs_info"]) and page.state["head"]["scored"] == "done"
    )
    kernel.pump(1.5)
    before = len(page.all())
    wrong = [None, "x", -1, 10**12, 1.5, True, [], {}, [1], ["a", "b"], {"kind": "look"}, "<script>", "\0"]
    kinds = ("look", "zoom", "thumbs", "row", "column", "value", "compare", "mode", "prompt", "off", "query")
    for kind in kinds:
        for value in wrong:
            names = (
                "layer",
                "head",
                "rows",
                "cols",
                "query",
                "key",
                "row",
                "col",
                "number",
                "trace",
                "mode",
                "parts",
            )
            given = dict.fromkeys(names, value)
            if kind == "query" and value is None:
                continue  # that is what turns it off
            page.say(kind, **given)
    page.say("value", row=3, col=1, number=77)
    page.until(lambda: bool(page.got("value")))
    kernel.pump(0.5)
    answered = [
        message
        for message in page.all()[before:]
        if "twin" not in message["content"]["data"].get("state", {})
    ]
    assert [message["content"]["data"]["content"]["number"] for message in answered] == [77]


def test_where_nobody_watches_it_is_a_picture_and_a_text(kernel: Kernel) -> None:
    kernel.ok("trace = random_trace(12)")
    shown = kernel.ok("trace", allow_stdin=False).value
    assert set(shown) == {"text/plain", "text/html"}
    assert shown == kernel.ok("trace", allow_stdin=False).value
    assert "data:image/png;base64," in shown["text/html"]
    assert "0x" not in shown["text/plain"]
    assert str(Path.cwd()) not in shown["text/plain"]


def test_live_the_map_grows_while_the_model_answers(kernel: Kernel) -> None:
    kernel.ok("%llama load cria\n%llama set temperature 0")
    page = Explored(kernel, "%%llama attention t << --live\nTell me a story about Anna and a cat.")
    page.until(lambda: page.done() and page.state["head"]["scored"] == "done")
    lengths = [info["rows"][1] for info, _ in page.tiles()]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1] == kernel.evaluate("t.length")
    head = page.state["head"]
    assert (head["growing"], head["tokens"]) == (False, lengths[-1])
    assert head["prompt"] < head["tokens"]
    assert page.state["view"]["query"] == lengths[-1] - 1
    assert kernel.evaluate("type(t).__name__.endswith('Trace')")


def test_an_interrupt_keeps_what_was_written_and_its_map(kernel: Kernel, stories260k: Path) -> None:
    kernel.ok(f"%llama load {stories260k} --name stories\n%llama set --temperature 0 --max-tokens 400")
    cell = kernel.submit("%%llama attention t << --live\nOnce upon a time, there was a")
    kernel.until(lambda: cell.done or len([out for out in cell.displays if VIEW in out["data"]]) == 2)
    kernel.interrupt()
    kernel.wait(cell)
    assert cell.status == "error"
    assert "kept" in cell.error_text
    page = Explored.__new__(Explored)
    page.kernel, page.cell = kernel, cell
    page.until(lambda: page.done() and not page.state["head"]["growing"])
    length, prompt = kernel.evaluate("(t.length, t.prompt)")
    assert prompt < length < 400
    assert page.state["head"]["tokens"] == page.state["tile_info"]["rows"][1] == length
    assert kernel.evaluate("t.growing") is False
    kernel.ok("%llama unload stories")
