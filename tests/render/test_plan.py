"""The twins of a plan: every figure stands in both, nothing in them is more than text and boxes."""

import pytest

from llama_nb.planner.job import Target
from llama_nb.planner.plan import estimate
from llama_nb.planner.shape import Shape
from llama_nb.render.plan import plan_html, plan_text, quants_html, quants_text
from llama_nb.render.units import size
from tests.planner.configs import EIGHT, SEVENTY
from tests.render.html_reader import HtmlReader

CARD = Target("24 GB", 24 * 10**9, 1, 1e12, 1e14)


@pytest.fixture(
    params=[
        {"shape": EIGHT},
        {"shape": SEVENTY},
        {"shape": EIGHT, "train": "lora", "batch": 4},
        {"shape": EIGHT, "device": Target("", None, kind="cpu")},
    ]
)
def plan(request):
    asked = {"device": CARD, **request.param}
    return estimate(Shape.from_config(asked.pop("shape")), name="a model", **asked)


def read(html):
    reader = HtmlReader()
    reader.feed(html)
    assert reader.faults == []
    return reader.text


def test_every_figure_is_in_both_twins(plan):
    record = plan.to_record()
    text, html = plan_text(record), read(plan_html(record))
    for twin in (text, html):
        assert "a model" in twin
        assert plan.sentence in twin
        for part in plan.parts:
            assert part.label in twin
            assert size(part.bytes) in twin
        for option in plan.options:
            assert option.command in twin
        for note in plan.notes:
            assert note in twin


def test_all_formats(plan):
    record = plan.to_record()
    for twin in (quants_text(record), read(quants_html(record))):
        for one in record["quants"]:
            assert one["quant"] in twin
            assert size(one["total"]) in twin


def test_figures_of_the_text_stand_in_a_column(plan):
    lines = plan_text(plan.to_record()).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("part"))
    end = lines[start].index("bytes") + len("bytes")
    for line in lines[start + 2 : start + 2 + len(plan.parts)]:
        assert line[end - 1 : end].isalpha()
        assert line[end : end + 2] == "  "


def test_a_bar_says_its_figures(plan):
    record = plan.to_record()
    assert f"weights {size(plan.weights_bytes)}" in plan_html(record)
    bar = next(line for line in plan_text(record).splitlines() if line.startswith("["))
    assert len(bar.split("]")[0]) == 41


def test_hostile_names_are_text():
    shape = Shape.from_config(EIGHT)
    record = estimate(shape, name="<script>alert(1)</script>\x1b[31m", device=CARD).to_record()
    assert "<script" not in plan_html(record)
    assert "\x1b" not in plan_text(record)
