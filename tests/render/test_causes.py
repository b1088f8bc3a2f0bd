"""What changes when parts are off, and maps of patching, as pages and texts: figures, sizes, names."""

import re

import pytest

from llama_nb.render import ablation, patching
from llama_nb.render.colour_maps import DIVERGING, css
from tests.render.html_reader import read

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>$a$ $b$\x1b[31m"


def effect(**changes):
    tokens = [
        {"id": 5, "text": " Ida", "special": False, "before": 0.2452, "after": 0.00091},
        {"id": 6, "text": " One", "special": False, "before": 0.2231, "after": 0.3215},
        {"id": 7, "text": "<|eot_id|>", "special": True, "before": 0.0, "after": 0.5},
    ]
    return {
        "model": "cria",
        "title": "text",
        "off": "L5 attention off",
        "context": "in a quiet village.",
        "tokens": tokens,
        "kl": 1.2345,
        "loss_before": 3.2111,
        "loss_after": 3.8222,
        "text_before": " Ida had a stone",
        "text_after": " One day",
    } | changes


def mapped(**changes):
    return {
        "model": "cria",
        "site": "layer",
        "clean": ["Once", " Ida", " sang", "."],
        "corrupt": ["Once", " Noah", " sang", "."],
        "positions": [0, 1, 2, 3],
        "answer": " Ida",
        "wrong": " Noah",
        "clean_difference": 7.5321,
        "corrupt_difference": -4.4567,
        "values": [[0.0, 0.876, 0.0, -0.25], [0.0, 0.0, 0.0, 1.0]],
        "off": "",
    } | changes


def test_an_effect_names_the_tokens_before_and_after():
    made = ablation.bundle(effect(), watched=True)
    text = made["text/plain"]
    assert text.startswith("cria with L5 attention off, behind in·a·quiet·village.")
    assert re.search(r"·Ida +24\.5 % +0\.091 %", text)
    assert re.search(r"<\|eot_id\|> +0 +50 %", text)
    assert "Kullback-Leibler divergence from the whole model: 1.23 nats" in text
    assert "Mean loss on the text: 3.21 → 3.82 nats a token" in text
    assert "whole:    Ida had a stone\nchanged:  One day" in text
    page = read(made["text/html"])
    assert page.faults == []
    for said in ("·Ida", "24.5 %", "0.091 %", "1.23 nats", "3.21 → 3.82", "One day"):
        assert said in page.text
    assert 'aria-label="whole: 24.5 %"' in made["text/html"]


def test_without_a_loss_or_texts_an_effect_says_nothing_of_them():
    made = ablation.bundle(
        effect(loss_before=None, loss_after=None, text_before="", text_after=""), watched=True
    )
    assert "Mean loss" not in made["text/plain"]
    assert "whole:" not in made["text/plain"]
    assert "How it goes on" not in made["text/plain"]
    ended = ablation.bundle(effect(text_after=""), watched=True)
    assert "changed: (nothing)" in ended["text/plain"]


def test_where_nobody_watches_figures_have_fewer_digits():
    text = ablation.bundle(effect(), watched=False)["text/plain"]
    assert "25 %" in text
    assert "1.2 nats" in text
    assert "24.5" not in text
    plain, fine = (patching.bundle(mapped(), watched=watched) for watched in (False, True))
    assert ".9" in plain["text/plain"]
    assert ".88" not in plain["text/plain"] + plain["text/html"]
    assert ".88" in fine["text/plain"]
    assert "7.5 in the clean run, -4.5 in the corrupt one" in plain["text/plain"]
    assert "7.53 in the clean run, -4.46 in the corrupt one" in fine["text/plain"]


def test_a_map_has_a_row_a_layer_and_a_column_a_token():
    made = patching.bundle(mapped(), watched=True)
    text = made["text/plain"]
    assert text.startswith("cria: what brings ·Ida back in place of ·Noah")
    heads, _, top, bottom = text.splitlines()[2:6]
    assert re.split("  +", heads.strip()) == ["layer", "Once", "·Ida / ·Noah", "·sang", "."]
    assert top.split() == ["L1", "0", "0", "0", "1"]
    assert bottom.split() == ["L0", "0", ".88", "0", "-.25"]
    page = made["text/html"]
    assert read(page).faults == []
    full = css(DIVERGING, 1.0)
    assert (
        f'background-color:{full};color:#fff" title="layer 1, token 3 .: 1 of the difference comes back"'
        in page
    )
    assert 'title="layer 0, token 1 ·Ida / ·Noah: .88 of the difference comes back"' in page
    assert "the residual stream behind a layer" in read(page).text


def test_heads_are_columns_of_their_own():
    made = patching.bundle(mapped(site="head", off="L0 MLP off"), watched=True)
    assert made["text/plain"].startswith("cria with L0 MLP off: what brings")
    assert "layer  H0   H1  H2    H3" in made["text/plain"]
    assert "what a head mixed, at all positions" in made["text/plain"]
    assert 'title="layer 0, H1: .88 of the difference comes back"' in made["text/html"]


def test_of_a_long_text_the_strongest_columns_are_shown():
    count = 200
    values = [[0.001 * (column % 7) for column in range(count)] for _ in range(3)]
    values[1][150] = 0.9
    names = [f"t{column}" for column in range(count)]
    long = mapped(clean=names, corrupt=names, positions=list(range(count)), values=values)
    made = patching.bundle(long, watched=True)
    assert made["text/html"].count("<td") == 3 * patching.MOST_COLUMNS
    assert "t150" in made["text/plain"]
    assert "Shown are the 64 strongest columns; 136 more are in to_frame()." in made["text/plain"]
    assert len(made["text/html"]) < 60_000


@pytest.mark.parametrize("watched", [True, False])
def test_hostile_names_stay_text(watched):
    token = {"id": 1, "text": HOSTILE, "special": False, "before": 0.5, "after": 0.2}
    hostile = effect(model=HOSTILE, context=HOSTILE, tokens=[token], text_before=HOSTILE, text_after=HOSTILE)
    names = [HOSTILE] * 4
    pages = [
        ablation.bundle(hostile, watched=watched),
        patching.bundle(mapped(model=HOSTILE, clean=names, answer=HOSTILE, wrong=HOSTILE), watched=watched),
    ]
    for made in pages:
        page = made["text/html"]
        assert read(page).faults == []
        assert "<script" not in page
        assert "<img" not in page
        assert "\x1b" not in made["text/plain"] + page
        assert not re.search(r">[^<>]*\$[^<>]*\$[^<>]*<", page), "Jupyter would set it as a formula"
