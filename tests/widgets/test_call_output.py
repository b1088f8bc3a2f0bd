"""Calls in a cell: what is shown, where, and how often."""

import pytest

from llama_nb.runtime.environment import Environment
from llama_nb.session.tools import FunctionCall
from llama_nb.widgets.call_output import CallOutputs

STATES = ("waiting", "asking", "running", "ran")


class Outputs:
    """Remembers what was shown."""

    def __init__(self):
        self.shown = []

    def display(self, data, display_id=None):
        self.shown.append(("display", display_id, data["text/plain"]))

    def update(self, data, display_id):
        self.shown.append(("update", display_id, data["text/plain"]))

    def write(self, text):
        self.shown.append(("write", None, text))

    def new_id(self):
        return "id"


def shown(environment, *, as_text=False, states=STATES):
    output = Outputs()
    calls = CallOutputs(output)
    call = FunctionCall("1", 0, "weather", {"city": "Oslo"}, told="sunny")
    for state in states:
        call.state = state
        calls.advance(call, environment, as_text=as_text)
    assert calls._shown == {}
    return output.shown


def test_in_a_page_one_output_is_replaced():
    assert shown(Environment("lab", watched=True, widgets=True)) == [
        ("display", "id", "weather is running"),
        ("update", "id", "weather returned sunny"),
    ]


@pytest.mark.parametrize(
    ("environment", "as_text", "kind"),
    [
        (Environment("batch", watched=False, widgets=False), False, "display"),
        (Environment("terminal", watched=True, widgets=False), False, "write"),
        (Environment("lab", watched=True, widgets=True), True, "write"),
    ],
)
def test_elsewhere_it_is_shown_once(environment, as_text, kind):
    (only,) = shown(environment, as_text=as_text)
    assert only[0] == kind
    assert "weather returned sunny" in only[2]
    assert only[1] is None


def test_a_call_that_never_ran_is_shown_once():
    states = ("asking", "refused")
    assert len(shown(Environment("lab", watched=True, widgets=True), states=states)) == 1
