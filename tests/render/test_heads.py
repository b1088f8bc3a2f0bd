"""Scores of heads as pages and texts: figures, names, sizes, and what a hostile name may do."""

import re

import numpy as np
import pytest

from llama_nb.interpret.head_scores import HeadScores
from llama_nb.interpret.score_kinds import KINDS
from llama_nb.render.colour_maps import SEQUENTIAL, css
from llama_nb.render.heads import bundle
from tests.render.html_reader import read


def scores(layers=2, heads=3, kinds=KINDS, model="cria", title="text", **values):
    made = {kind.name: np.full((layers, heads), 0.25, np.float32) for kind in kinds}
    for name, (layer, head, value) in values.items():
        made[name][layer, head] = value
    return HeadScores(model, title, 42, tuple(kinds), tuple(range(layers)), heads, made)


def shown(found, watched=True):
    return bundle(found.record(), watched=watched)


def test_one_kind_is_a_map_of_all_heads_and_a_ranking():
    made = shown(scores(induction=(1, 2, 0.94)).only("induction"))
    assert "Induction: 2 layers of 3 heads in cria" in made["text/plain"]
    assert re.search(r"1 +L1 H2 +0\.94\n2 +L0 H0 +0\.25", made["text/plain"])
    page = made["text/html"]
    assert (
        f'background-color:{css(SEQUENTIAL, float(np.float32(0.94)))};color:#000" title="L1, H2: .94"' in page
    )
    assert read(page).faults == []
    assert "Olsson et al. 2022" in read(page).text
    assert "Read: text, 42 tokens." in read(page).text


def test_all_kinds_are_small_pictures_and_their_strongest_heads():
    made = shown(scores(sink=(0, 1, 0.5), entropy=(1, 1, 3.21)))
    assert re.search(r"sink +L0 H1 0\.50, L0 H0 0\.25, ", made["text/plain"])
    assert re.search(r"entropy +L1 H1 3\.2, ", made["text/plain"])
    assert made["text/html"].count('<img src="data:image/png;base64,') == len(KINDS)
    alts = re.findall(r'alt="([^"]*)"', made["text/html"])
    assert any(alt.startswith("sink of 2 layers") and "L0 H1 0.50" in alt for alt in alts)


def test_where_nobody_watches_there_are_no_pictures():
    made = shown(scores(), watched=False)
    assert "<img" not in made["text/html"], "compressed bytes differ from one library to the next"
    assert "<img" not in shown(scores(126, 128, KINDS[:1]), watched=False)["text/html"]
    assert made["text/plain"] == shown(scores())["text/plain"]


def test_what_has_no_score_says_so():
    found = scores(kinds=KINDS[:1])
    found.scores["induction"][:] = np.nan
    made = shown(found)
    assert "\u2013" in read(made["text/html"]).text
    several = scores()
    several.scores["induction"][:] = np.nan
    assert "nothing that was read calls for it" in shown(several)["text/plain"]


@pytest.mark.parametrize(("layers", "heads", "most"), [(32, 32, 150_000), (126, 128, 30_000)])
def test_large_models_stay_small_pages(layers, heads, most):
    made = shown(scores(layers, heads, KINDS[:1]))
    assert len(made["text/html"]) < most
    assert len(shown(scores(layers, heads))["text/html"]) < 30_000


def test_a_hostile_name_stays_text():
    name = '<script>alert(1)</script><img src=x onerror=alert(1)>"$\\href{javascript:1}{x}$'
    for found in (scores(model=name, title=name), scores(model=name, title=name).only("sink")):
        page = shown(found)["text/html"]
        assert "<script" not in page
        assert "<img src=x" not in page
        assert "alert(1)" in read(page).text
        assert not re.search(r">[^<>]*\$[^<>]*\$[^<>]*<", page), "no formula"
