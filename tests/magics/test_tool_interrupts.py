"""An interrupt at any line of our code that a run with tools goes through: the chat stays a conversation."""

import sys

import pytest

import llama_nb
from llama_nb.session import registry
from tests.magics.test_interrupts import At
from tests.session.tool_models import call, calling

STRIDE = 29
CELL = "%%llama tools r << clock --auto --text\nWhat time is it?"
RAN = []


@llama_nb.tool(safe=True)
def clock(city: str) -> str:
    """Get the time in a city."""
    RAN.append(city)
    return "12:30"


def install():
    model = calling(call("clock", city="Oslo"), "It is 12:30.")
    registry._models["fake"] = model
    registry.use("fake")
    return model


@pytest.mark.parametrize("offset", [0, *(pytest.param(n, marks=pytest.mark.full) for n in range(1, STRIDE))])
def test_an_interrupt_at_any_line_leaves_a_conversation(shell, model, offset):
    shell.names["clock"] = clock
    install()
    assert shell(CELL).ok  # imports what is imported lazily
    number, problems = 1 + offset, []
    while True:
        RAN.clear()
        talking = install()
        shell.names["r"] = None
        at = At(number)
        sys.settrace(at)
        try:
            error = shell(CELL).error
        except KeyboardInterrupt as escaped:  # IPython itself was at work: transforming the cell
            error = escaped
        finally:
            sys.settrace(None)
        if at.seen < number:
            break
        problem = check(error, shell.names["r"], talking)
        if problem:
            problems.append((number, problem, at.where))
        number += STRIDE
    assert not problems
    assert number > 100
    install()
    assert shell(CELL).ok


def check(error, run, model):
    messages = [node.message for node in model.chats["main"].path()]
    roles = [message.role for message in messages]
    whole = ["user", "assistant", "tool", "assistant"]
    problems = {
        "another error": error is not None and not isinstance(error, KeyboardInterrupt),
        "passed without a value": error is None and run is None,
        "the conversation is torn": roles != whole[: len(roles)],
        "a call without its result": bool(messages) and bool(messages[-1].tool_calls),
        "ran twice": len(RAN) > 1,
        "the turn is in the chat, but the value is lost": bool(roles) and run is None,
        "still in use": bool(model.active),
    }
    return [name for name, found in problems.items() if found]
