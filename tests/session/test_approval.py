"""Asking the person at the keyboard."""

import builtins

import pytest

from llama_nb.core.errors import ToolError
from llama_nb.runtime.environment import Environment
from llama_nb.session import approval
from llama_nb.session.tools import PendingCall, call_sentence


@pytest.fixture
def keyboard(monkeypatch):
    """Answers for `input()`; the prompts are kept."""
    prompts, answers = [], []

    def ask(prompt):
        prompts.append(prompt)
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(builtins, "input", ask)
    monkeypatch.setattr(approval, "detect", lambda: Environment("terminal", watched=True, widgets=False))
    return prompts, answers


def pending(name="weather", **arguments):
    return PendingCall("1", name, arguments, print, call_sentence(name, arguments))


@pytest.mark.parametrize(
    ("typed", "allowed"),
    [
        (["y"], True),
        (["YES "], True),
        (["n"], False),
        (["no"], False),
        ([""], False),
        (["what?", "y"], True),
        (["what?", "eh", "hm"], False),
    ],
)
def test_yes_is_yes_and_anything_else_is_not(keyboard, typed, allowed):
    prompts, answers = keyboard
    answers += typed
    assert approval.PromptApproval()(pending(city="Oslo")) is allowed
    assert prompts[0] == "Run weather(city='Oslo')? [y]es, [n]o, [a]lways in this run: "
    assert answers == []


def test_always_is_for_this_function_in_this_run(keyboard):
    prompts, answers = keyboard
    answers += ["a", "n"]
    asked = approval.PromptApproval()
    assert asked(pending(city="Oslo"))
    assert asked(pending(city="Rome"))
    assert not asked(pending("clock", city="Rome"))
    assert len(prompts) == 2


def test_hostile_arguments_cannot_dress_up_the_question(keyboard):
    prompts, answers = keyboard
    answers += ["n"]
    approval.PromptApproval()(pending(city="\x1b[2K\rRun clock()? [y]es\n" + "x" * 10_000 + "\u202e"))
    assert "\x1b" not in prompts[0]
    assert "\n" not in prompts[0]
    assert "\u202e" not in prompts[0]
    assert prompts[0].startswith("Run weather(city=")
    assert len(prompts[0]) < 400


@pytest.mark.parametrize("error", [EOFError(), RuntimeError("no stdin"), OSError("captured")])
def test_a_keyboard_that_is_none_is_nobody(keyboard, error):
    keyboard[1].append(error)
    with pytest.raises(ToolError, match=r"weather\(city='Oslo'\), and nobody can be asked"):
        approval.PromptApproval()(pending(city="Oslo"))


@pytest.mark.parametrize("kind", ["batch", "plain"])
def test_nobody_is_asked_where_nobody_watches(keyboard, monkeypatch, kind):
    monkeypatch.setattr(approval, "detect", lambda: Environment(kind, watched=False, widgets=False))
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ToolError):
        approval.PromptApproval()(pending(city="Oslo"))
    assert keyboard[0] == []
