"""The licences: what each asks for, checked against what their texts say and what is often said wrong."""

import json
import re
from pathlib import Path

import pytest

from llama_nb.catalog import catalog
from llama_nb.catalog.licences import HEADINGS, Licence, licence, licences
from llama_nb.core.errors import CatalogError

COMMUNITY = [each for each in licences() if each.key != "llama-1"]
BY_KEY = {each.key: each for each in licences()}


def about(found: Licence, *words: str) -> list[tuple[str | None, str]]:
    """Section and text of the obligations in which all words stand."""
    texts = [(item.section, f"{item.title}: {item.text}") for item in found.obligations]
    return [(section, text) for section, text in texts if all(word in text for word in words)]


@pytest.mark.parametrize("found", licences(), ids=lambda each: each.key)
def test_every_licence_is_whole(found: Licence) -> None:
    assert found.url.startswith("https://github.com/")
    assert re.fullmatch(r"\d{4}-\d\d(-\d\d)?", found.released)
    assert found.source
    assert "no legal advice" in found.advice
    assert found.url in found.advice
    assert found.advice in repr(found)
    for item in found.obligations:
        assert item.applies in HEADINGS
        assert item.section is None or re.fullmatch(r"[1-7](\.[a-c](\.(i|ii|iii|iv|v))?)?", item.section)
        assert item.title in repr(found)


def test_every_source_is_used_and_every_licence_belongs_to_a_model() -> None:
    data = json.loads(Path(catalog.__file__).with_name("licences.json").read_text(encoding="utf-8"))
    assert {entry["source"] for entry in data["licences"]} == set(data["sources"])
    assert {card.licence for card in catalog.cards()} == set(BY_KEY)


@pytest.mark.parametrize("found", COMMUNITY, ids=lambda each: each.key)
def test_users_not_revenue_in_the_month_before_the_release(found: Licence) -> None:
    [(section, text)] = about(found, "700 million")
    assert section == "2"
    assert "monthly active users" in text
    assert "calendar month before" in text
    assert "not revenue" in text


@pytest.mark.parametrize("found", COMMUNITY, ids=lambda each: each.key)
def test_weights_may_be_redistributed_with_the_agreement_and_the_notice(found: Licence) -> None:
    assert found.redistribution
    assert found.commercial
    assert about(found, "pass it on")[0][0] == "1.a"
    assert about(found, "A copy of the agreement")[0][0] == "1.b.i"
    assert about(found, "A Notice file")[0][0] == "1.b.iii"
    assert found.notice is not None
    assert "All Rights Reserved." in found.notice
    assert about(found, "Acceptable Use Policy", "law")[0][0] == "1.b.iv"
    assert found.policy is not None


@pytest.mark.parametrize(
    ("key", "display", "prefix", "outputs", "section"),
    [
        ("llama-2", None, None, "own derivatives", "1.b.v"),
        ("llama-3", "Built with Meta Llama 3", "Llama 3", "own derivatives", "1.b.v"),
        ("llama-3.1", "Built with Llama", "Llama", "any model", "1.b.i"),
        ("llama-3.2", "Built with Llama", "Llama", "any model", "1.b.i"),
        ("llama-3.3", "Built with Llama", "Llama", "any model", "1.b.i"),
        ("llama-4", "Built with Llama", "Llama", "any model", "1.b.i"),
    ],
)
def test_display_names_and_outputs(
    key: str, display: str | None, prefix: str | None, outputs: str, section: str
) -> None:
    found = BY_KEY[key]
    assert (found.display, found.name_prefix, found.outputs) == (display, prefix, outputs)
    [(where, _)] = about(found, "Outputs")
    assert where == section
    if display:
        assert about(found, f"Show \u201c{display}\u201d")[0][0] == "1.b.i"
        assert about(found, f"begin with \u201c{prefix}\u201d")[0][0] == "1.b.i"


def test_outputs_train_other_models_from_3_1_on_and_names_follow_them() -> None:
    assert "with its outputs" in about(BY_KEY["llama-3.1"], "Names begin")[0][1]
    assert "with its outputs" not in about(BY_KEY["llama-3"], "Names begin")[0][1]


def test_the_clause_of_the_european_union_is_of_the_policy_and_of_multimodal_models() -> None:
    with_clause = {each.key for each in licences() if about(each, "European Union")}
    assert with_clause == {"llama-3.2", "llama-3.3", "llama-4"}
    for key in with_clause:
        [(section, text)] = about(BY_KEY[key], "European Union")
        assert section is None
        assert "Acceptable Use Policy, not the licence" in text
        assert "End users" in text
        assert "excepted" in text
        assert "domiciled" in text
        assert "principal place of business" in text
    assert "applies to none" in about(BY_KEY["llama-3.3"], "European Union")[0][1]


def test_the_clause_applies_to_multimodal_cards_only() -> None:
    withheld = {
        card.name
        for card in catalog.cards()
        if any(item.applies == "eu" for item in licence(card).applying(card))
    }
    assert withheld == {card.name for card in catalog.cards() if card.multimodal}
    assert {"llama-4-scout", "llama-3.2-11b-vision", "llama-guard-4-12b"} <= withheld
    assert not {"llama-3.2-1b", "llama-3.3-70b-instruct", "prompt-guard-2-86m"} & withheld


def test_no_licence_is_called_open_source() -> None:
    for found in COMMUNITY:
        assert "not one that the Open Source Initiative approves" in found.summary


def test_the_first_licence_is_for_research_and_names_no_sections() -> None:
    first = BY_KEY["llama-1"]
    assert not first.commercial
    assert first.redistribution is None
    assert all(item.section is None for item in first.obligations)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("llama-3.1", "llama-3.1"), ("Llama 3.1", "llama-3.1"), ("3.1", "llama-3.1"), ("4", "llama-4"),
        ("llama-3.3-70b", "llama-3.3"), ("3.3 70b", "llama-3.3"), ("scout", "llama-4"),
        ("meta-llama/Llama-3.2-1B", "llama-3.2"), ("code llama", "llama-2"), ("guard 3 8b", "llama-3.1"),
    ],
)  # fmt: skip
def test_found_by_key_model_or_family(text: str, key: str) -> None:
    assert licence(text).key == key


def test_found_by_card() -> None:
    for card in catalog.cards():
        assert licence(card).key == card.licence


@pytest.mark.parametrize("text", ["70b", "nope", "", "llama-9", None, 3])
def test_what_names_no_licence_is_answered_with_those_there_are(text: object) -> None:
    with pytest.raises(CatalogError) as caught:
        licence(text)  # type: ignore[arg-type]
    assert "llama-" in f"{caught.value.message} {caught.value.hint}"
