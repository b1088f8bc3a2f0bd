"""What each layer would say, without widgets: as text and as a coloured table, whatever the tokens are."""

import pytest

from llama_nb.render import lens
from llama_nb.render.colour_maps import SEQUENTIAL, css
from tests.hostile.corpus import cases
from tests.render.html_reader import read

HOSTILE = cases("http://127.0.0.1:9")


def cell(text, chance, *, final=0.25, rank=2, kl=1.5, entropy=0.5):
    return {
        "top": [[text, False, chance], [" moon", False, 0.0625]],
        "final": final,
        "final_rank": rank,
        "next": 0.03125,
        "next_rank": 4,
        "entropy": entropy,
        "kl": kl,
    }


def column(position, token, said=" sun", *, depths=3, ahead=" rose"):
    cells = [cell(said, (depth + 1) / (depths + 1), kl=float(depths - 1 - depth)) for depth in range(depths)]
    more = {"special": False, "final": said, "next": ahead, "cells": cells}
    return {"position": position, "token": token, **more}


def record(*columns, depths=3, **changes):
    return {
        "model": "cria",
        "title": "text",
        "tuned": None,
        "off": "",
        "notes": [],
        "layers": ["embedding", *(f"L{layer}" for layer in range(depths - 1))],
        "tokens": len(columns),
        "prompt": len(columns),
        "positions": len(columns),
        "columns": list(columns),
        **changes,
    }


def test_a_row_a_layer_and_a_column_a_position():
    made = lens.bundle(record(column(4, "The"), column(5, " red", ahead=None)), watched=True)
    lines = made["text/plain"].splitlines()
    assert lines[0] == "Logit lens: text of cria"
    assert next(line for line in lines if line.startswith("L0")).split() == [
        "L0",
        *(["\u00b7sun", "50", "%"] * 2),
    ]
    assert next(line for line in lines if line.startswith("in the text")).split()[-2:] == [
        "\u00b7rose",
        "\u2013",
    ]
    page = read(made["text/html"])
    assert not page.faults
    assert page.text.count("\u00b7sun") == 6
    for share in (0.25, 0.5, 0.75):
        assert made["text/html"].count(f"background-color:{css(SEQUENTIAL, share)}".replace(" ", "")) == 2
    assert (
        "L1 after The at 4: \u00b7sun 75 %, \u00b7moon 6.25 %; the model's \u00b7sun 25 %, rank 2"
        in made["text/html"]
    )
    assert "the text's \u00b7rose 3.12 %, rank 4; entropy 0.50, KL 0.00 nats" in made["text/html"]


def test_the_ground_may_be_the_divergence_on_a_scale_with_an_end():
    near = lens.bundle(record(column(4, "The")), watched=True, by="kl")["text/html"]
    assert "KL divergence" in near
    assert f"background-color:{css(SEQUENTIAL, 0.5)}" in near
    far = record(column(4, "The"))
    far["columns"][0]["cells"][0]["kl"] = 53.0
    assert lens.high_end(far, "kl") == lens.KL_END
    assert "10 or more" in read(lens.bundle(far, watched=True, by="kl")["text/html"]).text


def test_what_is_left_out_is_said():
    many = [column(at, f"t{at}", depths=81) for at in range(4)]
    made = lens.bundle(record(*many, depths=81, positions=512, notes=["The last 512."]), watched=True)
    for text in made.values():
        assert "Shown are positions 0 to 3; all 512 are in to_frame()." in text
        assert "Shown are 33 of 81 rows." in text
        assert "The last 512." in text
    rows = lens.rows_shown(81)
    assert (rows[0], rows[-1], len(rows)) == (0, 80, 33)
    assert len(made["text/html"]) < 100_000


def test_a_tuned_lens_and_what_was_off_are_in_the_title():
    made = record(column(0, "a"), tuned="mine", off="L3 H5 off")
    assert lens.title(made) == "Tuned lens mine: text of cria, L3 H5 off"


def test_figures_are_coarser_where_nobody_watches():
    odd = record(column(0, "a"))
    odd["columns"][0]["cells"][0] = cell(" x", 0.123456, entropy=0.123456)
    watched, unwatched = (lens.bundle(odd, watched=watched) for watched in (True, False))
    assert "12.3 %" in watched["text/plain"]
    assert "12 %" in unwatched["text/plain"]
    assert "12.3" not in unwatched["text/html"]


@pytest.mark.parametrize("case", HOSTILE, ids=[case.name for case in HOSTILE])
def test_hostile_tokens_stay_text(case):
    made = record(column(0, case.text, case.text, ahead=case.text), notes=[case.text])
    page = read(lens.bundle(made, watched=True)["text/html"])
    assert not page.faults
    assert page.open == 0
