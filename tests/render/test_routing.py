"""The twin of the routing explorer: figures, pixels and colours, hostile texts, pages of large models."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llama_nb.render import routing_domains, routing_expert, routing_paths
from llama_nb.render.colour_maps import DIVERGING, SEQUENTIAL, css
from llama_nb.render.expert_colours import EIGHT, FAINT, STRONG, expert_colour
from llama_nb.render.routing import RoutedToken, RoutingTwin, bundle, tokens_line
from llama_nb.render.routing_domains import DomainLook
from llama_nb.render.routing_expert import ExpertLook
from llama_nb.render.routing_load import LoadLook
from llama_nb.render.routing_load import bundle as load_bundle
from llama_nb.render.routing_paths import PathsLook
from tests.render.html_reader import read
from tests.render.test_contrast import DARK, WHITE, contrast, over

HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(1)>"$\\frac{1}{2}$'
PAGE = Path(__file__).parents[2] / "labextension" / "widgets" / "routing_page.ts"


def load(shares=((0.5, 0.25, 0.25, 0.0), (0.0, 0.0, 0.0, 1.0)), **given) -> LoadLook:
    options = {
        "layers": tuple(range(1, 2 * len(shares), 2)),
        "shares": shares,
        "difference": None,
        "cv": [0.71, 1.73, *[0.0] * len(shares)][: len(shares)],
        "max_over_mean": [2.0, 4.0, *[1.0] * len(shares)][: len(shares)],
        "dead": ((3,), (0, 1, 2), *[()] * len(shares))[: len(shares)],
        "balance": [1.25, 4.0, *[1.0] * len(shares)][: len(shares)],
        "tokens": 4,
    }
    return LoadLook(**{**options, **given})


def domains(**given) -> DomainLook:
    options = {
        "domains": ("sums", HOSTILE),
        "layers": (1, 3),
        "bits": [0.61234, 0.0],
        "shuffled": [0.1, 0.0],
        "shuffled95": [0.2, 0.0],
        "p": [1 / 101, 1.0],
        "chi_square": [1234.5, 0.0],
        "degrees": [3, 0],
        "cramers_v": [0.5, 0.0],
        "shuffles": 100,
        "documents": 12,
        "shown": 1,
        "shares": [[0.5, 0.25, 0.25, 0.0], [0.004, 0.996, 0.0, 0.0]],
        "single": (HOSTILE,),
    }
    return DomainLook(**{**options, **given})


def twin(**given) -> RoutingTwin:
    tokens = (
        RoutedToken("<|begin|>", (3,), special=True, begins="sums"),
        RoutedToken(" the", (0,), 0.25),
        RoutedToken("\n", (1,), 0.5, begins=HOSTILE),
        RoutedToken(HOSTILE, (2,), 1.0),
    )
    options = {
        "title": f"Routing of tiny: {HOSTILE}",
        "facts": (f"4 experts in L1, L3; {HOSTILE}",),
        "layer": 1,
        "load": load(),
        "tokens": tokens,
        "count": 4,
        "domains": domains(),
    }
    return RoutingTwin(**{**options, **given})


def paths(**given) -> PathsLook:
    options = {
        "of": HOSTILE,
        "tokens": 8,
        "asked": 8,
        "flows": [(1, 0, 3, 2, 0.5), (1, 1, 3, 2, 0.25)],
        "rest": 0.25,
        "kind": "transition",
        "layer": 1,
        "next": 3,
        "matrix": [[0.0, 1.0], [0.3, 0.7]],
    }
    return PathsLook(**{**options, **given})


def expert(**given) -> ExpertLook:
    options = {
        "name": "L3 E2",
        "share": 0.3,
        "even": 0.25,
        "count": 30,
        "tokens_read": 100,
        "by_domain": [(HOSTILE, 0.5), ("sums", 0.1)],
        "by_position": [0.1] * 10,
        "tokens": [(HOSTILE, 12, 3.456), (" the", 3, 0.5)],
        "contexts": [(HOSTILE, HOSTILE, HOSTILE, 0.98765)],
    }
    return ExpertLook(**{**options, **given})


ALL = {
    "twin": lambda watched: bundle(twin(), watched=watched),
    "load": lambda watched: load_bundle(load(domain=HOSTILE), watched=watched),
    "domains": lambda watched: routing_domains.bundle(domains(), watched=watched),
    "paths": lambda watched: routing_paths.bundle(paths(), watched=watched),
    "expert": lambda watched: routing_expert.bundle(expert(), watched=watched),
}


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("made", list(ALL.values()), ids=list(ALL))
def test_hostile_texts_stay_texts(made, watched):
    html = made(watched)["text/html"]
    found = read(html)
    assert not found.faults
    assert "onerror=alert(1)" in found.text
    assert not re.search(r">[^<>]*\$[^<>]*\$[^<>]*<", html), "no formula"


def test_the_load_map_has_a_cell_for_each_expert_and_its_figures_beside():
    made = load_bundle(load(), watched=True)
    assert re.search(r"L1 +50 +25 +25 +0 +0\.71 +2\.0× +1\.25 +E3\n", made["text/plain"])
    assert re.search(r"L3 +0 +0 +0 +100 +1\.73 +4\.0× +4\.00 +E0, E1, E2", made["text/plain"])
    assert "even would be 25 %" in made["text/plain"]
    page = made["text/html"]
    assert f'background-color:{css(SEQUENTIAL, 1)};color:#000" title="L3 E3: 100 %">100<' in page
    assert f'background-color:{css(SEQUENTIAL, 0.25)};color:#fff" title="L1 E1: 25 %">25<' in page


def test_a_domains_map_shows_what_it_has_more_or_less_of():
    found = load(((0.5, 0.5), (0.1, 0.9)), difference=((0.3, -0.3), (-0.15, 0.15)), domain="code")
    page = load_bundle(found, watched=True)["text/html"]
    assert f'background-color:{css(DIVERGING, 1)};color:#fff" title="L1 E0: 50 %">+30<' in page
    assert f'background-color:{css(DIVERGING, 0.25)};color:#000" title="L3 E0: 10 %">−15<' in page
    assert "4 tokens of code" in page
    text = load_bundle(found, watched=True)["text/plain"]
    assert re.search(r"L3 +\u221215 +\+15 ", text)
    assert "Percentage points more or fewer" in text


def test_many_dead_experts_are_counted():
    found = load(((1.0, *[0.0] * 7),), dead=(tuple(range(1, 8)),))
    assert re.search(r" 7 of 8$", load_bundle(found, watched=True)["text/plain"], re.MULTILINE)


def test_what_is_rare_is_not_called_nothing():
    assert ">&lt;1<" in load_bundle(load(((0.996, 0.004, 0, 0),)), watched=True)["text/html"]


def pixels(html):
    for data in re.findall(r'src="data:image/png;base64,([^"]+)"', html):
        yield np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_many_experts_are_a_strip_of_pixels_a_layer():
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.ones(128), size=24)
    made = load_bundle(load(shares.tolist()), watched=True)
    strips = list(pixels(made["text/html"]))
    assert len(strips) == 24
    for strip, row in zip(strips, shares, strict=True):
        assert strip.shape == (12, 384)
        expected = np.rint(255 * row / shares.max())
        assert (strip[0, 1::3] == expected).all()
        assert (strip == strip[0]).all()
    busiest = int(shares[0].argmax())
    assert re.search(rf"L1 +E{busiest} ", made["text/plain"])
    assert len(made["text/html"]) < 60_000


def test_where_nobody_watches_there_are_no_pictures_and_fewer_digits():
    shares = np.random.default_rng(0).dirichlet(np.ones(128), size=3).tolist()
    assert "<img" not in load_bundle(load(shares), watched=False)["text/html"]
    assert "<img" not in ALL["twin"](False)["text/html"]
    assert "0.612" in ALL["domains"](True)["text/plain"]
    assert "0.612" not in ALL["domains"](False)["text/plain"]
    assert "0.988" in ALL["expert"](True)["text/plain"]
    assert "0.988" not in ALL["expert"](False)["text/plain"]


def test_each_token_has_its_experts_colour_and_number():
    made = bundle(twin(), watched=True)
    red, green, blue = EIGHT[0]
    alpha = FAINT + (STRONG - FAINT) * 0.25
    assert (
        f"background-color:rgba({red}, {green}, {blue}, {alpha:.2f});border-bottom:2px solid rgb"
        in made["text/html"]
    )
    assert "·the⁰</span>" in made["text/html"]
    assert "\nsums: <|begin|>³|·the⁰|\n" in made["text/plain"]


def test_numbers_of_two_experts_stand_together_and_of_many_the_first():
    assert tokens_line([RoutedToken("a", (10, 2)), RoutedToken("b", (7, 8, 9))]) == "a¹⁰⁺²|b⁷"


def test_colours_have_the_strength_of_the_choice_only_where_somebody_watches():
    def strengths(watched):
        page = bundle(twin(), watched=watched)["text/html"]
        return set(re.findall(r"background-color:rgba\(\d+, \d+, \d+, ([\d.]+)\);border-bottom", page))

    assert len(strengths(True)) >= 3
    assert len(strengths(False)) == 1


@pytest.mark.parametrize(("text", "ground"), [((0, 0, 0), WHITE), (WHITE, DARK)])
@pytest.mark.parametrize("experts", [8, 128])
def test_tokens_can_be_read_on_every_experts_colour(experts, text, ground):
    for number in range(experts):
        for alpha in (FAINT, STRONG):
            tinted = over(expert_colour(number, experts), ground, alpha)
            assert contrast(over(text, tinted, 0.75), tinted) >= 4.5, f"E{number} of {experts}"


def test_neighbours_differ_and_the_page_has_the_same_colours():
    source = PAGE.read_text()
    listed = re.search(r"COLOURS = \[([^\]]+)\]", source)[1]
    assert [tuple(bytes.fromhex(each)) for each in re.findall(r"#(\w{6})", listed)] == list(EIGHT)
    assert "expert * 137.508) % 360} 55% ${[52, 40, 62][expert % 3]}%" in source
    assert expert_colour(9, 16) == (65, 200, 151)  # as a browser draws hsl(158 55% 52%)
    for experts in (8, 16, 128):
        for number in range(experts - 1):
            one, other = expert_colour(number, experts), expert_colour(number + 1, experts)
            assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 90


def test_of_a_long_text_the_beginning_is_shown():
    assert "… 996 more" in bundle(twin(count=1000), watched=True)["text/plain"]


def test_the_domains_come_with_their_control_and_who_goes_where():
    made = ALL["domains"](True)
    assert re.search(r"L1 +0\.612 +0\.100 +0\.200 +0\.01 +1,23[45] +3 +0\.50", made["text/plain"])
    assert "has only one" in made["text/plain"]
    assert "Who goes where in L1" in read(made["text/html"]).text
    assert (
        "Who goes where"
        not in routing_domains.bundle(domains(shares=[[0.01] * 128] * 2), watched=True)["text/html"]
    )


def test_paths_list_the_largest_flows_and_one_layers_matrix():
    made = ALL["paths"](True)
    assert re.search(r"L1 E0 +L3 E2 +50 %\nL1 E1 +L3 E2 +25 %", made["text/plain"])
    assert "These are 75 % of all steps" in made["text/plain"]
    assert re.search(r"E0 +0 +100\nE1 +30 +70", made["text/plain"])
    together = routing_paths.bundle(paths(kind="together", matrix=[[0.5, 0.1], [0.1, 0.4]]), watched=True)
    assert "go through both experts of L1" in together["text/plain"]
    thinned = routing_paths.bundle(paths(asked=80), watched=True)
    assert "80 tokens" in thinned["text/plain"]
    assert "8 of them, evenly spread" in thinned["text/plain"]
    last = routing_paths.bundle(paths(matrix=None, flows=[], next=None), watched=True)
    assert "8 tokens" in last["text/plain"]


def test_a_large_matrix_is_a_picture():
    values = np.random.default_rng(0).dirichlet(np.ones(64), size=64)
    page = routing_paths.bundle(paths(matrix=values.tolist()), watched=True)["text/html"]
    (picture,) = pixels(page)
    assert picture.shape == (256, 256)
    assert (picture[::4, ::4] == np.rint(255 * np.sqrt(values / values.max()))).all()
    assert "<img" not in routing_paths.bundle(paths(matrix=values.tolist()), watched=False)["text/html"]


def test_an_expert_shows_its_tokens_shares_and_places():
    made = ALL["expert"](True)
    assert "30 % of the choices of its layer; even would be 25 %" in made["text/plain"]
    assert re.search(r"·the +3 +0\.50×", made["text/plain"])
    assert re.search(r"last tenth +10 %", made["text/plain"])
    assert "[<script>" in made["text/plain"]
    dead = routing_expert.bundle(
        expert(count=0, share=0.0, tokens=[], contexts=[], by_domain=[("sums", 0.0)], by_position=[0.0] * 10),
        watched=True,
    )
    assert "No token chose it" in dead["text/plain"]
    assert "tenth" not in dead["text/html"]
