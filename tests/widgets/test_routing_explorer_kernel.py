"""The routing explorer in a real kernel: what a page sends, what it gets, and how many bytes that is."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llama_nb.widgets.base import STATIC
from tests.conftest import ROOT
from tests.kernel import Kernel
from tests.widgets.explored import Page, size

TO_OPEN = 2_000_000  # bytes of all messages until everything is shown
A_WINDOW = 500_000


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel({"PYTHONPATH": str(ROOT)}, cwd=tmp_path_factory.mktemp("notebooks")) as started:
        started.ok("%load_ext llama_nb\nfrom tests.routing_traces import drawn_trace")
        yield started


def shares(page: Page) -> Any:
    return page.state.get("load", {}).get("shares")


def test_it_opens_in_few_bytes(kernel: Kernel) -> None:
    kernel.ok("trace = drawn_trace(4096, layers=range(24), experts=128)")
    page = Page(kernel, "trace")
    page.say("hello")
    page.say("code", part="more")
    page.until(lambda: shares(page) and page.state["twin"] and page.got("code"))
    shown = [m for m in page.cell.messages if m["msg_type"] in ("display_data", "execute_result")]
    total = sum(map(size, [*page.all(), *shown]))
    assert page.state["routes_info"]["stop"] == 4096
    assert total <= TO_OPEN, f"{total:,} bytes"
    assert len((STATIC / "routing.js").read_bytes()) < total
    # A move asks for one window.
    kernel.ok("trace = drawn_trace(9000, layers=range(24), experts=128, logits=False)")
    page = Page(kernel, "trace")
    page.until(lambda: bool(shares(page)))
    before = len(page.all())
    page.say("window", start=4096)
    page.until(lambda: page.state["routes_info"]["start"] == 4096)
    moved = [message for message in page.all()[before:] if "routes_info" in str(message["content"])]
    assert sum(map(size, moved)) <= A_WINDOW
    kernel.ok("del trace")


def test_what_a_page_gets_is_what_the_trace_says(kernel: Kernel) -> None:
    kernel.ok("trace = drawn_trace(40, seed=3)")
    page = Page(kernel, "trace.view(1)")
    page.until(lambda: bool(shares(page)))
    chosen = np.array(kernel.evaluate("trace.chosen.tolist()"))
    bytes_ = page.buffer("routes")[: chosen.size]
    assert (np.frombuffer(bytes_, np.uint8).reshape(chosen.shape) == chosen).all()
    counts = [(chosen[:, 1, 0] == expert).mean() for expert in range(8)]
    assert shares(page)[1] == pytest.approx(counts, abs=1e-5)
    page.say("scores", number=4, layer=5, token=30)
    page.until(lambda: bool(page.got("scores")))
    scores = kernel.evaluate("trace.scores(5, 30).tolist()")
    assert page.got("scores")[0]["scores"] == pytest.approx(scores, rel=1e-3)
    page.say("expert", layer=3, expert=2)
    page.until(lambda: page.state["expert"].get("running") is False)
    assert page.state["expert"]["share"] == pytest.approx((chosen[:, 1, 0] == 2).mean(), rel=1e-3)


def test_malformed_messages_of_every_kind_change_nothing(kernel: Kernel) -> None:
    kernel.ok("trace = drawn_trace(12)")
    page = Page(kernel, "trace")
    page.until(lambda: bool(shares(page)))
    kernel.pump(1.5)
    before = len(page.all())
    wrong = [None, "x", -1, 10**12, 1.5, True, [], {}, [1], ["a", "b"], {"kind": "look"}, "<script>", "\0"]
    kinds = ("look", "window", "domain", "pane", "shade", "scores", "paths", "expert", "whatif", "code")
    names = ("layer", "token", "start", "name", "pane", "shade", "domain", "expert", "number", "position")
    changes = ("ban", "force", "drop", "top_k", "part")
    for kind in kinds:
        for value in wrong:
            page.say(kind, **dict.fromkeys((*names, *changes), value))
    page.say("scores", number=77, layer=1, token=3)
    page.until(lambda: bool(page.got("scores")))
    kernel.pump(0.5)
    answered = [
        message
        for message in page.all()[before:]
        if "twin" not in message["content"]["data"].get("state", {})
    ]
    assert [message["content"]["data"]["content"]["number"] for message in answered] == [77]


def test_messages_are_answered_while_something_long_is_computed(kernel: Kernel) -> None:
    kernel.ok("trace = drawn_trace(30_000, layers=range(12), experts=64, logits=False)")
    page = Page(kernel, "trace")
    page.until(lambda: bool(shares(page)))
    page.say("cost")
    page.until(lambda: page.state["cost"].get("running") is True)
    began = time.monotonic()
    page.say("look", layer=3, token=17)
    page.until(lambda: page.state["view"]["token"] == 17)
    assert time.monotonic() - began < 2
    page.until(lambda: page.state["cost"].get("running") is False)
    assert page.state["cost"]["cache"]
    kernel.ok("del trace")


def test_where_nobody_watches_it_is_colours_and_a_text(kernel: Kernel) -> None:
    kernel.ok("trace = drawn_trace(12)")
    shown = kernel.ok("trace", allow_stdin=False).value
    assert set(shown) == {"text/plain", "text/html"}
    assert shown == kernel.ok("trace", allow_stdin=False).value
    assert "0x" not in shown["text/plain"]
    assert str(Path.cwd()) not in json.dumps(shown)


def test_what_if_shows_both_texts(kernel: Kernel) -> None:
    kernel.ok("%llama load cria-moe\n%llama set temperature 0")
    page = Page(kernel, "%llama routing --layer 3 'Anna has 3 apples and buys 4 more. Now she has'")
    page.until(lambda: bool(shares(page)))
    chosen = kernel.evaluate("int(_.chosen[-1, 1, 0])")
    page.say("whatif", ban=[[3, chosen]], force=[], drop=[1], top_k=None, position=None)
    page.until(lambda: page.state["effect"].get("running") is False)
    effect = page.state["effect"]
    assert effect["changed"] == [f"L3 E{chosen} forbidden", "L1 shared expert off"]
    assert effect["error"] == ""
    assert effect["kl"] > 0
    assert effect["loss_before"] != effect["loss_after"]
    assert effect["text_before"]
    assert dict(effect["before"]).keys() == dict(effect["after"]).keys()
    page.say("expert", layer=3, expert=chosen)
    page.until(lambda: page.state["expert"].get("running") is False)
    expert = page.state["expert"]
    assert len(expert["norms"]) == 8
    assert expert["norm"] == expert["norms"][chosen]
    assert [number for number, *_ in expert["similar"]] == [each for each in range(8) if each != chosen]
    page.say("whatif", ban=[[3, each] for each in range(8)], force=[], drop=[], top_k=None, position=None)
    page.until(lambda: bool(page.state["effect"].get("error")))
    assert "forbidden" in page.state["effect"]["error"]


def test_live_the_tokens_grow_while_the_model_answers(kernel: Kernel) -> None:
    kernel.ok("%llama load cria-moe\n%llama set --temperature 0 --max-tokens 60")
    page = Page(kernel, "%%llama routing t << --live\nTell me a story about Anna and a cat.")
    page.until(lambda: page.state["head"].get("growing") is False and bool(shares(page)))
    sent = [message["content"]["data"].get("state", {}) for message in page.all()]
    lengths = [state["head"]["tokens"] for state in sent if state.get("head")]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1] == kernel.evaluate("t.length")
    head = page.state["head"]
    assert head["prompt"] < head["tokens"] == page.state["routes_info"]["stop"]
    assert len(page.state["tokens"]["texts"]) == head["tokens"]


def test_an_interrupt_keeps_what_was_written(kernel: Kernel) -> None:
    kernel.ok("%llama load cria-moe\n%llama set --temperature 1 --max-tokens 900 --banned .")
    cell = kernel.submit("%%llama routing t << --live\nTell me a story about Anna and a cat.")
    kernel.until(lambda: cell.done or len(cell.displays) == 2)
    kernel.interrupt()
    kernel.wait(cell)
    assert cell.status == "error"
    assert "kept" in cell.error_text
    length, prompt, growing = kernel.evaluate("(t.length, t.prompt, t.growing)")
    assert prompt < length
    assert growing is False
