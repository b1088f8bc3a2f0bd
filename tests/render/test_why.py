"""The views of probabilities: what they say in text and HTML, to everybody, whatever the tokens are."""

import math
import re

import pytest

from llama_nb.render import chances, distribution, why
from tests.hostile.corpus import cases
from tests.render.html_reader import read
from tests.render.test_contrast import DARK, WHITE, contrast, over

HOSTILE = cases("http://127.0.0.1:9")


def token(text, p=0.5, entropy=1.234, special=False, rank=1, others=(), forbidden=None, out=()):
    alternatives = [
        {
            "id": 100 + n,
            "text": name,
            "special": kind,
            "logprob": math.log(0.3333),
            "sampled": after,
            "forbidden": name in out,
        }
        for n, (name, kind, after) in enumerate(others)
    ]
    return {
        "id": 7,
        "text": text,
        "special": special,
        "logprob": None if p is None else math.log(p),
        "entropy": entropy,
        "sampled": None,
        "rank": rank,
        "forbidden": forbidden,
        "alternatives": alternatives,
    }


def shown(*tokens, by="probability", watched=True):
    record = {"by": by, "model": "m", "greedy": False, "tokens": list(tokens)}
    return why.bundle(record, watched=watched)


def test_every_class_has_a_figure_a_line_and_a_place_in_the_legend():
    made = shown(*(token(f"t{n}", p) for n, p in enumerate((0.95, 0.6, 0.3, 0.1, 0.01))))
    assert "t0|t1\u00b9|t2\u00b2|t3\u00b3|t4\u2074" in made["text/plain"]
    for mark, name in (("\u2070", "from 90 %"), ("\u00b2", "from 20 %"), ("\u2074", "below 5 %")):
        assert f"{mark} {name}" in made["text/plain"]
        assert name in read(made["text/html"]).text
    for style in ("dotted", "dashed", "solid", "double"):
        assert f"border-bottom:3px {style}" in made["text/html"]


@pytest.mark.parametrize(("by", "key"), [("probability", "logprob"), ("entropy", "entropy")])
def test_a_shade_only_grows(by, key):
    levels = []
    for step in range(200):
        figure = math.log(1 - step / 200.1) if by == "probability" else step / 40
        levels.append(why.shade({**token("x"), key: figure}, by))
    assert levels == sorted(levels)
    assert set(levels) == set(range(5))
    assert why.shade(token("x", None, None), by) is None


def test_the_alternatives_are_there_without_pointing_and_without_scripts():
    made = shown(token(" sun", 0.012, others=[(" moon", False, math.log(0.5)), ("<|eot_id|>", True, None)]))
    text = made["text/plain"]
    assert "\u00b7moon 33.3 % \u2192 50 %" in text
    assert "<|eot_id|> 33.3 % \u2192 ruled out" in text
    page = read(made["text/html"])
    assert page.faults == []
    assert "\u00b7moon" in page.text
    assert "\u2192 ruled out" in page.text
    titles = re.findall(r'title="([^"]*)"', made["text/html"])
    assert any("probability 1.2 %" in title and "\u00b7moon 33.3 %" in title for title in titles)
    assert "<script" not in made["text/html"]


def test_what_the_grammar_ruled_out_is_marked():
    others = [("The", False, None), ("<b>", False, None)]
    brace = token("{", 0.012, others=others, forbidden=0.98, out=("The",))
    made = shown(brace, token("}", 0.9, forbidden=0.001))
    text = made["text/plain"]
    assert "The 33.3 % \u2192 \u2298 ruled out" in text
    assert "<b> 33.3 % \u2192 ruled out\n" in text + "\n"
    assert "\u2298{\u2074|}" in text
    assert "\u2298 ruled out by the grammar (before a token: 50 % of the probability or more)" in text
    page = read(made["text/html"])
    assert page.faults == []
    assert "forbidden" in page.text
    assert "98 %" in page.text
    assert "\u2298{" in page.text
    titles = re.findall(r'title="([^"]*)"', made["text/html"])
    assert any("ruled out by the grammar: 98 %" in title for title in titles)


def test_a_free_reply_speaks_of_no_grammar():
    made = shown(token(" sun", 0.012, others=[(" moon", False, None)]))
    assert "grammar" not in made["text/plain"] + made["text/html"]
    assert "forbidden" not in made["text/plain"]


def test_control_tokens_are_pills():
    html = shown(token("<|eot_id|>", 0.01, special=True))["text/html"]
    assert html.count("border-radius:9px") >= 2
    assert "&lt;|eot_id|&gt;" in html


def test_only_what_surprises_is_listed_and_in_order():
    rows = [token(f"t{n}", 0.95 if n % 2 else 0.001 * (n + 1)) for n in range(40)]
    text = shown(*rows)["text/plain"].split("The most surprising tokens:")[1]
    listed = [int(number) for number in re.findall(r"^\s*(\d+)  t", text, re.MULTILINE)]
    assert listed == [0, 2, 4, 6, 8, 10, 12, 14]
    assert "surprising" not in shown(token("sure", 0.99))["text/plain"]
    assert "least sure" in shown(token("x", entropy=2.0), by="entropy")["text/plain"]


def test_a_long_reply_is_cut_and_says_so():
    made = shown(*(token(f" t{n}", 0.3, others=[("a", False, -1.0)] * 10) for n in range(5000)))
    assert "Of 5,000 tokens the first 800 are shaded" in made["text/plain"]
    assert len(made["text/html"]) < 600_000


def test_where_nobody_watches_two_digits_are_shown():
    rows = [token("a", 0.12345, others=[("b", False, math.log(0.98765))]), token("c", 0.99999)]
    for made in (shown(*rows, watched=False), shown(*rows, by="entropy", watched=False)):
        for part in made.values():
            for figure in re.findall(r"([\d.]+) %", part.split("from 90 %")[-1]):
                assert len(figure.replace(".", "").lstrip("0")) <= 2 or figure == "100", figure
    assert "12.3 %" in shown(*rows)["text/plain"]
    assert shown(*rows, watched=False) == shown(*rows, watched=False)


@pytest.mark.parametrize("case", HOSTILE, ids=[case.name for case in HOSTILE])
def test_hostile_tokens_are_inert(case):
    text = case.text[:2000]
    for special in (False, True):
        rows = [token(text, 0.01, special=special, others=[(text, special, None)])]
        for made in (shown(*rows), distribution.bundle(record(text, special), watched=True)):
            page = read(made["text/html"])
            # What pointing shows is text, whatever it names.
            assert [fault for fault in page.faults if not fault.startswith("title=")] == []
            assert "\x1b" not in made["text/plain"]
            assert page.open == 0


@pytest.mark.parametrize(("text", "ground"), [((0, 0, 0), WHITE), (WHITE, DARK)])
@pytest.mark.parametrize("colour", why.COLOURS)
def test_every_shade_can_be_read_on_light_and_dark(text, ground, colour):
    tinted = over(tuple(map(int, colour.split(","))), ground, why.ALPHA)
    assert contrast(text, tinted) >= 4.5


# --- the distribution -----------------------------------------------------------------------------


def record(text=" sun", special=False, **changes):
    row = {"id": 5, "text": text, "special": special, "before": 0.5, "after": 0.75, "removed_by": None}
    stage = {"name": "logits", "kept": 512, "removed": 0, "lost": 0.0, "mass": 1.0, "entropy": 1.234}
    return {
        "place": f"the next token after {text!r}",
        "vocabulary": 512,
        "sampling": {"top_k": 3},
        "no_effect": {},
        "stages": [
            {**stage, "top": [[text, 0.5]]},
            {**stage, "name": "top_k", "kept": 3, "removed": 509, "mass": 0.81234, "top": [[text, 0.75]]},
        ],
        "tokens": [row, {**row, "id": 6, "text": "moon", "after": 0.0, "removed_by": "top_k"}],
        "rest": {"before": 1e-9, "after": 0.0},
        "chosen": row,
        **changes,
    }


def test_a_distribution_is_two_tables_with_figures_for_every_bar():
    made = distribution.bundle(record(), watched=True)
    for part in (made["text/plain"], read(made["text/html"]).text):
        for words in ("\u00b7sun", "top_k", "509", "81.2 %", "1.23", "510 others", "<0.01 %", "id 5"):
            assert words in part
    page = read(made["text/html"])
    assert page.faults == []
    assert made["text/html"].count('role="img"') == 2 * 3 + 2
    assert 'aria-label="after: 75 %"' in made["text/html"]
    assert 'title="id 6"' in made["text/html"]
    assert "81 %" in distribution.bundle(record(), watched=False)["text/plain"]
    assert "81.2" not in distribution.bundle(record(), watched=False)["text/html"]


def test_a_distribution_says_what_has_no_effect_and_how_often_xtc_acts():
    changes = {
        "sampling": {"top_k": 3, "xtc_probability": 0.5},
        "no_effect": {"top_k": "because", "min_p": "x"},
    }
    text = distribution.bundle(record(**changes), watched=True)["text/plain"]
    assert "Without effect: top_k (because)." in text
    assert "in 50 % of the draws" in text


@pytest.mark.parametrize(
    ("probability", "watched", "unwatched"),
    [
        (0, "0", "0"),
        (1e-9, "<0.01 %", "<0.01 %"),
        (0.00123, "0.123 %", "0.12 %"),
        (0.4321, "43.2 %", "43 %"),
        (0.9999, ">99.9 %", ">99 %"),
        (0.996, "99.6 %", ">99 %"),
        (1.0, "100 %", "100 %"),
        (1.0000001, "100 %", "100 %"),
    ],
)
def test_percentages(probability, watched, unwatched):
    assert chances.percent(probability, watched=True) == watched
    assert chances.percent(probability, watched=False) == unwatched
    assert chances.percent_of(None, watched=True) == "\u2013"
    assert chances.nats(None, watched=True) == "\u2013"
