"""Parts of a model as they are written, named and put together."""

import json

import pytest

from llama_nb.core.errors import InterventionError
from llama_nb.core.intervention import Intervention, check_parts, merged, names, read_part
from llama_nb.core.request import Request

HEAD = Intervention("head", 3, 5)
MLP = Intervention("mlp", 3)


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


def test_what_is_off_is_said_in_words():
    mean = Intervention("attention", 0, None, "mean")
    assert names([HEAD]) == "L3 H5 off"
    assert names([HEAD, MLP]) == "L3 H5, L3 MLP off"
    assert names([mean]) == "L0 attention at its mean"
    assert names([HEAD, mean, Intervention("layer", 2, None, "mean")]) == (
        "L3 H5 off; L0 attention, L2 at their mean"
    )
    assert names(()) == ""


def test_a_model_has_only_so_many_layers_and_heads():
    check_parts([HEAD, MLP], 4, 6, "tiny")
    with pytest.raises(InterventionError, match="tiny has no layer 3: it has 3, from 0 to 2"):
        check_parts([HEAD], 3, 6, "tiny")
    with pytest.raises(InterventionError, match="no head 5 in layer 3: a layer has 5, from 0 to 4"):
        check_parts([HEAD], 4, 5, "tiny")


def test_its_record_tells_it_from_all_others_and_is_json():
    parts = [HEAD, MLP, Intervention("head", 3, 5, "mean"), Intervention("head", 3, 5, "mean", (1, 2))]
    records = [json.dumps(each.record(), sort_keys=True) for each in parts]
    assert len(set(records)) == len(parts)
    assert parts[0].record() == {"site": "head", "layer": 3, "head": 5}


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
