"""Comparisons as text and HTML: the grid, the mark at the first difference, shades with values, hostility."""

import re

import pytest

from llama_nb.render.compare import EDGES, MARK, bundle, nats, progress, shade, status, title, verdict
from tests.render.html_reader import read

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def cell(number, **changes):
    return {
        "number": number,
        "label": f"cell {number}",
        "row": 0,
        "column": number - 1,
        "span": 1,
        "state": "done",
        "detail": "",
        "common": "",
        "mark": "",
        "rest": "",
        "place": None,
        "reference": None if number == 1 else 1,
        "tokens": 3,
        "first_token_s": 0.1,
        "total_s": 0.2,
        "finish": "end",
        "error": "",
        "hint": "",
        "notes": [],
        "kl": None,
        "mean_kl": None,
        "kl_note": "",
        **changes,
    }


def record(*cells, **changes):
    return {
        "message": "Tell me of the sea.",
        "system": None,
        "models": ["cria", "cria:nf4"],
        "columns": [f"column {number}" for number in range(1, len(cells) + 1)],
        "rows": [""],
        "cells": list(cells),
        "notes": [],
        "done": True,
        "stopped": False,
        **changes,
    }


PIECES = [["The", False], [" sea", False], ["<|eot_id|>", True]]
FULL = record(
    cell(1, common="The sea", pieces=PIECES),
    cell(2, common="The", mark=" lake", rest=" is deep", place=1, kl=[0.00002, 0.5, None], mean_kl=0.17),
    cell(3, common="The sea", finish="length"),
)


def both(made, watched=True):
    shown = bundle(made, watched=watched)
    return shown["text/plain"], shown["text/html"]


def test_the_first_difference_is_marked_in_both_twins():
    text, html = both(FULL)
    assert f"The{MARK} lake is deep" in text
    assert "from 1 at token 1" in text
    marked = re.findall(r'<span style="[^"]*double[^"]*"[^>]*>([^<]*)', html)
    assert marked[:2] == ["lake", "underlined"]
    assert "differs from 1 at token 1" in html


def test_an_answer_that_is_equal_is_not_repeated_in_a_text():
    text, html = both(FULL)
    assert "(the same as [1])" in text
    assert text.count("The sea") == 1
    assert "the same as 1" in html


def test_one_that_ends_earlier_says_so():
    text, html = both(record(cell(1, common="The sea"), cell(2, common="The", place=1)))
    assert "ends here" in text
    assert "ends here" in html


def test_divergences_are_shades_with_values():
    text, html = both(FULL)
    assert "mean 0.17, largest \u221e at token 2 <|eot_id|>, 0.5 at token 1 \u00b7sea" in text
    chips = re.findall(r'<code style="([^"]*)" title="([^"]*)"', html)
    assert [tip for _, tip in chips] == [
        "token 0: &lt;0.0001 nats",
        "token 1: 0.5 nats",
        "token 2: \u221e nats",
    ]
    assert len({style.split("background-color:")[1].split(";")[0] for style, _ in chips}) == 3


def test_the_classes_of_divergence_are_powers_of_ten():
    assert [shade(edge * 0.99) for edge in EDGES] == [0, 1, 2, 3]
    assert [shade(edge) for edge in EDGES] == [1, 2, 3, 4]
    assert (shade(0), shade(None)) == (0, 4)
    assert [nats(value, watched=True) for value in (0, 5e-5, 0.12345, None)] == [
        "0",
        "<0.0001",
        "0.123",
        "\u221e",
    ]
    assert nats(0.12345, watched=False) == "0.12"


def test_why_there_is_no_divergence_stands_below_once():
    note = "the tokenizers of a and b differ, so KL is not comparable"
    text, html = both(record(cell(1), cell(2, kl_note=note), cell(3, kl_note=note)))
    assert text.count("No KL: the tokenizers") == 1
    assert html.count("No KL: the tokenizers") == 1


def test_a_cell_over_several_rows_is_named_in_the_others():
    made = record(
        cell(1, span=2, common="greedy"),
        cell(2, common="one"),
        cell(3, row=1, column=1, common="two"),
        rows=["seed 1", "seed 2"],
        columns=["t 0", "t 1"],
    )
    _, html = both(made)
    assert html.count("greedy") == 1
    assert "as 1, whatever the seed" in html
    assert html.count("<tr") == 3


def test_where_nobody_watches_nothing_varies():
    text, html = both(FULL, watched=False)
    assert "tokens/s" not in text + html
    assert "20 tokens/s" in both(FULL)[1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"state": "waiting", "tokens": 0}, "waits"),
        ({"state": "loading", "tokens": 0, "detail": "reading the weights 12%"}, "reading the weights 12%"),
        ({"state": "loading", "tokens": 0}, "is loaded"),
        ({"state": "writing", "tokens": 0}, "reads the prompt"),
        ({"state": "writing", "tokens": 1, "total_s": None}, "1 token"),
        ({"state": "measuring", "total_s": None}, "3 tokens \u00b7 KL is measured"),
        ({"finish": "length"}, "3 tokens \u00b7 20 tokens/s \u00b7 max_tokens reached"),
        ({"finish": "stopped", "tokens": 0}, "no tokens"),
        ({"state": "skipped", "tokens": 0}, "not begun"),
        ({"state": "failed", "tokens": 0}, "failed"),
    ],
)
def test_a_cell_says_how_far_it_is(changes, says):
    assert status(cell(2, **changes), watched=True) == says


def test_a_verdict_waits_until_there_are_tokens():
    assert verdict(cell(2, tokens=0), watched=True) == ""
    assert verdict(cell(1), watched=True) == ""
    assert verdict(cell(2, state="writing"), watched=True) == "so far the same as 1"
    assert verdict(cell(2, mean_kl=0.25), watched=True) == "the same as 1 \u00b7 mean KL 0.25"


def test_an_error_and_a_stop_are_said():
    made = record(
        cell(1),
        cell(2, state="failed", tokens=0, error="It does not fit: 12 GB.", hint="`%llama load cria`"),
        cell(3, state="skipped", tokens=0),
        stopped=True,
    )
    text, html = both(made)
    for shown in (text, html):
        assert "It does not fit: 12 GB." in shown
        assert "1 of 3 answered, 1 failed, stopped" in shown
    assert "`%llama load cria`" in html
    assert progress(FULL) == "3 of 3 answered"


def test_what_models_and_users_wrote_is_text():
    made = record(
        cell(1, common=HOSTILE, pieces=[[HOSTILE, False]], label=HOSTILE),
        cell(2, mark=HOSTILE, rest=HOSTILE, place=0, kl=[1], mean_kl=1, error=HOSTILE, hint=HOSTILE),
        message=HOSTILE,
        system=HOSTILE,
        models=[HOSTILE],
        columns=[HOSTILE, HOSTILE],
        notes=[HOSTILE],
    )
    _, html = both(made)
    assert read(html).faults == []
    assert "&lt;script&gt;" in html


def test_a_long_message_and_a_long_answer_are_cut():
    made = record(cell(1, common="x" * 50_000), message="why " * 100)
    assert len(title(made)) < 120
    text, html = both(made)
    assert len(text) < 10_000
    assert len(html) < 10_000
