"""Bars keep their lengths through the second wall, and say in words what they show."""

import re

import pytest

from llama_nb.render.bars import bar, swatch
from llama_nb.render.html import wall


def widths(html):
    return [float(width) for width in re.findall(r"width:([\d.]+)%", html)]


def test_a_bar_is_left_whole_by_the_wall():
    html = bar([1, 2], 10, "3 of 10 GB")
    cleaned = wall(html)
    assert widths(cleaned) == [10, 20]
    assert 'aria-label="3 of 10 GB"' in cleaned
    assert 'role="img"' in cleaned
    assert cleaned.count("background-color") == html.count("background-color") == 3
    assert "width:10px" in wall(swatch(2)).replace(" ", "")


@pytest.mark.parametrize(
    ("parts", "full", "expected"),
    [
        ([5, 10], 10, [50, 50]),
        ([30, 5], 10, [100]),
        ([0, 0.001], 10, [0.4]),
        ([1], 0, []),
        ([], 10, []),
        ([-3, 4], 10, [40]),
    ],
)
def test_what_is_too_long_is_cut_and_what_is_there_is_seen(parts, full, expected):
    assert widths(bar(parts, full, "x")) == expected


def test_a_label_is_text():
    assert "<script>" not in bar([1], 2, '"><script>alert(1)</script>')
