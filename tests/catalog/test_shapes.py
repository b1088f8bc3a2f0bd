"""Parameter counts: the catalogue's against the architectures themselves, built without memory."""

import pytest
import torch
import transformers

from llama_nb.catalog import catalog

# What each size is published with: the table of facts that the course quotes.
PUBLISHED = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-2-70b": 68_976_648_192,
    "code-llama-7b": 6_738_546_688,
    "code-llama-34b": 33_743_970_304,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.3-70b-instruct": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-4-scout": 107_769_861_120,
    "llama-4-maverick": 400_711_848_960,
}
ONE_OF_EACH = {
    str(sorted(each.shape.items())): each for each in catalog.cards() if each.shape is not None
}.values()


def build(card: catalog.ModelCard) -> torch.nn.Module:
    """The model that transformers makes of the card's shape, on the meta device: shapes without memory."""
    kind = card.config["model_type"]
    made, config = {
        "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig),
        "llama4_text": (transformers.Llama4ForCausalLM, transformers.Llama4TextConfig),
    }[kind]
    with torch.device("meta"):
        return made(config(**{key: value for key, value in card.config.items() if key != "model_type"}))


@pytest.mark.parametrize("card", ONE_OF_EACH, ids=lambda card: card.name)
def test_parameters_are_those_of_the_architecture(card: catalog.ModelCard) -> None:
    model = build(card)
    assert card.parameters == sum(parameter.numel() for parameter in model.parameters())
    experts = sum(value.numel() for name, value in model.named_parameters() if ".experts." in name)
    idle = 1 - card.config.get("num_experts_per_tok", 1) / card.config.get("num_local_experts", 1)
    assert card.active_parameters == card.parameters - round(experts * idle)


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_parameters_are_the_published_ones(name: str, parameters: int) -> None:
    card = catalog.find(name)
    assert card is not None
    assert card.parameters == parameters


@pytest.mark.parametrize("name", ["llama-4-scout", "llama-4-maverick"])
def test_17b_are_active_in_all(name: str) -> None:
    """Not "2 active experts of 17B each": one routed and one shared expert, with attention and embeddings."""
    card = catalog.find(name)
    assert card is not None
    assert card.active_parameters is not None
    assert round(card.active_parameters / 1e9) == 17
    assert card.config["num_experts_per_tok"] == 1
    layer = build(card).model.layers[-1].feed_forward
    assert layer.shared_expert.gate_proj.weight.shape == (8192, 5120)


def test_every_layer_of_scout_has_experts_and_every_second_one_of_maverick() -> None:
    for name, count in {"llama-4-scout": 48, "llama-4-maverick": 24}.items():
        card = catalog.find(name)
        assert card is not None
        layers = build(card).model.layers
        assert sum(hasattr(layer.feed_forward, "experts") for layer in layers) == count


def test_the_pruned_guard_has_the_parameters_of_its_card() -> None:
    card = catalog.find("llama-guard-3-1b-int4")
    assert card is not None
    assert card.parameters is not None
    assert round(card.parameters / 1e6) == 1123
