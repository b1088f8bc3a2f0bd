"""%llama models --all, license and select, and how the catalogue's values look in a page."""

import pytest

import llama_nb
from llama_nb.catalog import catalog
from llama_nb.core.errors import CatalogError, SelectionError
from llama_nb.magics.completion import candidates
from llama_nb.planner.selection import Selection


def text(cell):
    return repr(cell.value)


def html(shell, value):
    data, _ = shell.ip.display_formatter.format(value)
    return data.get("text/html", "")


def test_the_whole_catalogue_newest_family_first(shell):
    shown = text(shell("%llama models --all"))
    for card in catalog.cards():
        assert f" {card.name} " in shown
    families = [
        "Llama 4",
        "Llama 3.3",
        "Llama 3.2",
        "Llama 3.1",
        "Llama 3 ",
        "Code Llama",
        "Llama 2",
        "LLaMA",
    ]
    places = [shown.index(f"\n{family}") for family in families]
    assert places == sorted(places)
    scout, guard, code = (next(line for line in shown.split("\n") if f" {name} " in line) for name in (
        "llama-4-scout", "llama-guard-4-12b", "code-llama-7b"))  # fmt: skip
    assert "17.2 B active" in scout
    assert scout.endswith("gated")
    assert "no plan" in guard
    assert code.rstrip().endswith("open")
    assert "by application" in shown


def test_it_is_a_table_in_the_page(shell):
    page = html(shell, shell("%llama models --all").value)
    assert page.count("<tr") == len(catalog.cards()) + 1
    assert "gated" in page


def test_words_filter_the_catalogue(shell):
    shown = text(shell("%llama models guard"))
    assert "llama-guard-3-8b" in shown
    assert "scout" not in shown
    assert text(shell("%llama models --all guard")) == shown


def test_one_model_shows_each_figure_with_its_source(shell):
    shown = text(shell("%llama models 3.3 70b"))
    for part in ("70,553,706,496", "131,072 tokens", "2024-12-06", "German", "models/llama3_3/MODEL_CARD.md"):
        assert part in shown
    assert "No plan" in text(shell("%llama models llama-guard-4-12b"))
    for card in catalog.cards():
        assert card.name in text(shell(f"%llama models {card.name}"))


def test_without_words_it_is_what_is_here(shell, model):
    shown = text(shell("%llama models"))
    assert "cria" in shown
    assert "scout" not in shown


def test_an_unknown_name_is_answered_with_the_nearest(shell):
    cell = shell("%llama models nope")
    assert isinstance(cell.error, CatalogError)
    assert "'nope'" in cell.out
    assert "Families: Llama 4" in cell.out


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("llama-3.3-70b", ("Llama 3.3 Community License, for llama-3.3-70b-instruct", "Built with Llama")),
        ("3.3 70B", ("Llama 3.3 Community License, for llama-3.3-70b-instruct", "[1.b.i]", "[1.b.iii]")),
        ("llama-3.1", ("Llama 3.1 Community License", "700 million monthly active users", "[2]")),
        ("llama-2-7b", ("[1.b.v]", "Neither the model nor what it writes")),
        (
            "scout",
            ("European Union", "End users of a product or service", "Read the text:", "no legal advice"),
        ),
        ("cria", ("apache-2.0",)),
    ],
)
def test_licences(shell, line, parts):
    shown = text(shell(f"%llama license {line}"))
    for part in parts:
        assert part in shown


def test_a_licence_leaves_out_what_does_not_apply_to_the_model(shell):
    assert "European Union" not in text(shell("%llama license llama-3.2-1b"))
    assert "European Union" in text(shell("%llama license llama-3.2-11b-vision"))
    assert "European Union" in text(shell("%llama license llama-3.2"))


def test_a_licence_links_to_its_text(shell):
    page = html(shell, shell("%llama license 3.1 8b").value)
    assert 'href="https://github.com/meta-llama/llama-models/blob/main/models/llama3_1/LICENSE"' in page


def test_without_a_name_all_licences_or_the_loaded_models(shell):
    overview = text(shell("%llama license"))
    for name in ("Llama 2 Community License", "Llama 4 Community License", "Built with Meta Llama 3"):
        assert name in overview


def test_the_licence_of_what_is_loaded(shell, model):
    from tests.magics import fake

    fake.install("meta-llama/Llama-3.2-1B-Instruct")
    shown = text(shell("%llama license"))
    assert "Llama 3.2 Community License, for llama-3.2-1b-instruct" in shown
    assert "Llama 4 Community License" not in shown


def test_the_other_spelling_is_answered(shell):
    assert "Did you mean 'license'?" in shell("%llama licence scout").out


def test_an_ambiguous_name_lists_what_it_may_be(shell):
    cell = shell("%llama license 70b")
    assert isinstance(cell.error, CatalogError)
    assert "llama-3.3-70b-instruct" in cell.out
    assert "llama-2-70b" in cell.out


def test_select(shell):
    chosen = shell("%llama select --vram-gb 48 --languages German,fr").value
    assert isinstance(chosen, Selection)
    assert chosen.card.name == "llama-3.3-70b-instruct"
    assert chosen.quant == "nf4-double"
    assert "%llama load llama-3.3-70b-instruct --quant nf4" in repr(chosen)
    assert "<table" in html(shell, chosen)
    assert shell("%llama select --context-tokens 100k").value.context == 102_400


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("--vram-gb many", ("'many'", "number of GB")),
        ("--context-tokens much", ("'much'", "128k")),
        ("--languages Klingon", ("'Klingon'", "German (de)")),
        ("--multimodal --eu", ("multimodal", "Nearest", "without multimodal")),
        ("--max-quality --balanced", ("contradict",)),
    ],
)
def test_impossible_wishes(shell, line, parts):
    cell = shell(f"%llama select {line}")
    assert isinstance(cell.error, SelectionError)
    for part in parts:
        assert part in cell.out


def test_names_are_completed():
    assert "llama-3.3-70b-instruct" in (candidates("%llama license llama-3.3") or [])
    assert "llama-3.1" in (candidates("%llama license llama-3.") or [])
    assert "llama-4-scout" in (candidates("%llama models llama-4") or [])
    assert "--vram-gb" in (candidates("%llama select --v") or [])


def test_values_of_the_python_api_look_the_same(shell):
    assert "<table" in html(shell, llama_nb.models)
    assert "<table" in html(shell, llama_nb.models.find("scout"))
    assert "Built with Llama" in html(shell, llama_nb.licence("scout"))
    shell("%unload_ext llama_nb")
    assert html(shell, llama_nb.models) == ""
    shell("%load_ext llama_nb")
