"""The twin of the attention explorer: hostile texts, figures where nobody watches, the picture."""

import base64
import io
import re

import numpy as np
import pytest

from llama_nb.render.attention import AttentionTwin, Link, bundle
from llama_nb.render.tokens import TokenRow
from tests.render.html_reader import read

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"
VALUES = np.tril(np.arange(16, dtype=np.uint8).reshape(4, 4) * 15)


def twin(**given) -> AttentionTwin:
    words = ["<|begin|>", " the", "\n", HOSTILE]
    tokens = tuple(TokenRow(id=at, text=text, special=at == 0) for at, text in enumerate(words))
    options = {
        "title": f"Attention of tiny: {HOSTILE}",
        "facts": ("2 layers of 4 heads; 4 tokens", "Shown: L1 H2"),
        "tokens": tokens,
        "count": 4,
        "prompt": 4,
        "picture": VALUES,
        "links": (Link(3, 1, 0.43219), Link(2, 1, 0.0201)),
        "texts": {1: " the", 2: "\n", 3: HOSTILE},
        "left_out": "without the first token",
    }
    return AttentionTwin(**{**options, **given})


def picture_of(html: str):
    from PIL import Image

    data = re.search(r'src="data:image/png;base64,([^"]+)"', html)[1]
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("watched", [True, False])
def test_hostile_texts_stay_texts(watched):
    html = bundle(twin(), watched=watched)["text/html"]
    assert html.count("<img") == 1
    assert 'src="data:image/png;base64,' in html
    found = read(html)
    faults = [
        fault
        for fault in found.faults
        if not fault.startswith(("<img>", "src=", "alt=", "width=", "height="))
    ]
    assert not faults
    assert "onerror=alert(1)" in found.text


def test_the_picture_has_a_square_for_each_weight():
    picture = picture_of(bundle(twin(), watched=True)["text/html"])
    side = picture.width // 4
    assert picture.size == (4 * side, 4 * side)
    pixels = np.asarray(picture)
    seen = np.tril(np.maximum(VALUES & 0xF8, 8))
    assert (pixels[side // 2 :: side, side // 2 :: side] == seen).all()
    assert picture.info["transparency"] == 0


def test_where_nobody_watches_figures_have_two_digits_and_pictures_few_shades():
    made = bundle(twin(), watched=False)
    assert "43 %" in made["text/plain"]
    assert "43.2" not in made["text/plain"] + made["text/html"]
    assert set(np.unique(np.asarray(picture_of(made["text/html"])))) <= {0, 8, *range(16, 256, 16)}
    assert "43.2 %" in bundle(twin(), watched=True)["text/plain"]


def test_the_text_has_the_links_and_the_tokens():
    said = bundle(twin(), watched=True)["text/plain"]
    assert "The strongest links, without the first token:" in said
    assert re.search(r"#3 +·the #1 +43.2 %", said)
    assert re.search(r"⏎ #2 +·the #1 +2.01 %", said)


def test_of_pooled_rows_the_last_token_says_what_may_be_read():
    made = bundle(twin(count=7, pooled=True), watched=True)["text/html"]
    picture = np.asarray(picture_of(made))
    side = len(picture) // 4
    # Row 0 of 4 stands for tokens 0 and 1, column 1 begins with token 1.
    assert (picture[side // 2 :: side, side // 2 :: side] == 0).tolist() == [
        [False, False, True, True],
        [False, False, False, True],
        [False, False, False, False],
        [False, False, False, False],
    ]


def test_before_there_is_a_map_it_says_what_is_looked_at():
    made = bundle(twin(picture=None, links=()), watched=True)
    assert "<img" not in made["text/html"]
    assert "Shown: L1 H2" in made["text/plain"]
    assert "links" not in made["text/plain"]


def test_of_a_long_text_the_beginning_is_shown():
    assert "… 996 more" in bundle(twin(count=1000), watched=True)["text/plain"]


def test_a_pooled_picture_says_so():
    assert "largest weight" in bundle(twin(pooled=True), watched=True)["text/html"]
    assert "largest weight" not in bundle(twin(), watched=True)["text/html"]
