"""Heat maps: pixels that are what they were made of, cells that can be read, and texts that stay texts."""

import base64
import io
import math
import re

import numpy as np
import pytest
from PIL import Image

from llama_nb.render.colour_maps import DIVERGING, SEQUENTIAL, css
from llama_nb.render.heat_map import legend_html, picture_html, png, table_html, two_digits
from llama_nb.render.html import wall
from tests.hostile.corpus import cases
from tests.render.html_reader import read

HOSTILE = cases("http://127.0.0.1:9")


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


@pytest.mark.parametrize("colours", [SEQUENTIAL, DIVERGING])
def test_each_value_is_a_square_of_its_colour(colours):
    values = np.array([[0, 7], [128, 255], [255, 1]], dtype=np.uint8)
    shown = pixels(png(values, colours, scale=3))
    assert shown.shape == (9, 6, 3)
    for y, x in np.ndindex(values.shape):
        square = shown[3 * y : 3 * y + 3, 3 * x : 3 * x + 3]
        assert (square == colours[values[y, x]]).all()


def test_a_picture_is_made_of_bytes_only():
    with pytest.raises(ValueError, match="float32"):
        png(np.zeros((2, 2), dtype=np.float32))


def test_a_picture_of_ours_passes_the_wall_and_shows_the_same():
    made = png(np.arange(256, dtype=np.uint8).reshape(16, 16))
    shown = wall(picture_html(made, 'a "map" <script>', 64, 64), pictures=True)
    assert "<script" not in shown
    data = re.search(r'src="data:image/png;base64,([^"]+)"', shown)
    assert data is not None
    assert base64.b64decode(data[1]) == made
    assert 'width="64"' in shown
    assert "src=" not in wall(picture_html(made, "map", 64, 64)), "only where pictures are asked for"


@pytest.mark.parametrize(
    "source",
    [
        "https://example.org/x.png",
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:text/html;base64,PHN2Zz4=",
        'data:image/png;base64,AAAA" onerror="alert(1)',
        "data:image/png,raw",
        " data:image/png;base64,AAAA#x",
        "file:///etc/passwd",
        "x",
    ],
)
def test_no_other_image_is_ever_shown(source):
    shown = wall(f'<img src="{source}"><a href="{source}">x</a>', pictures=True)
    assert "onerror" not in shown
    assert re.findall(r'src="([^"]*)"', shown) in ([], ["data:image/png;base64,AAAA"])
    assert 'href="data' not in shown


@pytest.mark.parametrize("hostile", HOSTILE, ids=[case.name for case in HOSTILE])
def test_names_and_texts_stay_text(hostile):
    text = hostile.text
    shown = wall(
        table_html([[0.5]], [text], [text], texts=[[text]], titles=[[text]], corner=text, label=text)
    )
    assert [fault for fault in read(shown).faults if not fault.startswith(("title=", "aria-label="))] == []
    assert set(re.findall(r"<(\w+)", shown)) <= {"div", "table", "tbody", "tr", "th", "td"}


def test_a_table_names_its_cells_and_colours_them():
    shown = wall(table_html([[0, 0.5], [1, None]], ["L0", "L1"], ["H0", "H1"], corner="layer \\ head"))
    page = read(shown)
    assert page.text == "layer \\ headH0H1L00.5L11\u2013"
    assert page.faults == []
    assert 'title="L0, H1: .5"' in shown
    for share, text in ((0, "#fff"), (1, "#000")):
        assert f"background-color:{css(SEQUENTIAL, share)};color:{text}" in shown
    assert shown.count("background-color") == 3, "what is not known has no colour"


def test_a_scale_may_go_from_less_to_more():
    shown = table_html([[-2.0, 0.0, 2.0]], ["a"], ["x", "y", "z"], colours=DIVERGING, low=-2, high=2)
    grounds = re.findall(r"background-color:#(\w+)", shown)
    assert [tuple(bytes.fromhex(ground)) for ground in grounds] == [DIVERGING[at] for at in (0, 128, 255)]
    assert legend_html("less", "more", colours=DIVERGING).count("<span") == 24


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1, "1"), (0.5, ".5"), (0.874, ".87"), (10.05, "10.05"), (-0.12, "-.12"), (-0.001, "0"),
     (0.999, "1"), (100, "100"), (math.nan, "\u2013")],
)  # fmt: skip
def test_small_figures(value, text):
    assert two_digits(value) == text
