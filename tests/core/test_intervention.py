"""Parts of a model as they are written, named and put together."""

import json

import pytest

from llama_nb.core.errors import InterventionError
from llama_nb.core.intervention import Intervention, check_parts, merged, names, read_part
from llama_nb.core.request import Request

HEAD = Intervention("head", 3, 5)
MLP = Intervention("mlp", 3)
EXPERT = Intervention("expert", 3, mode="ban", expert=5)
TOP = Intervention("top_k", None, top_k=1, experts=8)


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("3.5", HEAD),
        ("L3 H5", HEAD),
        (" l3.h5 ", HEAD),
        ("3.mlp", MLP),
        ("L3 MLP", MLP),
        ("3.attn", Intervention("attention", 3)),
        ("3.attention", Intervention("attention", 3)),
        ("3", Intervention("layer", 3)),
        ("L12", Intervention("layer", 12)),
        ("3.E5", EXPERT),
        ("L3 e5", EXPERT),
        ("3.shared", Intervention("shared expert", 3)),
    ],
)
def test_what_is_written_names_a_part(written, part):
    assert read_part(written) == part
    assert read_part(part.name) == part


@pytest.mark.parametrize(
    "written", ["", "3.", "x", "3.5.1", "-1", "3.-5", "3.gate", "99999.1", "3,5", None, 3, "3\n5"]
)
def test_what_names_none_is_refused_with_the_forms(written):
    with pytest.raises(InterventionError, match="names no part") as refused:
        read_part(written)
    assert "3.5 is head 5 of layer 3" in refused.value.hint


@pytest.mark.parametrize(
    "given",
    [
        {"site": "neuron", "layer": 1},
        {"site": "mlp", "layer": -1},
        {"site": "mlp", "layer": True},
        {"site": "mlp", "layer": 1.5},
        {"site": "head", "layer": 1},
        {"site": "head", "layer": 1, "head": "2"},
        {"site": "mlp", "layer": 1, "head": 2},
        {"site": "mlp", "layer": 1, "mode": "noise"},
        {"site": "mlp", "layer": 1, "mode": "ban"},
        {"site": "mlp", "layer": None},
        {"site": "mlp", "layer": 1, "expert": 2},
        {"site": "shared expert", "layer": 1, "expert": 2, "mode": "force"},
        {"site": "expert", "layer": 1, "expert": 2},
        {"site": "expert", "layer": 1, "mode": "ban"},
        {"site": "expert", "layer": 1, "mode": "force", "expert": True},
        {"site": "expert", "layer": 1, "mode": "force", "expert": -1},
        {"site": "expert", "layer": None, "mode": "force", "expert": 1},
        {"site": "expert", "layer": 1, "mode": "mean", "expert": 1},
        {"site": "top_k", "layer": None},
        {"site": "top_k", "layer": None, "top_k": 0},
        {"site": "top_k", "layer": None, "top_k": 1.5},
        {"site": "top_k", "layer": 3, "top_k": 1},
    ],
)
def test_what_can_be_no_part_of_any_model_is_refused(given):
    with pytest.raises(InterventionError):
        Intervention(**given)


def test_the_later_of_two_in_one_place_counts():
    mean = Intervention("head", 3, 5, "mean")
    assert merged([HEAD, MLP], [mean]) == (mean, MLP)
    assert merged([HEAD], [HEAD]) == (HEAD,)
    assert merged((), ()) == ()
    force = Intervention("expert", 3, mode="force", expert=5)
    other = Intervention("expert", 3, mode="force", expert=4)
    assert merged([EXPERT, TOP], [force, other]) == (force, TOP, other)
    fewer = Intervention("top_k", None, top_k=2, experts=8)
    assert merged([TOP], [fewer]) == (fewer,)


def test_what_is_off_is_said_in_words():
    mean = Intervention("attention", 0, None, "mean")
    assert names([HEAD]) == "L3 H5 off"
    assert names([HEAD, MLP]) == "L3 H5, L3 MLP off"
    assert names([mean]) == "L0 attention at its mean"
    assert names([HEAD, mean, Intervention("layer", 2, None, "mean")]) == (
        "L3 H5 off; L0 attention, L2 at their mean"
    )
    assert names(()) == ""
    forced = Intervention("expert", 1, mode="force", expert=0)
    other = Intervention("expert", 1, mode="ban", expert=3)
    assert names([TOP]) == TOP.name == "top-1 of 8"
    assert names([Intervention("top_k", None, top_k=2)]) == "top-2"
    assert names([EXPERT, HEAD, forced, other, TOP]) == (
        "L3 H5 off; L3 E5, L1 E3 forbidden; L1 E0 forced; top-1 of 8"
    )
    assert names([Intervention("shared expert", 3)]) == "L3 shared expert off"
    assert names([Intervention("shared expert", 3, mode="mean")]) == "L3 shared expert at its mean"


def test_a_model_has_only_so_many_layers_and_heads():
    check_parts([HEAD, MLP], 4, 6, "tiny")
    with pytest.raises(InterventionError, match="tiny has no layer 3: it has 3, from 0 to 2"):
        check_parts([HEAD], 3, 6, "tiny")
    with pytest.raises(InterventionError, match="no head 5 in layer 3: a layer has 5, from 0 to 4"):
        check_parts([HEAD], 4, 5, "tiny")


def test_its_record_tells_it_from_all_others_and_is_json():
    parts = [HEAD, MLP, Intervention("head", 3, 5, "mean"), Intervention("head", 3, 5, "mean", (1, 2))]
    parts += [EXPERT, Intervention("expert", 3, mode="force", expert=5), TOP, Intervention("layer", 3)]
    records = [json.dumps(each.record(), sort_keys=True) for each in parts]
    assert len(set(records)) == len(parts)
    assert parts[0].record() == {"site": "head", "layer": 3, "head": 5}


def test_an_expert_has_no_mean():
    for given in ({"mode": "mean"}, {"mode": "zero", "over": (1, 2)}):
        with pytest.raises(InterventionError, match=r"3\.E5 is an expert: it is forbidden") as refused:
            read_part("3.E5", **given)
        assert "3.shared" in refused.value.hint


def test_what_changes_routers_is_told_from_what_changes_parts():
    shared = Intervention("shared expert", 3)
    assert [each.reroutes for each in (HEAD, MLP, shared, EXPERT, TOP)] == [False, False, False, True, True]
    assert [each.of_mixtures for each in (HEAD, MLP, shared, EXPERT, TOP)] == [False] * 2 + [True] * 3


def test_a_request_with_something_off_is_alone_and_keeps_nothing():
    plain = Request("hi", cache_key="chat")
    assert not plain.alone
    assert plain.kept_in == "chat"
    off = Request("hi", cache_key="chat", interventions=(HEAD,))
    assert off.alone
    assert off.kept_in is None
    watched = Request("hi", cache_key="chat", watch=lambda module: None)
    assert watched.alone
    assert watched.kept_in == "chat"
