"""The attention explorer without a browser: what it sends, what it does with messages."""

import json
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

import llama_nb as llama
from llama_nb.magics import live_values
from llama_nb.session.explorer import Explorer
from llama_nb.session.known_traces import identify
from llama_nb.session.model import Model
from llama_nb.widgets import live_view
from llama_nb.widgets.attention_explorer import AttentionExplorer
from llama_nb.widgets.live_view import MIME
from tests.render.html_reader import read
from tests.traces import HOSTILE, random_trace
from tests.widgets.conftest import PAGE, Wire

STATE = ("head", "tokens", "view", "thumbs_info", "tile_info", "tile2_info", "effect")


@pytest.fixture(scope="module")
def cria() -> Iterator[Model]:
    model = llama.load("cria", name="cria for the explorer")
    yield model
    model.unload(force=True)


def opened(trace, *where) -> AttentionExplorer:
    made = AttentionExplorer(Explorer(trace, *where))
    made.fill()
    made.settle(60)
    return made


@pytest.fixture
def explorer(wire: Wire) -> Iterator[AttentionExplorer]:
    made = opened(random_trace(40), 1, 2)
    yield made
    made.close()


def state(explorer: AttentionExplorer) -> str:
    return json.dumps([getattr(explorer, name) for name in STATE], sort_keys=True)


def say(wire: Wire, explorer: AttentionExplorer, **message) -> None:
    wire.send(explorer.model_id, message)
    explorer.settle(60)


def answers(wire: Wire, kind: str) -> list[dict]:
    return [content for content in wire.customs() if content["kind"] == kind]


def picture(explorer: AttentionExplorer, name: str = "tile") -> np.ndarray:
    """The map that a page gets which asks for the whole state."""
    state = explorer.get_state()
    info = state[f"{name}_info"]
    assert info["band"] == [0, info["height"]]
    return np.frombuffer(state[name], np.uint8).reshape(info["height"], info["width"])


def expected(trace, layer: int, head: int) -> np.ndarray:
    return np.round(255 * np.sqrt(trace.matrix(layer, head)))


def test_it_opens_empty_and_is_filled(wire: Wire) -> None:
    trace = random_trace(40)
    made = AttentionExplorer(Explorer(trace, 1, 2))
    assert wire.of(made.model_id)[0]["state"]["head"] == {}
    live_view.begin(made)
    made.settle(60)
    assert made.head["tokens"] == 40
    assert made.tokens["texts"][3] == " w3"
    assert (made.view["layer"], made.view["head"]) == (1, 2)
    assert np.abs(picture(made) - expected(trace, 1, 2)).max() <= 1
    assert len(made.thumbs) == 4 * made.thumbs_info["side"] ** 2
    assert made.head["scored"] == "done"
    assert made.error == ""
    made.close()


def test_bytes_and_what_they_are_come_in_one_message(wire: Wire, explorer: AttentionExplorer) -> None:
    sent = [data for data in wire.of(explorer.model_id) if "tile_info" in data.get("state", {})]
    assert all(["tile"] in data["buffer_paths"] for data in sent[1:])
    assert sent[1:]


def test_another_head_another_window(wire: Wire, explorer: AttentionExplorer) -> None:
    trace = explorer._explorer.trace
    number = explorer.tile_info["number"]
    say(wire, explorer, kind="look", layer=2, head=3)
    assert np.abs(picture(explorer) - expected(trace, 2, 3)).max() <= 1
    assert explorer.thumbs_info["layer"] == 2
    assert explorer.tile_info["number"] > number
    say(wire, explorer, kind="zoom", rows=[10, 20], cols=[0, 12])
    assert np.abs(picture(explorer) - expected(trace, 2, 3)[10:20, :12]).max() <= 1
    assert explorer.view["rows"] == [10, 20]


def test_links_values_and_tokens_are_answered_by_number(wire: Wire, explorer: AttentionExplorer) -> None:
    trace = explorer._explorer.trace
    say(wire, explorer, kind="row", query=30, number=7)
    (row,) = answers(wire, "row")
    at, weight = row["links"][0]
    assert (row["number"], row["query"], row["second"]) == (7, 30, False)
    assert weight == pytest.approx(trace.row(1, 2, 30).max(), rel=1e-4)
    assert at == trace.row(1, 2, 30).argmax()
    say(wire, explorer, kind="column", key=3, number=8)
    (column,) = answers(wire, "column")
    assert column["links"][0][1] == pytest.approx(trace.matrix(1, 2)[:, 3].max(), rel=1e-4)
    say(wire, explorer, kind="value", row=30, col=3, number=9)
    (value,) = answers(wire, "value")
    assert value["value"] == pytest.approx(float(trace.matrix(1, 2)[30, 3]), abs=1e-6)
    say(wire, explorer, kind="tokens", start=38, end=50)
    (tokens,) = answers(wire, "tokens")
    assert (tokens["start"], tokens["texts"]) == (38, [" w38", " w39"])
    say(wire, explorer, kind="data", number=4)
    (data,) = answers(wire, "data")
    assert data["text"].startswith("query\t")
    assert data["number"] == 4


def test_two_heads_beside_each_other(wire: Wire, explorer: AttentionExplorer) -> None:
    other = random_trace(40, seed=5)
    say(wire, explorer, kind="compare", trace=identify(other), layer=0, head=1)
    assert explorer.view["mode"] == "two"
    assert np.abs(picture(explorer, "tile2") - expected(other, 0, 1)).max() <= 1
    say(wire, explorer, kind="row", query=5, number=1, second=True)
    assert answers(wire, "row")[-1]["second"] is True
    assert answers(wire, "row")[-1]["links"][0][1] == pytest.approx(other.row(0, 1, 5).max(), rel=1e-4)
    say(wire, explorer, kind="mode", mode="difference")
    assert explorer.tile2_info["signed"] is True
    say(wire, explorer, kind="compare", off=True)
    assert explorer.view["mode"] == "one"
    assert explorer.tile2_info == {}
    assert explorer.tile2 == b""


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "look", "layer": 9, "head": 0},
        {"kind": "look", "layer": "1", "head": 0},
        {"kind": "look", "layer": True, "head": 0},
        {"kind": "look", "layer": 1},
        {"kind": "zoom", "rows": [0, 99], "cols": [0, 40]},
        {"kind": "zoom", "rows": [0], "cols": [0, 40]},
        {"kind": "zoom", "rows": [5, 1], "cols": [0, 40]},
        {"kind": "zoom", "rows": [0, 1e400], "cols": [0, 40]},
        {"kind": "thumbs", "layer": 77},
        {"kind": "thumbs"},
        {"kind": "row", "query": 40, "number": 1},
        {"kind": "row", "query": -1, "number": 1},
        {"kind": "row", "query": 3},
        {"kind": "row", "query": 3, "number": 1, "second": True},
        {"kind": "column", "key": 4000, "number": 1},
        {"kind": "value", "row": 4000, "col": 1, "number": 1},
        {"kind": "value", "row": [1], "col": 1, "number": 1},
        {"kind": "query", "query": "first"},
        {"kind": "query", "query": 400},
        {"kind": "compare", "trace": "t999", "layer": 0, "head": 0},
        {"kind": "compare", "trace": {"a": 1}, "layer": 0, "head": 0},
        {"kind": "compare"},
        {"kind": "mode", "mode": "two"},
        {"kind": "mode", "mode": ["two"]},
        {"kind": "prompt", "text": 3},
        {"kind": "prompt", "text": "  "},
        {"kind": "tokens", "start": None, "end": 3},
        {"kind": "tokens", "start": 0, "end": 3, "trace": "t999"},
        {"kind": "off", "parts": [[0, 99]], "mode": "zero"},
        {"kind": "off", "parts": "all", "mode": "zero"},
        {"kind": "off", "parts": [[0, 1]], "mode": "loud"},
        {"kind": "data", "number": None},
        {"kind": "hello", "whole": "no"},
        {"kind": HOSTILE},
        {"kind": None},
        {},
    ],
)
def test_what_is_wrong_is_ignored(wire: Wire, explorer: AttentionExplorer, message: dict) -> None:
    before, sent = state(explorer), len(wire.customs())
    say(wire, explorer, **message)
    assert state(explorer) == before
    assert len(wire.customs()) == sent
    assert explorer.error == ""


def test_numbers_beyond_the_text_ask_for_no_tokens_that_there_are_not(wire: Wire, explorer) -> None:
    say(wire, explorer, kind="tokens", start=-(10**30), end=10**30)
    assert len(answers(wire, "tokens")[-1]["texts"]) == 40


def test_a_page_that_missed_a_band_gets_the_whole_map(wire: Wire) -> None:
    made = opened(random_trace(5_000, layers=(0,), heads=2, kv_heads=1), 0, 0)
    first, last = made.tile_info["band"]
    assert first > 0
    assert last == 512
    before = len(wire.of(made.model_id))
    say(wire, made, kind="hello", whole=True)
    assert len(wire.of(made.model_id)) == before
    say(wire, made, kind="hello", whole=False)
    assert made.tile_info["band"] == [0, 512]
    assert len(made.tile) == 512 * 512
    say(wire, made, kind="hello", whole=False)
    assert sum("tile_info" in data.get("state", {}) for data in wire.of(made.model_id)[before:]) >= 2
    made.close()


def test_only_the_newest_look_is_computed(wire: Wire) -> None:
    made = AttentionExplorer(Explorer(random_trace(5_000, layers=(0, 1), heads=4), 0, 0))
    made.fill()
    began = time.monotonic()
    for head in (1, 2, 3):
        wire.send(made.model_id, {"kind": "look", "layer": 1, "head": head})
    assert time.monotonic() - began < 0.5
    made.settle(60)
    assert (made.tile_info["layer"], made.tile_info["head"], made.tile_info["done"]) == (1, 3, 1)
    made.close()


def test_a_long_map_can_be_cancelled(wire: Wire) -> None:
    made = AttentionExplorer(Explorer(random_trace(12_000, layers=(0,), heads=1, kv_heads=1, width=32), 0, 0))
    coarse = threading.Event()
    made.observe(lambda _: coarse.set(), "tile_info")
    made.fill()
    assert coarse.wait(30)
    began = time.monotonic()
    wire.send(made.model_id, {"kind": "cancel"})
    made.settle(30)
    assert time.monotonic() - began < 1.0
    assert made.tile_info["done"] < 1
    assert made.error == ""
    made.close()


def test_it_may_be_closed_while_it_computes(wire: Wire) -> None:
    made = AttentionExplorer(Explorer(random_trace(6_000, layers=(0,), heads=2), 0, 0))
    made.fill()
    made.close()
    made.settle(30)


def test_an_exception_is_shown(wire: Wire, explorer: AttentionExplorer, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(explorer._explorer.trace, "rows", broken)
    say(wire, explorer, kind="look", layer=0, head=0)
    assert explorer.error == "OSError: the disk is gone"
    monkeypatch.undo()


# --- with a model -----------------------------------------------------------------------------------------


def test_switches_show_what_a_head_does(wire: Wire, cria: Model) -> None:
    made = opened(cria.attention("Anna gave Tom the ball. Tom gave Anna the"))
    assert made.head["alive"] is True
    layer = made.view["layer"]
    say(wire, made, kind="off", parts=[[layer, 0], [layer, "mlp"]], mode="zero")
    assert made.effect["off"] == [f"L{layer} H0", f"L{layer} MLP"]
    assert made.effect["running"] is False
    assert made.effect["kl"] > 0
    before, after = dict(made.effect["before"]), dict(made.effect["after"])
    assert set(before) == set(after)
    assert before != after
    assert list(before.values()) == sorted(before.values(), reverse=True)
    assert made.effect["text_before"]
    assert made.view["off"] == [[layer, 0], [layer, "mlp"]]
    say(wire, made, kind="query", query=3)
    assert made.effect["position"] == 3
    say(wire, made, kind="off", parts=[], mode="zero")
    assert made.effect == {}
    made.close()


def test_another_text_is_read_and_put_beside(wire: Wire, cria: Model) -> None:
    made = opened(cria.attention("The cat sat on the mat."), 1, 0)
    say(wire, made, kind="prompt", text="The dog sat on the mat.")
    assert made.view["mode"] == "two"
    other = made.view["other"]
    assert (other["layer"], other["head"]) == (1, 0)
    assert other["trace"] in {each["id"] for each in made.head["others"]}
    assert made.tile2_info["done"] == 1
    say(wire, made, kind="tokens", start=0, end=3, trace=other["trace"])
    assert "".join(answers(wire, "tokens")[-1]["texts"])
    made.close()


def test_without_its_model_a_trace_is_there_and_says_what_needs_it(wire: Wire, stories260k) -> None:
    model = llama.load(stories260k, name="stories that go")
    made = opened(model.attention("The cat sat."), 0, 0)
    model.unload(force=True)
    assert made.head["alive"] is False
    say(wire, made, kind="look", layer=1, head=1)
    assert made.tile_info["head"] == 1
    say(wire, made, kind="off", parts=[[0, 0]], mode="zero")
    assert "not loaded any more" in made.effect["error"]
    say(wire, made, kind="prompt", text="Once")
    assert "not loaded any more" in made.error
    made.close()


# --- how it stands in a notebook --------------------------------------------------------------------------


def test_the_twin_follows_the_shown_head(wire: Wire, explorer: AttentionExplorer) -> None:
    explorer.send_twin()
    assert "Shown: L1 H2" in explorer.twin["text/plain"]
    assert 'src="data:image/png;base64,' in explorer.twin["text/html"]
    say(wire, explorer, kind="look", layer=0, head=3)
    explorer.send_twin()
    assert "Shown: L0 H3" in explorer.twin["text/plain"]


def test_hostile_tokens_stay_texts(wire: Wire) -> None:
    made = opened(random_trace(5, texts=[HOSTILE] * 5))
    made.send_twin()
    html = made.twin["text/html"]
    assert html.count("<img") == 1
    assert not [fault for fault in read(html).faults if "script" in fault or "onerror=" in fault]
    assert made.tokens["texts"][0] == HOSTILE
    made.close()


def test_a_trace_is_shown_as_the_explorer(wire: Wire, monkeypatch) -> None:
    monkeypatch.setattr(live_values, "detect", lambda: PAGE)
    monkeypatch.setattr(live_view, "detect", lambda: PAGE)
    trace = random_trace(20)
    for shown, head in ((trace, None), (trace.view(2, 3), 3)):
        name = f"{type(shown).__module__}.{type(shown).__name__}"
        data, _ = live_values._shower(live_values._VIEWS[name])(shown)
        assert {MIME, "text/plain", "text/html"} <= set(data)
        made = live_view.shown(AttentionExplorer)[-1]
        made.settle(60)
        assert made.head["tokens"] == 20
        assert head is None or made.view["head"] == head
        made.close()


def test_it_has_a_stable_name(explorer: AttentionExplorer) -> None:
    assert repr(explorer) == "<AttentionExplorer>"
