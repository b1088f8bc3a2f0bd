"""Colours: texts take the page's own; what is drawn can be seen on white and on JupyterLab's dark #111."""

import re
from pathlib import Path

import pytest

import llama_nb.render
from llama_nb.render.reply import ACCENT, SLATE
from llama_nb.render.tokens import BACKGROUND_ALPHA, COLOURS

WHITE, DARK = (255, 255, 255), (0x11, 0x11, 0x11)
SOURCES = sorted(Path(llama_nb.render.__file__).parent.glob("*.py"))


def luminance(colour):
    """Return the relative luminance of WCAG 2.2."""
    red, green, blue = (
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4
        for part in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def over(colour, ground, alpha):
    return tuple(alpha * part + (1 - alpha) * below for part, below in zip(colour, ground, strict=True))


@pytest.mark.parametrize("source", SOURCES, ids=[path.stem for path in SOURCES])
def test_no_text_has_a_colour_of_ours(source):
    text = source.read_text()
    # On a ground of ours (tests/render/test_colour_maps.py) black or white can be read whatever the page is.
    for value in re.findall(
        r"[\"; ]color:([^;\"]+)", re.sub(r"background-color:[^;]+;color:\{ink\(", "", text)
    ):
        assert re.fullmatch(r"inherit|var\(--jp-[a-z-]+, inherit\)", value)


@pytest.mark.parametrize(("text", "ground"), [((0, 0, 0), WHITE), (WHITE, DARK)])
def test_muted_text_and_text_on_a_token_can_be_read(text, ground):
    for opacity in (0.75, 0.7):
        assert contrast(over(text, ground, opacity), ground) >= 4.5
    for colour in COLOURS:
        tinted = over(tuple(map(int, colour.split(","))), ground, BACKGROUND_ALPHA)
        assert contrast(over(text, tinted, 0.7), tinted) >= 4.5


@pytest.mark.parametrize("ground", [WHITE, DARK])
@pytest.mark.parametrize("colour", [ACCENT, SLATE])
def test_bars_can_be_seen(colour, ground):
    assert contrast(tuple(bytes.fromhex(colour[1:])), ground) >= 3
