"""The table of what quantising costs: its figures, its bars, and what a strict comparison may see of it."""

from types import SimpleNamespace

import pytest

from llama_nb.render.html import wall
from llama_nb.render.quantisations import bundle

HOSTILE = '<img src=x onerror="alert(1)"> \x1b[31m'


def row(method, size, speed, perplexity, kl=0.0, agreement=1.0, difference=None, matrices=(), notes=()):
    quality = SimpleNamespace(perplexity=perplexity, mean_kl=kl, agreement=agreement)
    return SimpleNamespace(
        method=method,
        bytes=size,
        tokens_per_s=speed,
        quality=quality,
        difference=difference,
        matrices=matrices,
        notes=notes,
    )


@pytest.fixture
def report():
    matrices = [
        SimpleNamespace(layer=layer, error=error, largest=5.126 + (layer or 0))
        for layer, error in ((0, 0.08), (0, 0.10), (1, 0.12), (None, 0.5))
    ]
    parted = SimpleNamespace(place=12, text=f"the {HOSTILE}", reference="a ball")
    return SimpleNamespace(
        model="cria",
        reference="float32",
        tokens=1210,
        continuation=48,
        rows=[
            row("float32", 11_000_000, 312.4, 3.2156),
            row("nf4", 2_200_000, 220.7, 3.4127, 0.02134, 0.971, parted, matrices, ("lm_head stayed",)),
            row("int8", 3_300_000, None, 3.2201, 0.0004321, 1.0),
        ],
        refused=[("int4-torchao", "it needs CUDA")],
        stopped=True,
    )


def test_the_text_twin_holds_every_figure(report):
    text = bundle(report, watched=True)["text/plain"]
    first = text.split("\n\n")
    assert first[0] == "cria: each method beside float32, on a text of 1,210 tokens"
    lines = first[1].splitlines()
    assert lines[2].split() == ["float32", "11", "MB", "100%", "312", "3.22", "reference"]
    assert " ".join(lines[3].split()) == "nf4 2.2 MB 20% 221 3.41 0.0213 97% at token 13"
    assert " ".join(lines[4].split()) == "int8 3.3 MB 30% 3.22 0.000432 100% nowhere in 48 tokens"
    assert "nf4: lm_head stayed" in text
    assert "int4-torchao was not measured: it needs CUDA" in text
    assert "Stopped: the methods that follow were not measured." in text
    layers = text.split("\n\n")[-1].splitlines()
    assert [line.split() for line in layers[2:]] == [
        ["others", "50", "%", "5.13"],
        ["layer", "0", "9", "%", "5.13"],
        ["layer", "1", "12", "%", "6.13"],
    ]


def test_where_nobody_watches_no_speed_and_no_third_digit_is_shown(report):
    text = bundle(report, watched=False)["text/plain"]
    assert "tokens/s" not in text
    assert "312" not in text
    assert "3.22" not in text
    assert "0.021" in text
    assert "0.0213" not in text


def test_the_page_is_left_whole_by_the_wall_and_shows_text_as_text(report):
    html = bundle(report, watched=True)["text/html"]
    assert wall(html) == html
    assert "&lt;img src=x" in html
    assert "<img" not in html
    assert "\x1b" not in html
    assert html.count('role="img"') == 3 + 2
    assert 'aria-label="2.2 MB of weights"' in html


def test_a_report_of_the_reference_alone_is_shown(report):
    report.rows, report.refused, report.stopped = report.rows[:1], (), False
    shown = bundle(report, watched=True)
    assert "layer" not in shown["text/plain"]
    assert "float32" in shown["text/html"]
