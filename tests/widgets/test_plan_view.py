"""A plan as a widget, and where it stands for the plan."""

import json
from pathlib import Path

import pytest

from llama_nb.magics import live_values
from llama_nb.runtime.environment import Environment
from llama_nb.widgets.plan_view import PlanView
from tests.widgets.conftest import BATCH, PAGE, TERMINAL

RECORD = json.loads((Path(__file__).parents[2] / "labextension" / "tests" / "plan.json").read_text())
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
PLAN_MIME = "application/vnd.llama-nb.plan+json"
VSCODE = Environment("vscode", watched=True, widgets=True)


class Plan:
    def to_record(self):
        return RECORD

    def _repr_mimebundle_(self, **_):
        return {"text/plain": "the plan", "text/html": "<p>the plan</p>", PLAN_MIME: RECORD}


def test_the_widget_holds_the_record_and_the_plans_own_twins(wire):
    view = PlanView(Plan())
    data, _ = view._repr_mimebundle_()
    assert view.record == RECORD
    assert (data["text/plain"], data["text/html"]) == ("the plan", "<p>the plan</p>")
    assert data[WIDGET_MIME]["model_id"] == view.model_id
    view.close()


def test_the_record_survives_the_wire(wire):
    view = PlanView(Plan())
    opened = next(
        data for _, kind, data in wire.messages if kind == "comm_open" and "record" in data["state"]
    )
    assert json.loads(json.dumps(opened["state"]["record"])) == RECORD
    view.close()


@pytest.mark.parametrize("kind", ["vscode", "colab"])
def test_a_page_without_our_plugin_gets_the_widget(wire, monkeypatch, kind):
    monkeypatch.setattr(live_values, "detect", lambda: Environment(kind, watched=True, widgets=True))
    data, _ = live_values._shower(live_values._plan)(Plan())
    assert WIDGET_MIME in data


@pytest.mark.parametrize("environment", [PAGE, TERMINAL, BATCH, Environment("colab", True, False)])
def test_everywhere_else_the_plan_shows_itself(wire, monkeypatch, environment):
    monkeypatch.setattr(live_values, "detect", lambda: environment)
    assert live_values._shower(live_values._plan)(Plan()) == Plan()._repr_mimebundle_()


def test_the_views_are_registered_by_name_and_taken_back():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    formatter = shell.display_formatter.mimebundle_formatter
    uninstall = live_values.install(shell)
    assert ("llama_nb.planner.plan", "Plan") in formatter.deferred_printers
    uninstall()
    assert not [name for _, name in formatter.deferred_printers if name in {"Plan", "StatusReport"}]
