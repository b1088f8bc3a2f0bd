"""What courses repeat about Llama and is not so: the catalogue says otherwise."""

import dataclasses

import pytest

from llama_nb.catalog import catalog
from llama_nb.catalog.licences import licence, licences
from llama_nb.catalog.models import find
from llama_nb.core.errors import CatalogError


def shape(name: str) -> dict[str, int]:
    return find(name).config


def test_maverick_has_one_routed_and_one_shared_expert_and_17b_active_in_all() -> None:
    maverick = find("maverick")
    assert maverick.config["num_experts_per_tok"] == 1
    assert 16.5e9 < (maverick.active_parameters or 0) < 17.5e9
    assert "one routed and one shared expert" in maverick.note


def test_scout_has_109b_and_10m_of_context() -> None:
    scout = find("scout")
    assert "109B" in scout.size
    assert scout.context == 10 * 1024**2


def test_the_405b_came_with_3_1_and_not_with_3() -> None:
    assert {card.size for card in catalog.cards() if card.family == "Llama 3"} == {"8B", "70B"}
    assert find("405b").family == "Llama 3.1"
    with pytest.raises(CatalogError, match="405B came with Llama"):
        find("llama 3 405b")


@pytest.mark.parametrize(("name", "factor"), [("llama-3.1-70b", 8), ("llama-3.1-8b", 4), ("llama-2-7b", 1)])
def test_grouped_query_attention_saves_heads_over_kv_heads_and_not_half(name: str, factor: int) -> None:
    numbers = shape(name)
    assert numbers["num_attention_heads"] // numbers["num_key_value_heads"] == factor


def test_the_threshold_counts_users_and_not_revenue() -> None:
    for each in licences():
        for item in each.obligations:
            assert "revenue" not in item.text or "not revenue" in item.text


def test_weights_may_be_redistributed_and_outputs_may_train_other_models_from_3_1_on() -> None:
    for each in licences()[1:]:
        assert each.redistribution
        assert each.outputs == ("own derivatives" if each.key in {"llama-2", "llama-3"} else "any model")
    assert licence("3.3 70b").outputs == "any model"


def test_no_model_has_a_longest_output() -> None:
    fields = {field.name for field in dataclasses.fields(catalog.ModelCard)}
    assert not {field for field in fields if "output" in field}
