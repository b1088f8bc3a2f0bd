"""Charts as pictures: what is drawn where, scales that people read, and colours for light and dark."""

import io
import math

import pytest
from PIL import Image

from llama_nb.render.html import wall
from llama_nb.render.line_chart import COLOURS, Line, chart_html, chart_png, frame, ticks
from tests.render.html_reader import read

FALLING = [(step, 4.0 - step / 50) for step in range(1, 101)]


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("ground", ["#ffffff", "#111111"])
def test_every_colour_is_seen_on_light_and_on_dark(colour, ground):
    one, other = sorted((luminance(colour), luminance(ground)))
    assert (other + 0.05) / (one + 0.05) >= 3


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 4.0, [0, 1, 2, 3, 4]),
        (1.02, 1.31, [1.1, 1.2, 1.3]),
        (0.0, 1e-4, [0, 2e-5, 4e-5, 6e-5, 8e-5, 1e-4]),
        (3.0, 3.0, [3.0]),
    ],
)
def test_a_scale_has_round_numbers(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_falling_line_goes_from_the_upper_left_to_the_lower_right():
    line = Line("loss", FALLING)
    shown = frame([line])
    picture = Image.open(io.BytesIO(chart_png([line], shown, [], 100, 50))).convert("RGBA")
    assert picture.size == (200, 100)
    alpha = picture.getchannel("A")
    assert alpha.crop((0, 0, 60, 40)).getbbox()
    assert alpha.crop((140, 60, 200, 100)).getbbox()
    assert not alpha.crop((140, 0, 200, 40)).getbbox()
    assert not alpha.crop((0, 60, 60, 100)).getbbox()


def test_an_outlier_among_the_dots_does_not_flatten_the_rest():
    dots = Line("loss", [*FALLING, (101, 1e6)], look="dots")
    assert frame([dots]).high < 10
    assert frame([Line("validation", [*FALLING, (101, 1e6)])]).high > 1e6


def test_nothing_and_gaps_are_drawn_as_nothing():
    assert chart_html([Line("loss", [])], "nothing") == ""
    assert chart_html([Line("loss", [(1, None), (2, math.nan)])], "nothing") == ""
    one = chart_html([Line("loss", [(1, 2.0), (2, None)])], "one point")
    assert "data:image/png" in one


def test_labels_are_text_and_stay_text():
    hostile = "<img src=x onerror=alert(1)>"
    html = wall(chart_html([Line(hostile, FALLING)], hostile), pictures=True)
    page = read(html)
    assert "step 1" in page.text
    assert "100" in page.text
    assert hostile in page.text
    ours = ("src=data:image/png;base64,", "alt=", "width=", "height=")
    assert [fault for fault in page.faults if not fault.startswith(ours)] == ["<img>"]
