"""The preview of data: what is trained can be told without colours, and nothing in the data acts."""

import pytest

from llama_nb.render.training_data import training_data_bundle
from tests.hostile.corpus import cases
from tests.render.html_reader import read
from tests.render.test_hostile import CONTROLS


def tokens(*texts, trained=()):
    return [{"id": at, "text": text, "trained": at in trained} for at, text in enumerate(texts)]


SAMPLE = {
    "where": "data.jsonl, line 1",
    "tokens": tokens("<s>", "Hi", " you", "\n", trained=(2, 3)),
    "cut": 2,
}


def view(**changes):
    return {
        "title": "2 conversations from data.jsonl, as cria would learn",
        "figures": [("rows", "2"), ("mask", "assistant")],
        "trained": 2,
        "tokens": 8,
        "most": 5,
        "lengths": {"edges": [3, 4, 5, 6, 7], "counts": [1, 0, 0, 3]},
        "notes": ["Read as openai: messages."],
        "samples": [SAMPLE],
        "command": "%llama train data.jsonl",
        **changes,
    }


def test_a_preview_as_text():
    assert training_data_bundle(view())["text/plain"].splitlines() == [
        "2 conversations from data.jsonl, as cria would learn",
        "  rows  2",
        "  mask  assistant",
        "Read as openai: messages.",
        "",
        "  3 to 4 tokens: 1 row   ##########",
        "  5 to 6 tokens: 3 rows  ##############################",
        "",
        "[[trained]] context: 2 of 8 tokens an epoch are trained (25%)",
        "",
        "data.jsonl, line 1 · 4 tokens, 2 trained",
        "  <s>Hi[[ you⏎]] ✂ 2 tokens cut off",
        "",
        "Next: %llama train data.jsonl",
    ]


def test_each_token_says_whether_it_is_trained():
    html = training_data_bundle(view())["text/html"]
    assert read(html).faults == []
    assert 'title="id 1, context"' in html
    assert 'title="id 2, trained"' in html
    trained = html.split('title="id 2')[0].rpartition("<code")[2]
    context = html.split('title="id 1')[0].rpartition("<code")[2]
    assert "border-bottom:2px solid rgba(0, 158, 115, 1)" in trained
    assert "border-bottom:2px solid transparent" in context


def test_columns_say_how_many_rows_are_how_long():
    html = training_data_bundle(view())["text/html"]
    assert 'title="3 tokens: 1 row"' in html
    assert 'title="6 tokens: 3 rows, longer than 5"' in html
    assert "the highest column: 3" in read(html).text
    assert 'aria-label="Lengths of 4 rows from 3 to 6 tokens"' in html


def test_the_middle_of_a_long_row_is_left_out():
    sample = {"where": "line 1", "tokens": tokens(*("word ",) * 1000, trained=range(990, 1000)), "cut": 0}
    bundle = training_data_bundle(view(samples=[sample]))
    assert "760 more tokens" in read(bundle["text/html"]).text
    assert "1,000 tokens, 10 trained" in bundle["text/plain"]
    assert bundle["text/plain"].count("word") < 130
    assert "[[word word" in bundle["text/plain"]
    assert len(bundle["text/html"]) < 60_000


@pytest.mark.parametrize("case", cases("http://127.0.0.1:9"), ids=lambda case: case.name)
def test_nothing_in_data_acts(case):
    sample = {"where": case.text, "tokens": tokens(case.text, case.text, trained=(1,)), "cut": 1}
    bundle = training_data_bundle(
        view(title=case.text, notes=[case.text], command=case.text, samples=[sample])
    )
    found = read(bundle["text/html"])
    assert found.faults == []
    assert found.hosts == []
    assert found.open == 0
    for mark in CONTROLS:
        assert mark not in bundle["text/plain"]
        assert mark == "\u200b" or mark not in bundle["text/html"]
