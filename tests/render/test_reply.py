"""What a reply leaves in a notebook: the same words give the same output where nobody watches."""

import json

import pytest

from llama_nb.render.nodes import element
from llama_nb.render.reply import MIME, bundle, digits, seconds, status_line
from tests.render.html_reader import read
from tests.render.records import record


def test_the_status_line():
    assert status_line(record(), watched=True).split(" \u00b7 ") == [
        "cria",
        "12 \u2192 37 tokens",
        "45.1 tokens/s",
        "first token 80 ms",
        "120 cached",
        "seed 7",
        "end",
    ]
    assert status_line(record(), watched=False) == "cria \u00b7 12 \u2192 37 tokens \u00b7 end"


@pytest.mark.parametrize(
    ("finish", "detail", "end"),
    [
        ("end", "", "end"),
        ("length", "", "max_tokens reached"),
        ("context", "", "context full"),
        ("stopped", "interrupted", "stopped"),
        ("stop_string", "\n\n", r"stop string '\n\n'"),
        ("stop_string", "###", "stop string '###'"),
        ("error", "worker died", "error"),
        ("running", "", "running"),
    ],
)
def test_the_status_line_says_why_it_ended(finish, detail, end):
    assert status_line(record(finish=finish, detail=detail), watched=True).endswith(f" \u00b7 {end}")


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (45.06, "45.1"), (123.4, "123"), (1234.5, "1,230"), (5, "5")]
)
def test_three_significant_digits(value, text):
    assert digits(value) == text
    assert seconds(0.0801) == "80.1 ms"
    assert seconds(12.345) == "12.3 s"


def test_text_is_the_reply_and_a_line_only_if_somebody_watches():
    assert bundle(record(), watched=False)["text/plain"] == "A piece of *text*."
    assert bundle(record(notes=["2 turns dropped"]), watched=True)["text/plain"].split("\n") == [
        "A piece of *text*.",
        "[2 turns dropped]",
        f"[{status_line(record(), watched=True)}]",
    ]
    assert bundle(record(text=""), watched=False)["text/plain"] == "(empty reply)"


def test_the_twin_holds_the_conversation():
    html = bundle(record(system="Be brief.", notes=["2 turns dropped"], finish="stopped"), watched=True)[
        "text/html"
    ]
    shown = read(html)
    assert shown.faults == []
    for part in (
        "Be brief.",
        "You",
        "What is a token?",
        "cria",
        "A piece of text.",
        "stopped",
        "note: 2 turns dropped",
    ):
        assert part in shown.text
    assert "tabular-nums" in html
    assert "background-color:white" not in html


def test_nothing_that_varies_is_kept_where_nobody_watches():
    usage = {"prompt": 12, "cached": 0, "completion": 37, "first_token_s": 0.5, "total_s": 9.0}
    first = bundle(record(), watched=False)
    other = record(usage=usage, seed=99, tokens=[[5, "A", -0.6, 1.0], [6, " piece", None, None]])
    assert first == bundle(other, watched=False)
    kept = first[MIME]
    assert kept["tokens"] == [[5, "A", None, None], [6, " piece", None, None]]
    assert kept["usage"] == {
        "prompt": 12,
        "completion": 37,
        "cached": None,
        "first_token_s": None,
        "total_s": None,
    }
    assert kept["seed"] is None
    assert not {"token/s", "0.08", "ms"} & set(first["text/html"].split())


def test_a_seed_that_was_asked_for_is_shown():
    asked = record(sampling={"seed": 7})
    assert "seed 7" in status_line(asked, watched=False)
    assert bundle(asked, watched=False)[MIME]["seed"] == 7


@pytest.mark.parametrize(
    "path", ["/home/ada/models/cria", "./cria", "~/cria/", "C:\\models\\cria", "../cria"]
)
def test_a_path_is_shown_by_its_last_part(path):
    assert status_line(record(model={"name": path, "fingerprint": ""}), watched=False).startswith(
        "cria \u00b7"
    )
    assert path not in json.dumps(bundle(record(model={"name": path}), watched=False))


def test_a_hub_name_stays_whole():
    named = record(model={"name": "meta-llama/Llama-3.2-1B", "fingerprint": ""})
    assert status_line(named, watched=False).startswith("meta-llama/Llama-3.2-1B \u00b7")


def test_the_record_holds_the_nodes_and_can_be_encoded():
    kept = bundle(
        record(text="a\ud800*b*", tokens=[[1, "\ud800", float("nan"), float("inf")]]), watched=True
    )[MIME]
    assert kept["nodes"] == [element("p", "a\ufffd", element("em", "b"))]
    assert kept["user_nodes"] == [element("p", "What is a ", element("strong", "token"), "?")]
    assert kept["tokens"] == [[1, "\ufffd", None, None]]
    assert kept["text"] == "a\ufffd*b*"
    json.dumps(kept, ensure_ascii=False, allow_nan=False).encode()


def test_a_text_to_complete_is_shown_as_typed():
    kept = bundle(record(kind="complete", user="*Once*\nupon"), watched=True)
    assert kept[MIME]["user_nodes"] == [element("p", "*Once*", element("br"), "upon")]
    assert "Text to complete" in kept["text/html"]


def test_a_long_reply_is_cut_everywhere():
    long = record(text="word \n\n" * 700_000, tokens=[[1, "word", -0.5, 1.0]] * 30_000)
    made = bundle(long, watched=True)
    assert made[MIME]["cut"]["tokens"] == 10_000
    assert made[MIME]["cut"]["characters"] > 4_000_000
    assert "MB more are in reply.text" in made["text/plain"]
    assert "the rest is in reply.text" in made["text/html"] or "MB more" in made["text/html"]
    assert len(json.dumps(made)) < 4_000_000


def test_a_record_of_nothing_is_shown():
    assert bundle({}, watched=True)["text/plain"].startswith("(empty reply)")
