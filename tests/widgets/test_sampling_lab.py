"""The sampling laboratory without a browser: what it sends, what it does with messages."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator

import pytest

import llama_nb as llama
from llama_nb.core.stop import StopFlag
from llama_nb.magics.commands.sampling import EXAMPLES
from llama_nb.runtime import settings
from llama_nb.session.model import Model
from llama_nb.session.subject import find_subject
from llama_nb.widgets import live_view, sampling_lab
from llama_nb.widgets.live_view import MIME
from llama_nb.widgets.sampling_lab import SamplingLab
from tests.conftest import ROOT
from tests.kernel import Kernel
from tests.render.html_reader import read
from tests.widgets.conftest import Notebook, Wire

VIEW = "application/vnd.jupyter.widget-view+json"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def cria() -> Iterator[Model]:
    model = llama.load("cria", name="cria for the page's laboratory")
    yield model
    model.unload(force=True)


@pytest.fixture(autouse=True)
def _no_settings() -> Iterator[None]:
    settings.clear_sampling()
    yield
    settings.clear_sampling()


@pytest.fixture
def lab(cria: Model, wire: Wire) -> Iterator[SamplingLab]:
    cria.chat("Tell me a story.", seed=3, temperature=1.1, max_tokens=40)
    made = SamplingLab(cria, find_subject(cria))
    made.fill()
    made.settle(60)
    yield made
    made.close()


def until(holds, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def updates(wire: Wire, lab: SamplingLab) -> list[dict]:
    """The state updates of the widget since it was opened; the twin's own are left out."""
    sent = [data.get("state", {}) for data in wire.of(lab.model_id) if data.get("method") == "update"]
    return [state for state in sent if set(state) - {"twin"}]


def test_it_is_shown_empty_and_then_filled(cria: Model, notebook: Notebook, wire: Wire) -> None:
    made = sampling_lab.show(cria, find_subject(cria, "The sea is"), output=notebook)
    data = notebook.shown[0]
    assert {VIEW, "text/plain", "text/html"} <= set(data)
    assert wire.of(made.model_id)[0]["state"]["view"] == {}
    made.settle(60)
    assert made.view["place"] == "the next token"
    assert made.place["tokens"][-1][2] is not None
    made.close()


def test_a_change_is_one_message_and_a_small_one(lab: SamplingLab, wire: Wire) -> None:
    before = len(updates(wire, lab))
    for step in range(5):
        wire.send(lab.model_id, {"kind": "set", "name": "temperature", "value": 0.5 + step / 10})
    sent = updates(wire, lab)[before:]
    assert [set(state) for state in sent] == [{"view"}] * 5
    assert max(len(json.dumps(state)) for state in sent) < 12_000
    assert lab.view["values"]["temperature"] == 0.9


def test_what_the_page_says_is_done(lab: SamplingLab, wire: Wire) -> None:
    def say(**message: object) -> None:
        wire.send(lab.model_id, message)

    say(kind="look", position=3)
    lab.settle(60)
    assert lab.view["position"] == 3
    say(kind="draw", on=True)
    assert lab.view["draws"]["n"] == 1000
    say(kind="preset", name="creative")
    assert lab.view["values"]["min_p"] == 0.05
    say(kind="order", names=["top_p", "temperature"])
    say(kind="apply")
    assert lab.view["applied"] is True
    assert settings.get_sampling_overrides()["min_p"] == 0.05
    settings.set_sampling("min_p", 0.2)
    assert lab.view["applied"] is False
    say(kind="reset")
    assert lab.view["changed"] is False
    say(kind="session")
    assert lab.view["values"]["min_p"] == 0.2
    say(kind="draw", on=False)
    assert lab.view["draws"] is None


def test_it_writes_on_follows_changes_and_stops(lab: SamplingLab, wire: Wire) -> None:
    wire.send(lab.model_id, {"kind": "ahead", "on": True})
    until(lambda: lab.ahead.get("state") == "done")
    first = lab.ahead["text"]
    assert first
    token = lab.view["rows"][1]["id"]
    wire.send(lab.model_id, {"kind": "ahead", "on": True, "token": token})
    until(lambda: lab.ahead.get("state") == "done" and lab.ahead["token"] == token)
    assert lab.ahead["first"] == lab.view["rows"][1]["text"]
    wire.send(lab.model_id, {"kind": "set", "name": "temperature", "value": 0})
    assert lab.ahead["state"] == "waiting"
    until(lambda: lab.ahead.get("state") == "done")
    wire.send(lab.model_id, {"kind": "roll"})
    until(lambda: lab.ahead.get("state") == "done")
    wire.send(lab.model_id, {"kind": "ahead", "on": False})
    lab.settle(60)
    assert lab.ahead == {}


def test_while_another_chat_is_answered_it_says_what_it_waits_for(cria: Model, wire: Wire) -> None:
    made = SamplingLab(cria, find_subject(cria, "The sea is"))
    with contextlib.ExitStack() as held:
        gate = threading.Event()
        held.callback(gate.set)
        busy = threading.Thread(
            target=cria.engine.examine,
            args=(lambda _module, _stopped: gate.wait(60), "chat other", StopFlag()),
        )
        busy.start()
        until(lambda: cria.engine.busy() == "chat other")
        made.fill()
        until(lambda: "Waiting for chat other" in made.status)
        assert made.view == {}
    busy.join()
    made.settle(60)
    assert made.view["rows"]
    assert made.status == ""
    made.close()


MALFORMED = [
    {"kind": "look", "position": "3"},
    {"kind": "look", "position": True},
    {"kind": "set"},
    {"kind": "set", "name": ["temperature"], "value": 1},
    {"kind": "set", "name": "temperature", "value": "hot"},
    {"kind": "set", "name": "temperature", "value": True},
    {"kind": "set", "name": "x" * 10_000, "value": 1},
    {"kind": "text", "text": 3},
    {"kind": "text", "text": "x" * 100_000},
    {"kind": "ahead", "on": "yes", "token": "1"},
    {"kind": "draw", "on": 1},
    {"kind": "__init__"},
    {"kind": None},
    {},
]


@pytest.mark.parametrize("message", MALFORMED, ids=str)
def test_malformed_messages_change_no_parameter_and_break_nothing(
    lab: SamplingLab, wire: Wire, message: dict
) -> None:
    before = lab.view["values"]
    wire.send(lab.model_id, message)
    lab.settle(60)
    assert lab.view["values"] == before
    assert lab.error == ""


WRONG = [
    ({"kind": "set", "name": "temperature", "value": -1}, "temperature"),
    ({"kind": "set", "name": "temprature", "value": 1}, "temprature"),
    ({"kind": "set", "name": "top_p", "value": float("nan")}, "top_p"),
    ({"kind": "look", "position": 10**9}, "no position"),
    ({"kind": "preset", "name": HOSTILE}, "no preset"),
    ({"kind": "order", "names": [HOSTILE]}, "no order"),
    ({"kind": "ahead", "on": True, "token": -5}, "no token"),
    ({"kind": "text", "text": " "}, "no text"),
]


@pytest.mark.parametrize(("message", "said"), WRONG, ids=str)
def test_what_cannot_be_done_is_said_in_the_laboratory(
    lab: SamplingLab, wire: Wire, message: dict, said: str
) -> None:
    before = lab.view["values"]
    wire.send(lab.model_id, message)
    until(lambda: said in lab.error)
    assert lab.view["values"] == before
    wire.send(lab.model_id, {"kind": "set", "name": "temperature", "value": 0.4})
    assert lab.error == ""


def test_a_newer_reply_is_offered_and_taken_with_the_parameters_as_they_are(
    lab: SamplingLab, wire: Wire, cria: Model
) -> None:
    wire.send(lab.model_id, {"kind": "set", "name": "temperature", "value": 0.4})
    assert lab.place["newer"] is False
    cria.chat("And another one.", max_tokens=8)
    assert lab.place["newer"] is True
    wire.send(lab.model_id, {"kind": "newest"})
    lab.settle(60)
    assert lab.place["newer"] is False
    assert lab.view["values"]["temperature"] == 0.4
    assert len(lab.place["tokens"]) <= 9


def test_hostile_text_is_text_in_both_twins(cria: Model, wire: Wire) -> None:
    made = SamplingLab(cria, find_subject(cria, f"{HOSTILE} and"))
    made.fill()
    made.settle(60)
    shown = read(made.html_twin())
    assert shown.faults == []
    assert "<script" not in made.html_twin()
    assert "Sampling laboratory" in shown.text
    assert "onerror" in made.text_twin()
    made.close()


def test_an_unloaded_model_is_said_and_what_was_seen_stays(wire: Wire, stories260k) -> None:
    model = llama.load(str(stories260k), name="to be unloaded")
    made = SamplingLab(model, find_subject(model, "Once upon a time"))
    made.fill()
    made.settle(60)
    llama.unload("to be unloaded")
    assert made.place["alive"] is False
    wire.send(made.model_id, {"kind": "set", "name": "temperature", "value": 2})
    assert made.view["values"]["temperature"] == 2
    wire.send(made.model_id, {"kind": "look", "position": 2})
    until(lambda: "unloaded" in made.error)
    made.close()


def test_the_oldest_of_many_are_closed_with_what_the_model_kept_for_them(
    cria: Model, notebook: Notebook, wire: Wire
) -> None:
    subject = find_subject(cria, "The sea is")
    count = live_view.MOST_SHOWN + 1
    made = [sampling_lab.show(cria, subject, output=notebook) for _ in range(count)]
    assert made[0].comm is None
    assert made[1].comm is not None
    for one in made[1:]:
        one.settle(60)
        one.close()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel(cwd=ROOT) as made:
        made.ok("%load_ext llama_nb")
        made.ok("import llama_nb as llama; m = llama.load('cria')")
        made.ok("r = m.chat('Tell me a story.', seed=3, max_tokens=20)")
        yield made


def test_a_watched_page_gets_the_laboratory_and_others_tables(kernel: Kernel) -> None:
    shown = kernel.ok("%llama sampling")
    assert {VIEW, MIME} <= set(shown.displays[0]["data"])
    batch = kernel.ok("%llama sampling --position 2", allow_stdin=False)
    assert [set(shown["data"]) for shown in batch.displays] == [{"text/plain", "text/html"}]
    assert "token 2 of the reply" in batch.text
    assert batch.comms == []
    tables = kernel.ok('%llama sampling "The sea is" --text')
    assert "2,048 tokens before and after" in tables.text


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_opens_one(kernel: Kernel, example: str) -> None:
    kernel.ok("r = m.chat('Tell me a story.', seed=3, max_tokens=20)")
    shown = kernel.ok(example)
    assert VIEW in shown.displays[0]["data"]
    found = kernel.ok(
        "from llama_nb.widgets import live_view, sampling_lab\n"
        "lab = live_view.shown(sampling_lab.SamplingLab)[-1]\nlab.settle(60)\n"
        "len(lab.view['rows'])"
    )
    assert int(found.text) >= 12


def test_a_slider_of_the_page_is_answered_between_cells(kernel: Kernel) -> None:
    shown = kernel.ok("%llama sampling")
    model_id = shown.displays[0]["data"][VIEW]["model_id"]
    content = {"kind": "set", "name": "temperature", "value": 1.7}
    kernel.send_comm(model_id, {"method": "custom", "content": content})
    found = kernel.ok(
        "import time\nfrom llama_nb.widgets import live_view, sampling_lab\n"
        "lab = live_view.shown(sampling_lab.SamplingLab)[-1]\n"
        "end = time.monotonic() + 30\n"
        "value = lambda: lab.view.get('values', {}).get('temperature')\n"
        "while value() != 1.7 and time.monotonic() < end: time.sleep(0.05)\nvalue()"
    )
    assert found.text == "1.7"
