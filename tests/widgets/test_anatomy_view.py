"""The anatomy's widget without a browser: what it sends, what it does with messages, and in a real kernel."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llama_nb as llama
from llama_nb.core.stop import StopFlag
from llama_nb.magics.commands.anatomy import EXAMPLES
from llama_nb.session.model import Model
from llama_nb.widgets import anatomy_view
from llama_nb.widgets.anatomy_view import AnatomyView, show
from llama_nb.widgets.live_view import MIME
from tests.conftest import ROOT
from tests.kernel import Kernel
from tests.render.html_reader import read
from tests.widgets.conftest import Wire

VIEW = "application/vnd.jupyter.widget-view+json"
TEXT = "Once upon a time there was a llama."


@pytest.fixture(scope="module")
def cria() -> Iterator[Model]:
    model = llama.load("cria", name="cria for the page's anatomy")
    yield model
    model.unload(force=True)


@pytest.fixture
def view(cria: Model, wire: Wire) -> Iterator[AnatomyView]:
    made = AnatomyView(cria.anatomy(TEXT))
    yield made
    made.close()


def until(holds: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_it_opens_with_everything_a_page_needs_and_is_small(view: AnatomyView, wire: Wire) -> None:
    state = wire.of(view.model_id)[0]["state"]
    assert [block["title"] for block in state["body"]["blocks"]][:3] == ["Embedding", "RoPE", "RMSNorm"]
    assert state["measured"]["tokens"] == len(state["measured"]["positions"])
    assert state["look"]["token"] == state["measured"]["tokens"] - 1
    assert state["detail"]["gates"]
    sent = {name: value for name, value in state.items() if not name.startswith("_")}
    assert len(json.dumps(sent, allow_nan=False)) < 40_000


def test_without_a_text_there_is_nothing_measured(cria: Model, wire: Wire) -> None:
    made = AnatomyView(cria.anatomy())
    assert made.measured == {}
    assert made.detail == {}
    wire.send(made.model_id, {"kind": "look", "block": "0/mlp", "tab": "gate", "layer": 3})
    assert made.look == {"block": "0/mlp", "tab": "gate", "layer": 3, "token": 0}
    assert made.detail == {}
    made.close()


def test_a_look_is_remembered_and_answered_in_one_message(view: AnatomyView, wire: Wire) -> None:
    before = len(wire.of(view.model_id))
    look = {"block": "0/input_layernorm", "tab": "norm", "layer": 4, "token": 0}
    wire.send(view.model_id, {"kind": "look", **look})
    sent = [data["state"] for data in wire.of(view.model_id)[before:] if data.get("method") == "update"]
    assert [set(state) - {"error"} for state in sent if set(state) - {"error"}] == [{"look", "detail"}]
    assert view.look == look
    assert (view.detail["norm"], view.detail["layer"], view.detail["token"]) == ("input_layernorm", 4, 0)
    wire.send(view.model_id, {"kind": "look", "block": "model.norm"})
    assert view.detail["norm"] == "norm"
    wire.send(view.model_id, {"kind": "look", "block": ""})
    assert view.look["block"] == ""


MALFORMED = [
    {"kind": "look", "block": "0/nothing"},
    {"kind": "look", "block": ["0/mlp"]},
    {"kind": "look", "block": None},
    {"kind": "look", "tab": "<script>"},
    {"kind": "look", "tab": ["norm"]},
    {"kind": "look", "layer": -1},
    {"kind": "look", "layer": 6},
    {"kind": "look", "layer": True},
    {"kind": "look", "layer": "2"},
    {"kind": "look", "token": 10**9},
    {"kind": "look", "token": 1.5},
    {"kind": "__init__"},
    {"kind": None},
    {},
]


@pytest.mark.parametrize("message", MALFORMED, ids=str)
def test_malformed_messages_change_nothing(view: AnatomyView, wire: Wire, message: dict) -> None:
    before = dict(view.look)
    wire.send(view.model_id, message)
    assert view.look == before
    assert view.error == ""


def test_another_text_is_read_and_its_length_and_emptiness_said(view: AnatomyView, wire: Wire) -> None:
    wire.send(view.model_id, {"kind": "measure", "text": "The sea is blue."})
    view.settle(60)
    assert view.measured["tokens"] < 12
    assert view.look["token"] == view.measured["tokens"] - 1
    assert view.detail["token"] == view.look["token"]
    assert view.status == ""
    assert "The sea" not in view.error
    wire.send(view.model_id, {"kind": "measure", "text": "word " * 3000})
    assert "context" in view.error
    wire.send(view.model_id, {"kind": "measure", "text": 3})
    view.settle(60)
    assert view.error == ""
    assert view.measured["tokens"] > 12, "the example was read"


def test_it_waits_for_the_model_and_can_be_stopped(view: AnatomyView, cria: Model, wire: Wire) -> None:
    gate = threading.Event()
    busy = threading.Thread(
        target=cria.engine.examine, args=(lambda _m, _s: gate.wait(60), "something", StopFlag())
    )
    busy.start()
    until(lambda: cria.engine.busy() == "something")
    before = view.measured
    wire.send(view.model_id, {"kind": "measure", "text": "The sea is blue."})
    until(lambda: view.status == "Waiting for something …")
    wire.send(view.model_id, {"kind": "cancel"})
    gate.set()
    busy.join()
    view.settle(60)
    assert view.measured == before
    assert view.status == ""
    assert view.error == ""


def test_a_page_gets_the_code_of_its_panels(view: AnatomyView, wire: Wire) -> None:
    wire.send(view.model_id, {"kind": "code"})
    sent = wire.customs()[-1]
    assert sent["kind"] == "code"
    assert "export" in sent["text"]


def test_an_unloaded_model_is_said_and_the_anatomy_stays(wire: Wire, stories260k) -> None:
    model = llama.load(str(stories260k), name="to be unloaded under its anatomy")
    made = AnatomyView(model.anatomy("Once upon a time"))
    assert made.body["alive"] is True
    model.unload()
    assert made.body["alive"] is False
    wire.send(made.model_id, {"kind": "look", "block": "0/mlp", "layer": 2})
    assert made.detail["layer"] == 2
    wire.send(made.model_id, {"kind": "measure", "text": "Once"})
    assert "not loaded any more" in made.error
    assert "KV cache" in made.text_twin()
    assert read(made.html_twin()).faults == []
    made.close()


def test_the_oldest_of_many_are_closed(cria: Model, wire: Wire) -> None:
    found = cria.anatomy()
    made = [show(found) for _ in range(anatomy_view.MOST_VIEWS + 1)]
    assert made[0].comm is None
    assert made[1].comm is not None
    for one in made[1:]:
        one.close()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel(cwd=ROOT) as made:
        made.ok("%load_ext llama_nb")
        made.ok("import llama_nb as llama; m = llama.load('cria')")
        yield made


def test_a_watched_page_gets_the_diagram_and_others_tables(kernel: Kernel) -> None:
    shown = kernel.ok("%llama anatomy")
    assert {VIEW, MIME, "text/plain", "text/html"} <= set(shown.value)
    batch = kernel.ok('%llama anatomy "Once upon a time"', allow_stdin=False)
    assert set(batch.value) == {"text/plain", "text/html"}
    assert "2,755,008 parameters" in batch.text
    assert "Activations on" in batch.text
    assert batch.comms == []
    again = kernel.ok('m.anatomy("Once upon a time")', allow_stdin=False)
    assert again.value == batch.value
    assert "q_proj 192 × 192" in kernel.ok("%llama anatomy --text").text


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_runs(kernel: Kernel, example: str) -> None:
    kernel.ok(example)


def test_what_is_wrong_with_a_line_is_said(kernel: Kernel) -> None:
    assert "context" in kernel.run("m.anatomy('word ' * 3000)").error_text
    assert "Give one" in kernel.run('%llama anatomy "text" --chat main').error_text


def test_a_look_of_the_page_is_taken_between_cells(kernel: Kernel) -> None:
    shown = kernel.ok("%%llama anatomy\nOnce upon a time")
    model_id = shown.value[VIEW]["model_id"]
    content = {"kind": "look", "block": "0/mlp", "tab": "gate", "layer": 3}
    kernel.send_comm(model_id, {"method": "custom", "content": content})
    found = kernel.ok(
        "import time\nfrom llama_nb.widgets import anatomy_view\nview = anatomy_view._open[-1]\n"
        "end = time.monotonic() + 30\n"
        "while view.look['layer'] != 3 and time.monotonic() < end: time.sleep(0.05)\n"
        "view.detail['layer'], sum(view.detail['gates']['counts']) > 0"
    )
    assert found.text == "(3, True)"
