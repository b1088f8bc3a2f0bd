"""The catalogue: names, hub ids and figures, each with a source."""

import datetime as dt
import json
import re
from pathlib import Path

import pytest

from llama_nb.catalog import catalog
from llama_nb.catalog.licences import licences
from llama_nb.core.errors import UnsupportedError

DATA = json.loads(Path(catalog.__file__).with_name("models.json").read_text(encoding="utf-8"))


def card(name: str) -> catalog.ModelCard:
    found = catalog.find(name)
    assert found is not None, name
    return found


def test_names_and_ids_are_unique_and_well_formed() -> None:
    cards = catalog.cards()
    assert len({card.name for card in cards}) == len(cards)
    ids = [card.hub_id for card in cards if card.hub_id]
    assert len(set(ids)) == len(ids)
    for each in cards:
        assert re.fullmatch(r"[a-z0-9.-]+", each.name)
        if each.hub_id:
            assert re.fullmatch(r"(meta-llama|codellama)/[\w.-]+", each.hub_id)
            assert each.url == f"https://huggingface.co/{each.hub_id}"
            assert each.gated == each.hub_id.startswith("meta-llama/")


@pytest.mark.parametrize("each", catalog.cards(), ids=lambda each: each.name)
def test_every_figure_has_a_source_that_exists(each: catalog.ModelCard) -> None:
    stated = {"date", "size", "languages", "licence", "gated"}
    stated |= {"hub"} if each.hub_id else set()
    stated |= {"context"} if each.context else set()
    stated |= {"training"} if each.training else set()
    stated |= {"scores"} if each.scores else set()
    stated |= {"shape"} if each.shape else set()
    stated |= {"knowledge"} if each.knowledge else set()
    stated |= {"chat_format"} if each.chat_format else set()
    assert set(each.figures) == stated
    assert set(each.figures.values()) <= set(catalog.sources())
    assert each.sources


def test_no_source_is_there_for_nothing() -> None:
    used = {key for each in catalog.cards() for key in each.figures.values()}
    assert used == set(catalog.sources())


@pytest.mark.parametrize("each", catalog.cards(), ids=lambda each: each.name)
def test_what_a_card_refers_to_exists(each: catalog.ModelCard) -> None:
    assert each.licence in {licence.key for licence in licences()}
    assert set(each.languages) <= set(catalog.languages())
    assert "en" in each.languages
    assert each.chat_format is None or each.chat_format in catalog.chat_formats()
    parts = [int(part) for part in each.date.split("-")]
    assert dt.date(*[*parts, 1, 1][:3]) <= dt.date(2025, 12, 31)
    assert each.knowledge is None or each.knowledge < each.date
    assert each.context is None or each.context >= 512


def test_nothing_in_the_file_is_unknown_or_unused() -> None:
    models = [model for family in DATA["families"] for model in family["models"]]
    assert {model["shape"] for model in models if "shape" in model} == set(DATA["shapes"])
    assert {each.chat_format for each in catalog.cards()} - {None} == set(DATA["chat_formats"])
    known = set(catalog.ModelCard.__dataclass_fields__) - {"hub_id", "figures"} | {"hub", "source", "models"}
    for entry in [*DATA["families"], *models]:
        assert set(entry) <= known


def test_the_families() -> None:
    assert {each.family for each in catalog.cards()} == {
        "LLaMA", "Llama 2", "Code Llama", "Llama 3", "Llama 3.1", "Llama 3.2", "Llama 3.2 Vision",
        "Llama 3.3", "Llama 4", "Llama Guard", "Llama Guard 2", "Llama Guard 3", "Llama Guard 4",
        "Prompt Guard", "Prompt Guard 2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "date", "context", "size"),
    [
        ("llama-65b", "2023-02", 2048, "65B"),
        ("llama-2-70b-chat", "2023-07-18", 4096, "70B"),
        ("code-llama-34b", "2023-08", 16_384, "34B"),
        ("code-llama-70b", "2024-01", 16_384, "70B"),
        ("llama-3-8b", "2024-04-18", 8192, "8B"),
        ("llama-3.1-405b", "2024-07-23", 131_072, "405B"),
        ("llama-3.2-1b", "2024-09-25", 131_072, "1B"),
        ("llama-3.2-1b-instruct-spinquant", "2024-10-24", 8192, "1B"),
        ("llama-3.2-90b-vision", "2024-09-25", 131_072, "90B"),
        ("llama-3.3-70b-instruct", "2024-12-06", 131_072, "70B"),
        ("llama-4-scout", "2025-04-05", 10 * 2**20, "17Bx16E (109B)"),
        ("llama-4-maverick", "2025-04-05", 2**20, "17Bx128E (400B)"),
        ("prompt-guard-2-22m", "2025-04", 512, "22M"),
    ],
)
def test_the_line_up(name: str, date: str, context: int, size: str) -> None:
    found = card(name)
    assert (found.date, found.context, found.size) == (date, context, size)


def test_languages_training_and_formats() -> None:
    for family, count in {"Llama 3.1": 8, "Llama 3.2": 8, "Llama 3.3": 8, "Llama 4": 12}.items():
        assert {len(each.languages) for each in catalog.cards() if each.family == family} == {count}
    hours = [card(f"llama-3.1-{size}").training for size in ("8b", "70b", "405b")]
    assert sum(each.gpu_hours or 0 for each in hours if each) == 39_300_000
    llama4 = [card("llama-4-scout").training, card("llama-4-maverick").training]
    assert sum(each.gpu_hours or 0 for each in llama4 if each) == 7_380_000
    assert [each.tokens for each in llama4 if each] == [40 * 10**12, 22 * 10**12]
    assert [
        each.bound for each in (card("llama-3.1-8b").training, card("llama-3.2-1b").training) if each
    ] == [
        "over",
        "up to",
    ]
    assert card("llama-2-7b-chat").chat_format == "llama-2"
    assert card("llama-3.3-70b-instruct").chat_format == "llama-3"
    assert card("llama-4-scout-instruct").chat_format == "llama-4"
    assert "<<SYS>>" in catalog.chat_formats()["llama-2"]["looks"]
    assert not card("llama-3.1-8b").chats
    assert not card("llama-guard-3-8b").chats
    assert card("llama-3.1-8b-instruct").chats


def test_what_was_not_published_on_the_hub_is_not_offered() -> None:
    first = card("llama-7b")
    assert first.hub_id is None
    assert first.url is None
    assert "llama-7b" not in catalog.names()
    assert len(catalog.hub_ids()) == len(catalog.names())


def test_find_is_exact() -> None:
    assert card("LLAMA-4-MAVERICK").name == "llama-4-maverick"
    assert card("META-LLAMA/llama-3.2-1B").name == "llama-3.2-1b"
    for nothing in ("", "llama-9", "3.3 70b", "llama"):
        assert catalog.find(nothing) is None


def test_a_model_without_a_sourced_shape_has_no_plan_and_says_so() -> None:
    unknown = {each.name for each in catalog.cards() if each.shape is None}
    assert {"llama-3.2-11b-vision", "llama-guard-4-12b", "llama-guard-3-1b", "prompt-guard-2-86m"} <= unknown
    for name in unknown:
        assert card(name).parameters is None
        assert card(name).active_parameters is None
        with pytest.raises(UnsupportedError, match="no sourced shape") as caught:
            _ = card(name).config
        assert name in caught.value.message
        assert "config.json" in caught.value.hint


def test_the_config_is_a_config() -> None:
    config = card("llama-3.1-8b").config
    assert config["max_position_embeddings"] == 131_072
    assert not {"parameters", "source"} & set(config)
    assert card("llama-3.1-8b").shape is not config
