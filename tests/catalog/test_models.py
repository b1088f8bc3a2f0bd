"""What a person types for a model: one card, several, or none, and what is said then."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_nb.catalog import catalog
from llama_nb.catalog.models import find, models, search
from llama_nb.core.errors import CatalogError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("3.3 70b", "llama-3.3-70b-instruct"),
        ("llama-3.3-70b", "llama-3.3-70b-instruct"),
        ("Llama 3.3 70B Instruct", "llama-3.3-70b-instruct"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.3-70b-instruct"),
        ("https://huggingface.co/meta-llama/Llama-3.2-1B", "llama-3.2-1b"),
        ("llama 3 8b instruct", "llama-3-8b-instruct"),
        ("3 8b", "llama-3-8b"),
        ("3.1 8b", "llama-3.1-8b"),
        ("llama3.1:8b", "llama-3.1-8b"),
        ("3.1 8b chat", "llama-3.1-8b-instruct"),
        ("llama 2 7b instruct", "llama-2-7b-chat"),
        ("scout", "llama-4-scout"),
        ("scout instruct", "llama-4-scout-instruct"),
        ("109b", "llama-4-scout"),
        ("17Bx128E", "llama-4-maverick"),
        ("guard 1b", "llama-guard-3-1b"),
        ("guard 12b", "llama-guard-4-12b"),
        ("prompt guard 22m", "prompt-guard-2-22m"),
        ("prompt guard 86m", "prompt-guard-86m"),
        ("405b", "llama-3.1-405b"),
        ("3.2 vision 11b", "llama-3.2-11b-vision"),
        ("codellama 34b", "code-llama-34b"),
        ("CodeLlama-34b-Instruct-hf", "code-llama-34b-instruct"),
        ("lama 3.3 70b", "llama-3.3-70b-instruct"),
        ("mavrick", "llama-4-maverick"),
        ("llama-3.2-1b-instrct", "llama-3.2-1b-instruct"),
    ],
)
def test_one_is_meant(text: str, name: str) -> None:
    assert find(text).name == name
    assert find(f"  {text.upper()} ").name == name


@pytest.mark.parametrize("card", catalog.cards(), ids=lambda card: card.name)
def test_every_name_and_hub_id_finds_its_card(card: catalog.ModelCard) -> None:
    assert find(card.name) is card
    assert find(card.name.replace("-", " ")) is card
    assert find(card.hub_id or card.name) is card
    assert card in search(card.name)
    assert card.name in models


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("70b", ("Llama 3.3: llama-3.3-70b-instruct", "Llama 3.1:", "Code Llama:", "Llama 2:", "5 families")),
        ("7b", ("llama-2-7b", "code-llama-7b", "LLaMA: llama-7b")),
        ("guard", ("Llama Guard 4", "Llama Guard 3", "Prompt Guard 2", "6 families")),
        ("llama", ("Llama 4", "more families")),
        ("llama 3", ("Llama 3: llama-3-8b", "4 models")),
        ("llama 4", ("llama-4-scout", "llama-4-maverick")),
        ("vision", ("llama-3.2-11b-vision", "llama-guard-3-11b-vision")),
    ],
)
def test_several_are_listed_and_none_is_picked(text: str, listed: tuple[str, ...]) -> None:
    with pytest.raises(CatalogError) as caught:
        find(text)
    for part in listed:
        assert part in caught.value.message
    assert "Say more" in caught.value.hint


def test_guard_llamas_are_not_listed_for_llama_3() -> None:
    with pytest.raises(CatalogError) as caught:
        find("llama 3")
    assert "guard" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "No model named", "3.3 70b"),
        ("  ", "No model named", "%llama models --all"),
        ("🦙", "No model named", "%llama models --all"),
        ("gpt2", "nothing in it is called 'gpt2'", "Families: Llama 4"),
        ("llama 5", "nothing in it is called '5'", "Families: Llama 4"),
        ("../../etc", "'../../etc'", "%llama models --all"),
        ("unsloth/Llama-3.2-1B-Instruct", "called 'unsloth'", "Nearest: llama-3.2-1b-instruct"),
        ("llama 3.3 70b nf4", "called 'nf4'", "Nearest: llama-3.3-70b-instruct"),
        # The 405B came with 3.1, not with 3.
        ("llama 3 405b", "405B came with Llama 3.1", "Nearest: llama-3.1-405b"),
        ("llama 3.3 8b", "8B came with Llama 3.1", "Nearest: llama-3.1-8b"),
    ],
)
def test_none_is_meant(text: str, message: str, hint: str) -> None:
    with pytest.raises(CatalogError) as caught:
        find(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("value", [None, 7, 3.3, ["3.3 70b"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(CatalogError, match="no name of a model"):
        find(value)  # type: ignore[arg-type]


def test_a_long_text_is_cut_and_a_token_is_not_repeated() -> None:
    with pytest.raises(CatalogError) as caught:
        find("llama " + "x" * 10_000)
    assert len(caught.value.message) < 300
    token = "hf_" + "a" * 34
    with pytest.raises(CatalogError) as caught:
        find(token)
    assert token[3:] not in str(caught.value)
    assert "hf_***" in caught.value.message


@given(st.text(max_size=60))
def test_any_text_is_answered(text: str) -> None:
    search(text)
    with contextlib.suppress(CatalogError):
        assert find(text) in catalog.cards()


def test_a_search_finds_what_is_typed_so_far() -> None:
    for so_far in ("s", "sc", "scou", "llama sc", "4 sc"):
        assert "llama-4-scout" in [card.name for card in search(so_far)]
    assert {card.family for card in search("3.")} >= {"Llama 3.1", "Llama 3.2", "Llama 3.3"}
    assert search("xyzzy") == []
    assert [card.name for card in search("mavrick")] == ["llama-4-maverick", "llama-4-maverick-instruct"]


def test_all_are_there_newest_first() -> None:
    everything = models.all()
    assert list(models) == list(everything) == search("")
    assert len(models) == len(everything) == len(catalog.cards())
    families = list(dict.fromkeys(card.family for card in everything))
    assert families[0] == "Llama 4"
    assert families[-1] == "LLaMA"
    assert families.index("Llama 3.3") < families.index("Llama 3.1") < families.index("Llama 2")
    assert "llama-4-scout" in repr(models)
    assert None not in models


def test_a_card_shows_its_facts() -> None:
    assert repr(find("3.1 8b")) == (
        "<llama-3.1-8b: meta-llama/Llama-3.1-8B, 8,030,261,248 parameters, 131,072 tokens of context>"
    )
    assert repr(find("guard 12b")) == "<llama-guard-4-12b: meta-llama/Llama-Guard-4-12B>"
    assert "not on the hub" in repr(find("llama 65b"))
