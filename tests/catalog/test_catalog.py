"""The catalogue: names, hub ids and figures, each with a source."""

import re

from llama_nb.catalog import catalog


def test_names_and_ids_are_unique_and_well_formed() -> None:
    cards = catalog.cards()
    assert len({card.name for card in cards}) == len(cards)
    ids = [card.hub_id for card in cards if card.hub_id]
    assert len(set(ids)) == len(ids)
    for card in cards:
        assert re.fullmatch(r"[a-z0-9.-]+", card.name)
        assert card.sources
        assert re.fullmatch(r"\d{4}(-\d\d(-\d\d)?)?", card.date)
        if card.hub_id:
            assert re.fullmatch(r"(meta-llama|codellama)/[\w.-]+", card.hub_id)
            assert card.url == f"https://huggingface.co/{card.hub_id}"


def test_the_families() -> None:
    assert {card.family for card in catalog.cards()} == {
        "LLaMA", "Llama 2", "Code Llama", "Llama 3", "Llama 3.1", "Llama 3.2", "Llama 3.2 Vision",
        "Llama 3.3",
        "Llama 4", "Llama Guard 3", "Llama Guard 4", "Prompt Guard 2",
    }  # fmt: skip


def test_figures() -> None:
    small = catalog.find("llama-3.2-1b-instruct")
    assert small is not None
    assert (small.parameters, small.context, small.gated) == (1_235_814_400, 131_072, True)
    scout = catalog.find("meta-llama/Llama-4-Scout-17B-16E")
    assert scout is not None
    assert (scout.context, scout.shape) == (10 * 2**20, None)
    maverick = catalog.find("LLAMA-4-MAVERICK")
    assert maverick is not None
    assert maverick.context == 2**20
    code = catalog.find("codellama/CodeLlama-7b-hf")
    assert code is not None
    assert not code.gated
    assert catalog.find("llama-9") is None


def test_what_was_not_published_on_the_hub_is_not_offered() -> None:
    first = catalog.find("llama-7b")
    assert first is not None
    assert first.hub_id is None
    assert first.url is None
    assert "llama-7b" not in catalog.names()
    assert len(catalog.hub_ids()) == len(catalog.names())
