"""The twins of a cost: text that says everything, HTML that the second wall leaves as it is."""

import copy
import re

import pytest

from llama_nb.planner.cost import cost
from llama_nb.render.cost import COLOURS, cost_bundle, dollars, sentence, tokens
from llama_nb.render.html import wall
from tests.render.html_reader import read
from tests.render.test_contrast import DARK, WHITE, contrast


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("LLAMA_NB_HOME", str(tmp_path))


@pytest.fixture
def record():
    return cost("50M", "llama-3.1-8b-instruct").to_record()


def test_never_is_said_of_gpus_that_there_are():
    small = cost("50M", "llama-3.1-8b-instruct", gpu="H100", batch=4).to_record()
    assert "never" in cost_bundle(small)["text/plain"]
    huge = cost("50M", "llama-3.3-70b-instruct", context=131_072, batch=4096).to_record()
    assert huge["cheapest_full"] is None
    assert "never" not in cost_bundle(huge)["text/plain"]


def test_the_wall_leaves_it_as_it_is(record):
    html = cost_bundle(record)["text/html"]
    assert wall(html) == html
    shown = read(html)
    assert shown.faults == []
    assert shown.open == 0
    assert "<svg" not in html
    assert "<style" not in html
    assert "class=" not in html


def test_both_say_what_was_asked_when_the_prices_are_from_and_how_to_edit_them(record):
    made = cost_bundle(record)
    for text in (made["text/plain"], read(made["text/html"]).text):
        for part in (
            "50 M tokens a month through llama-3.1-8b-instruct",
            "Groq",
            "$0.05 in, $0.08 out per M tokens",
            "Prices of 2026 to 2026-05-07, not of today; edit with %llama cost --edit.",
            "No sourced price for llama-3.1-8b-instruct: Together AI",
            "input_share",
            "utilisation",
            "730 rented hours",
            "10 B",
        ):
            assert part in text
        assert "current" not in text


def test_no_two_dollars_stand_in_one_text(record):
    """JupyterLab sets what stands between two dollars of an HTML output as a formula."""
    html = cost_bundle(record)["text/html"]
    assert html.count("$") > 20
    assert all(text.count("$") <= 1 for text in re.findall(r">([^<>]*)<", html))
    assert wall(html) == html


def test_every_bar_has_a_label_with_its_figures(record):
    html = cost_bundle(record)["text/html"]
    labels = re.findall(r'aria-label="([^"]+)"', html)
    assert len(labels) == 2 * len(record["curve"])
    assert "cheapest provider at 1 M tokens a month: $0.058" in labels
    assert "cheapest rented GPUs at 50 M (asked) tokens a month: $555" in labels


def test_bars_grow_with_the_sum(record):
    html = cost_bundle(record)["text/html"]
    colour = re.escape(COLOURS[0])
    lengths = [float(width) for width in re.findall(rf"width:([\d.]+)%;background-color:{colour}", html)]
    assert len(lengths) == len(record["curve"])
    assert lengths == sorted(lengths)
    assert lengths[-1] <= 100


@pytest.mark.parametrize("ground", [WHITE, DARK])
@pytest.mark.parametrize("colour", COLOURS)
def test_its_bars_can_be_seen_on_light_and_on_dark(colour, ground):
    assert contrast(tuple(bytes.fromhex(colour[1:])), ground) >= 3


def test_no_text_has_a_colour_of_its_own(record):
    html = cost_bundle(record)["text/html"]
    assert set(re.findall(r"[\"; ]color:\s*([^;\"]+)", html)) <= {"inherit"}


def test_the_sentence_says_from_where_on_and_until_where(record):
    level = copy.deepcopy(record)
    level["level"] = {"name": "L4", "provider": "Modal", "capacity": 2e9}
    level["break_even"] = 1.25e9
    assert sentence(level).endswith(
        "A rented L4 (Modal) costs no more than Groq from 1.25 B tokens a month on; it is full at 2 B."
    )
    assert "never draws level" in sentence(record)
    assert sentence(record | {"cheapest_full": None}).endswith("a month.")
    assert "No provider of it has a sourced price" in sentence(record | {"api": None})
    assert sentence(record | {"rows": []}).startswith("No sourced price")


def test_the_level_stands_in_the_chart_with_equal_sums():
    level = cost("50M").to_record()
    made = cost_bundle(level)
    assert "6.93 B (level)" in made["text/plain"]
    assert "both cost the same" in made["text/plain"]
    assert "both cost the same" in read(made["text/html"]).text
    assert wall(made["text/html"]) == made["text/html"]


@pytest.mark.parametrize("rows", ["api", "own"])
def test_one_side_may_be_missing(record, rows):
    half = copy.deepcopy(record)
    for point in half["curve"]:
        point[rows] = None
    made = cost_bundle(half)
    assert wall(made["text/html"]) == made["text/html"]
    assert "cheaper" in made["text/plain"]


def test_nothing_at_all_is_still_an_answer(record):
    made = cost_bundle(
        record
        | {
            "rows": [],
            "api": None,
            "dates": (),
            "curve": [{"tokens": 1e6, "mark": "asked", "api": None, "own": None}],
        }
    )
    assert "To add one: %llama cost --edit" in made["text/plain"]
    assert wall(made["text/html"]) == made["text/html"]


def test_what_comes_from_a_users_file_is_text(record):
    hostile = copy.deepcopy(record)
    hostile["rows"][0] |= {"offer": "<script>x</script>", "date": "<img src=x>", "price": "\x1b[31mred"}
    hostile["notes"] = ["<b>bold</b>"]
    made = cost_bundle(hostile)
    assert read(made["text/html"]).faults == []
    assert "<script>" not in made["text/html"]
    assert "<script>x</script>" in read(made["text/html"]).text
    assert "\x1b" not in made["text/plain"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "1"), (999, "999"), (1000, "1 k"), (50e6, "50 M"), (1.5e9, "1.5 B"), (2.52181e9, "2.52 B"),
     (999.9e6, "1 B"), (1e13, "10 T")],
)  # fmt: skip
def test_tokens_as_text(count, text):
    assert tokens(count) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (0.0001, "under $0.001"),
        (0.0575, "$0.058"),
        (0.59, "$0.59"),
        (99.5, "$99.50"),
        (3650, "$3,650"),
    ],
)
def test_dollars_as_text(amount, text):
    assert dollars(amount) == text
