"""What a function returns or raises, as the text that the model is told."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from llama_nb.core.errors import LlamaError, ToolError
from llama_nb.session.tool_result import LONGEST_RESULT
from llama_nb.session.tools import PendingCall
from tests.session.tool_models import call, calling, last_result


def yes(_: PendingCall) -> bool:
    return True


def test_a_function_that_raises_is_told_without_secrets(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz123456")

    def lookup(word: str) -> str:
        """Look a word up."""
        raise ValueError("no such word with hf_abcdefghijklmnopqrstuvwxyz123456\n" + "x" * 1000)

    model = calling(call("lookup", word="a"), last_result)
    run = model.tools("Go", [lookup], approve=yes)
    assert run.calls[0].state == "failed"
    assert run.calls[0].error.startswith("ValueError: no such word with ")
    assert "hf_abc" not in run.text
    assert len(run.text) < 400


@pytest.mark.parametrize("raised", [SystemExit(1), GeneratorExit(), LlamaError("x"), ToolError("x")])
def test_whatever_a_function_raises_the_conversation_goes_on(raised):
    def odd(word: str) -> str:
        """Be odd."""
        raise raised

    run = calling(call("odd", word="a"), "Sorry.").tools("Go", [odd], approve=yes)
    assert (run.calls[0].state, run.text) == ("failed", "Sorry.")


class Unprintable:
    def __str__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "null"),
        ("plain text", "plain text"),
        ("", ""),
        (21.5, "21.5"),
        ({"a": (1, 2)}, '{"a": [1, 2]}'),
        ({"q": float("nan")}, '{"q": NaN}'),
        (b"bytes", "bytes"),
        (dt.date(2024, 2, 29), "2024-02-29"),
        ("half \ud800", "half ?"),
        (Unprintable(), "a Unprintable that cannot be printed"),
        ({1: {2: 3}}, '{"1": {"2": 3}}'),
    ],
)
def test_any_value_becomes_text(value, told):
    def give(word: str) -> object:
        """Give something."""
        return value

    run = calling(call("give", word="a"), "Thanks.").tools("Go", [give], approve=yes)
    assert run.calls[0].state == "ran"
    assert run.calls[0].told == told
    assert run.calls[0].result is value


def test_numbers_and_tables_of_libraries_become_json():
    def give(word: str) -> object:
        """Give something."""
        frame = pd.DataFrame({"a": [1, 2]})
        return {"n": np.float32(1.5), "list": np.arange(3), "rows": frame, "self": give}

    run = calling(call("give", word="a"), "Thanks.").tools("Go", [give], approve=yes)
    assert run.calls[0].told.startswith(
        '{"n": 1.5, "list": [0, 1, 2], "rows": {"a": {"0": 1, "1": 2}}, "self": '
    )


def test_a_huge_result_is_cut_to_what_the_model_can_take():
    def book(word: str) -> str:
        """Give a book."""
        return "word " * 1_000_000

    model = calling(call("book", word="a"), "Long.", context=400)
    run = model.tools("Go", [book], approve=yes)
    assert len(run.calls[0].told.split()) <= 400 // 4 + 6
    assert run.calls[0].told.endswith("(cut: 5,000,000 characters in all)")
    assert run.text == "Long."
    assert len(run.calls[0].result) == 5_000_000
    wide = calling(call("book", word="a"), "Long.", context=10**6)
    assert len(wide.tools("Go", [book], approve=yes).calls[0].told) < LONGEST_RESULT + 100
