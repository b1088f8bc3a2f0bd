"""The live status: a reading for each question, a twin when something notable moved."""

import pytest

from llama_nb.magics.shown import Shown, table
from llama_nb.magics.status_report import StatusReport
from llama_nb.render.memory import MemoryUse, Share
from llama_nb.widgets import live_view
from llama_nb.widgets.status_bars import StatusBars
from tests.widgets.conftest import PAGE

GB = 10**9


class Machine:
    """Memory and models that a test moves."""

    def __init__(self):
        self.models = {"cria": GB}
        self.others = 3 * GB

    def report(self):
        shares = [Share(name, taken, "weights") for name, taken in self.models.items()]
        memory = [MemoryUse("RAM", 16 * GB, (*shares, Share("others", self.others)))]
        return StatusReport(table(["model"], [[name] for name in self.models]), memory, self.report)


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def bars(wire, machine, monkeypatch):
    monkeypatch.setattr(live_view, "detect", lambda: PAGE)
    monkeypatch.setattr(live_view, "TWIN_AFTER_S", 60.0)
    made = StatusBars(machine.report())
    yield made
    made.close()


def ask(bars, wire):
    wire.send(bars.model_id, {"kind": "sample"})


def free(bars):
    bar = bars.memory["bars"][0]
    return bar["capacity"] - sum(part["bytes"] for part in bar["parts"])


def test_the_output_holds_the_view_and_todays_twins(bars):
    data, _ = bars._repr_mimebundle_()
    assert live_view.MIME in data
    assert "cria" in data["text/plain"]
    assert "12.0 GB" in data["text/plain"]
    assert "<table" in data["text/html"]
    assert "12.0 GB of 16.0 GB free" in data["text/html"]


def test_each_question_is_answered_with_a_reading(bars, wire, machine):
    machine.others = 4 * GB
    assert free(bars) == 12 * GB
    ask(bars, wire)
    assert free(bars) == 11 * GB
    assert wire.customs() == [{"kind": "sampled"}]


def test_nothing_is_read_unless_somebody_asks(bars, wire):
    wire.messages.clear()
    wire.send(bars.model_id, {"kind": "hello"})
    assert wire.messages == []


def test_tables_travel_only_when_they_changed(bars, wire, machine):
    ask(bars, wire)
    assert not any("tables" in state for state in wire.updates())
    machine.models["other"] = GB
    ask(bars, wire)
    assert any("tables" in state for state in wire.updates())


@pytest.mark.parametrize(("moved", "follows"), [(0.1 * GB, False), (2 * GB, True)])
def test_the_saved_twin_follows_what_is_notable(bars, wire, machine, moved, follows):
    machine.others += int(moved)
    ask(bars, wire)
    assert (bars._twin_timer is not None) == follows


def test_the_saved_twin_follows_a_model_that_was_loaded(bars, wire, machine):
    machine.models["tiny"] = 1000
    ask(bars, wire)
    assert bars._twin_timer is not None
    bars.send_twin()
    assert "tiny" in bars.twin["text/plain"]


def test_a_reading_that_fails_is_said_and_forgotten_when_the_next_one_works(bars, wire, machine, caplog):
    broken = bars._report.again
    bars._report.again = lambda: 1 / 0
    ask(bars, wire)
    assert "ZeroDivisionError" in bars.error
    bars._report.again = broken
    ask(bars, wire)
    assert bars.error == ""


def test_a_text_alone_is_a_table_too(wire):
    bars = StatusBars(StatusReport(Shown("No model is loaded."), [MemoryUse("RAM", GB, ())], lambda: None))
    assert bars.tables == [{"t": "p", "c": ["No model is loaded."]}]
    bars.close()
