"""The colour maps: known colours, an even fall of lightness, and readable text on every one of them."""

import itertools
import math

import pytest

from llama_nb.render.colour_maps import DIVERGING, SEQUENTIAL, STEPS, colour, css, ink, luminance
from tests.render import test_contrast
from tools import colour_maps as page


def lightness(of):
    """Return CIE 1976 L*, 0 (black) to 100 (white)."""
    share = luminance(of)
    return 116 * share ** (1 / 3) - 16 if share > 216 / 24389 else share * 24389 / 27


def test_the_ends_and_the_middle_are_those_of_the_published_maps():
    assert SEQUENTIAL[0] == (0, 34, 78)
    assert SEQUENTIAL[-1] == (254, 232, 56)
    assert max(DIVERGING[128]) - min(DIVERGING[128]) <= 1, "equal is grey"


def test_lightness_grows_evenly_from_little_to_much():
    values = [lightness(value) for value in SEQUENTIAL]
    steps = [after - before for before, after in itertools.pairwise(values)]
    assert len(SEQUENTIAL) == STEPS
    assert min(steps) >= 0
    assert max(steps) < 1.5


def test_both_sides_of_equal_are_as_strong():
    for below, above in zip(DIVERGING[:128], reversed(DIVERGING[128:]), strict=True):
        assert lightness(below) == pytest.approx(lightness(above), abs=4)
    falling = [lightness(value) for value in DIVERGING[128:]]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("colours", [SEQUENTIAL, DIVERGING])
def test_text_can_be_read_on_every_colour(colours):
    for ground in colours:
        text = tuple(int(digit * 2, 16) for digit in ink(ground)[1:])
        assert test_contrast.contrast(text, ground) >= 4.5


@pytest.mark.parametrize(("share", "index"), [(0, 0), (1, 255), (0.5, 128), (-3, 0), (7, 255), (math.nan, 0)])
def test_a_share_outside_gets_the_nearer_end(share, index):
    assert colour(SEQUENTIAL, share) == SEQUENTIAL[index]
    assert css(SEQUENTIAL, share) == f"#{bytes(SEQUENTIAL[index]).hex()}"


def test_the_maps_of_the_page_are_written_from_these():
    assert page.TARGET.read_text() == page.text(), "run `python -m tools.colour_maps`"
    assert page.TABLES.read_text() == page.tables(), "run `python -m tools.colour_maps`"
