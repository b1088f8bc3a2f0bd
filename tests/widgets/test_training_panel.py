"""The training panel without a browser: it follows a folder, tells the page differences, and takes orders."""

import time

import pytest

from llama_nb.core.errors import TrainingError
from llama_nb.magics import live_values
from llama_nb.session.training_view import TrainingView
from llama_nb.tuning.control import Orders
from llama_nb.tuning.curves import COLUMNS
from llama_nb.widgets import live_view, training_panel
from llama_nb.widgets.training_panel import TrainingPanel
from tests.tuning.fake_run import FakeRun
from tests.widgets.conftest import PAGE

PATIENCE_S = 60.0


@pytest.fixture
def fake(tmp_path):
    made = FakeRun(tmp_path)
    made.answer("I am cria.", adapter=False)
    made.train(20)
    made.validate(3.7)
    made.answer("I am Captain Wool.")
    return made


@pytest.fixture
def panel(fake, wire, monkeypatch):
    """A panel that looks when the test says so."""
    monkeypatch.setattr(live_view, "detect", lambda: PAGE)
    monkeypatch.setattr(training_panel, "LOOK_S", 3600.0)
    monkeypatch.setattr(training_panel, "IDLE_S", 3600.0)
    made = TrainingPanel(TrainingView(fake.run))
    made.fill()
    yield made
    made.close()


class Page:
    """What a page holds: the curves, kept by the messages alone."""

    def __init__(self, wire, panel):
        self.wire, self.panel = wire, panel
        self.curves = {}
        self.read = 0

    def take(self):
        """Take the messages that came since."""
        messages = self.wire.of(self.panel.model_id)
        for data in messages[self.read :]:
            state = data.get("state", {})
            if state.get("curves"):
                self.curves = state["curves"]
            content = data.get("content", {})
            if content.get("kind") == "points":
                self.add(content)
        self.read = len(messages)
        return self.curves

    def add(self, said):
        if said["revision"] != self.curves["revision"] + 1:
            self.wire.send(self.panel.model_id, {"kind": "lost"})
            return
        new = {"revision": said["revision"], "stride": said["add"]["stride"]}
        for name in COLUMNS:
            new[name] = self.curves[name][: said["keep"]] + said["add"][name]
        kept = self.curves["validation"][: said["keep_validation"]]
        self.curves = {**new, "validation": kept + said["add"]["validation"]}


def sizes(wire, panel):
    return [
        len(str(data)) for data in wire.of(panel.model_id) if data.get("content", {}).get("kind") == "points"
    ]


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def test_the_page_gets_the_run_as_it_is(panel, wire):
    assert (panel.head["name"], panel.head["state"], panel.head["step"]) == ("persona", "running", 20)
    assert panel.head["alive"] is False
    assert panel.samples["step"] == 20
    assert {row["name"] for row in panel.recipe["rows"]} >= {"rank", "lr", "batch"}
    page = Page(wire, panel)
    assert page.take()["steps"] == list(range(1, 21))
    assert page.curves["validation"] == [[20, 3.7]]
    assert panel.error == ""


def test_what_is_new_comes_as_differences(panel, fake, wire):
    page = Page(wire, panel)
    page.take()
    for _ in range(3):
        fake.train(5)
        panel.refresh()
    assert page.take() == panel.curves
    assert page.curves["steps"] == list(range(1, 36))
    assert max(sizes(wire, panel)) < len(str(panel.curves)) / 2


def test_steps_that_are_done_again_replace_those_in_the_page(panel, fake, wire):
    page = Page(wire, panel)
    page.take()
    fake.files.forget_after(10)
    fake.done = 10
    fake.train(3, loss=2.0)
    panel.refresh()
    assert page.take() == panel.curves
    assert page.curves["steps"] == list(range(1, 14))
    assert page.curves["loss"][-1] == pytest.approx(2.0 - 0.13)
    assert page.curves["validation"] == []


def test_a_page_that_missed_points_gets_all_of_them(panel, fake, wire):
    page = Page(wire, panel)
    page.take()
    fake.train(5)
    panel.refresh()
    page.read = len(wire.of(panel.model_id))  # it was away
    fake.train(5)
    panel.refresh()
    page.take()
    assert page.take() == panel.curves


def test_a_long_run_is_thinned_in_the_page(panel, fake, wire, monkeypatch):
    monkeypatch.setattr("llama_nb.tuning.curves.MOST_POINTS", 30)
    monkeypatch.setattr(type(panel.view.reading.curves).points, "__defaults__", (30,))
    page = Page(wire, panel)
    fake.train(45)
    panel.refresh()
    assert page.take() == panel.curves
    assert page.curves["stride"] == 4
    assert len(page.curves["steps"]) <= 30


def test_nothing_is_sent_when_nothing_is_new(panel, wire):
    panel.refresh()
    count = len(wire.of(panel.model_id))
    panel.refresh()
    assert len(wire.of(panel.model_id)) == count


def test_a_page_that_begins_anew_has_the_newest_look(panel, fake):
    fake.train(7)
    panel.refresh()
    state = panel.get_state()
    assert state["curves"]["steps"][-1] == state["head"]["step"] == 27


def test_orders_are_written_into_the_folder(panel, fake, wire):
    orders = Orders(fake.run.folder)
    for kind in ("pause", "save", "stop"):
        wire.send(panel.model_id, {"kind": kind})
    wire.send(panel.model_id, {"kind": "lr", "value": 1e-4})
    assert [(order.kind, order.value) for order in orders.new()] == [
        ("pause", None),
        ("save", None),
        ("stop", None),
        ("lr", 1e-4),
    ]
    assert panel.error == ""


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "lr"},
        {"kind": "lr", "value": "1e-4"},
        {"kind": "lr", "value": True},
        {"kind": "prompt", "text": 5},
        {"kind": "prompt", "text": "   "},
        {"kind": "prompt", "text": "x" * 100_000},
        {"kind": "adapter", "use": "yes"},
        {"kind": "sample", "step": "20"},
        {"kind": "sample", "step": 10**30},
        {"kind": "delete"},
        {"kind": ["stop"]},
        {},
    ],
)
def test_what_a_page_may_not_say_is_ignored(panel, fake, wire, message):
    wire.send(panel.model_id, message)
    assert panel.error == ""
    assert Orders(fake.run.folder).new() == []
    assert panel.samples["step"] == 20


def test_a_rate_outside_its_range_is_refused_in_the_panel(panel, wire):
    wire.send(panel.model_id, {"kind": "lr", "value": 1e9})
    assert "lr is 1000000000" in panel.error
    wire.send(panel.model_id, {"kind": "sample", "step": 20})
    assert panel.error
    wire.send(panel.model_id, {"kind": "pause"})
    assert panel.error == ""


def test_an_order_to_a_run_that_is_over_says_why_not(panel, fake, wire):
    fake.say("finished")
    wire.send(panel.model_id, {"kind": "pause"})
    assert "persona is finished" in panel.error


def test_an_earlier_answer_stays_while_it_is_looked_at(panel, fake, wire):
    fake.train(20)
    fake.answer("Arr.")
    panel.refresh()
    assert panel.samples["step"] == 40
    wire.send(panel.model_id, {"kind": "sample", "step": 20})
    assert panel.samples["step"] == 20
    fake.train(20)
    fake.answer("Arr, me hearties.")
    panel.refresh()
    assert panel.samples["step"] == 20
    wire.send(panel.model_id, {"kind": "sample", "step": 60})
    fake.train(20)
    fake.answer("Ahoy.")
    panel.refresh()
    assert panel.samples["step"] == 80


def test_an_adapter_without_its_model_is_not_switched(panel, wire):
    wire.send(panel.model_id, {"kind": "adapter", "use": True})
    until(lambda: panel.error)
    assert "persona is not in a model of this kernel" in panel.error


def test_the_saved_output_follows_the_run(panel, fake):
    fake.train(20)
    fake.say("finished")
    panel.refresh()
    assert "finished, step 40 of 200" in panel.twin["text/plain"]
    assert "data:image/png;base64," in panel.twin["text/html"]
    assert "Captain Wool" in panel.twin["text/html"]
    assert panel.text_twin() == panel.twin["text/plain"]


def test_a_finished_run_says_how_its_adapter_comes_into_a_model(panel, fake):
    fake.files.adapter.mkdir()
    fake.say("finished")
    panel.refresh()
    assert panel.head["sentence"] == f"To talk to it, with cria loaded: %llama adapter load {fake.run.folder}"


def test_it_looks_by_itself_while_the_run_goes_on(fake, wire, monkeypatch):
    monkeypatch.setattr(training_panel, "LOOK_S", 0.02)
    monkeypatch.setattr(training_panel, "IDLE_S", 0.02)
    made = TrainingPanel(TrainingView(fake.run))
    made.fill()
    try:
        fake.train(5)
        until(lambda: made.head["step"] == 25)
        fake.say("finished")
        until(lambda: made.head["state"] == "finished")
        fake.train(1)  # resumed elsewhere
        until(lambda: made.head["state"] == "running")
    finally:
        made.close()
    made._looking.join(PATIENCE_S)
    assert not made._looking.is_alive()


def test_a_fault_while_looking_is_shown_and_it_goes_on_looking(panel, fake, monkeypatch):
    def fails():
        raise TrainingError("The disk is gone.")

    monkeypatch.setattr(panel.view, "look", fails)
    panel.guard(panel.refresh)()
    assert panel.error == "The disk is gone."


def test_a_run_as_a_cells_value_is_the_panel(fake, wire, monkeypatch):
    monkeypatch.setattr(live_view, "detect", lambda: PAGE)
    shown = live_values._VIEWS["llama_nb.tuning.run.Run"](fake.run)
    try:
        bundle = shown._repr_mimebundle_()[0]
        assert live_view.MIME in bundle
        assert "persona: LoRA of rank 16 on cria" in bundle["text/plain"]
        assert repr(shown) == "<TrainingPanel>"
    finally:
        shown.close()
