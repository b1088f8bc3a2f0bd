"""llama.select: what fits, what is best of it, and what is said when nothing does."""

import itertools

import pytest

from llama_nb.catalog import catalog
from llama_nb.core.errors import SelectionError
from llama_nb.planner import memory
from llama_nb.planner.candidates import ranking
from llama_nb.planner.job import Target
from llama_nb.planner.plan import estimate
from llama_nb.planner.selection import Selection, select
from llama_nb.planner.shape import Shape


def names(selection: Selection) -> list[str]:
    return [each.card.name for each in selection.runners_up]


def test_the_ranking_contradicts_no_model_card() -> None:
    order = ranking()
    assert {card.name for card in order} == {card.name for card in catalog.cards() if card.chats}
    for below, above in itertools.combinations([card for card in order if card.scores], 2):
        for benchmark in set(below.scores) & set(above.scores):
            assert below.scores[benchmark] < above.scores[benchmark], (below.name, above.name)
    assert order[-1].name == "llama-4-maverick-instruct"


@pytest.mark.parametrize(
    ("wishes", "name", "quant"),
    [
        ({}, "llama-3.1-8b-instruct", "none"),
        ({"balanced": True}, "llama-3.1-8b-instruct", "none"),
        ({"balanced": True, "vram_gb": 12}, "llama-3-8b-instruct", "int8"),
        ({"balanced": True, "vram_gb": 16}, "llama-3.1-8b-instruct", "int8"),
        ({"max_quality": True}, "llama-4-maverick-instruct", "none"),
        ({"on_device": True}, "llama-3.2-3b-instruct", "nf4"),
        ({"on_device": True, "max_quality": True}, "llama-3.2-3b-instruct", "nf4"),
        ({"vram_gb": 4}, "llama-3.2-1b-instruct", "int8"),
        ({"vram_gb": "8 GB"}, "llama-3.2-3b-instruct", "int8"),
        ({"vram_gb": "10 GB"}, "llama-3.1-8b-instruct", "nf4"),
        ({"vram_gb": 80}, "llama-4-scout-instruct", "q4_k_m"),
        ({"context_tokens": 60_000}, "llama-3.1-8b-instruct", "int8"),
        ({"languages": ["de", "fr"]}, "llama-3.1-8b-instruct", "none"),
        ({"languages": "Vietnamese", "vram_gb": 80}, "llama-4-scout-instruct", "q4_k_m"),
        ({"eu": True, "vram_gb": 80}, "llama-3.3-70b-instruct", "int8"),
        ({"commercial": True}, "llama-3.1-8b-instruct", "none"),
    ],
    ids=str,
)
def test_choices(wishes: dict[str, object], name: str, quant: str) -> None:
    chosen = select(**wishes)
    assert (chosen.card.name, chosen.quant) == (name, quant)
    budget = chosen.wishes.budget
    assert budget is None or (chosen.total_bytes or 0) <= budget


def test_two_4090s_do_not_hold_a_70b_in_bf16() -> None:
    chosen = select(vram_gb=48)
    assert (chosen.card.name, chosen.quant) == ("llama-3.3-70b-instruct", "nf4-double")
    assert any("141 GB in bfloat16" in reason for reason in chosen.reasons)
    assert chosen.command == "%llama load llama-3.3-70b-instruct --quant nf4-double"


def test_the_bytes_have_the_kv_cache_and_working_memory_in_them() -> None:
    chosen = select(context_tokens="64k")
    shape = Shape.from_config(chosen.card.config)
    weights = memory.quantised_bytes(shape, chosen.quant)
    assert chosen.weights_bytes == weights
    assert chosen.kv_cache_bytes == 131_072 * 65_536
    assert chosen.total_bytes is not None
    assert chosen.total_bytes > weights + 131_072 * 65_536
    assert "KV cache for 65,536 tokens 8.59 GB" in repr(chosen)


@pytest.mark.parametrize("memory_gb", [4, 8, 10, 24, 48, 80])
def test_what_is_chosen_for_a_memory_has_a_plan_that_fits_it(memory_gb: int) -> None:
    chosen = select(vram_gb=memory_gb)
    device = Target("GPU", memory_gb * 10**9)
    plan = estimate(
        Shape.from_config(chosen.card.config), name="it", device=device, quant=chosen.quant, context=8192
    )
    assert chosen.total_bytes == plan.total_bytes
    assert plan.verdict in ("fits", "tight")


def test_on_a_device_the_process_is_not_counted() -> None:
    chosen = select(on_device=True)
    plan = estimate(
        Shape.from_config(chosen.card.config),
        name="it",
        device=Target("CPU", None, kind="cpu"),
        quant=chosen.quant,
        context=8192,
    )
    assert chosen.total_bytes == plan.growth_bytes
    assert "beside the process" in repr(chosen)


def test_a_better_model_that_does_not_fit_is_named_with_what_it_needs() -> None:
    chosen = select(vram_gb=24)
    why = {each.card.name: each for each in chosen.runners_up}
    assert "needs 45.5 GB in nf4-double" in why["llama-3.3-70b-instruct"].why
    assert "needs" in why["llama-4-scout-instruct"].why
    assert why["llama-3.2-3b-instruct"].why == "possible, but MMLU 63.4 against 69.4"
    assert chosen.card.name not in why


def test_experts_are_quantised_by_gguf_only_and_all_of_them_lie_in_memory() -> None:
    chosen = select(vram_gb=160)
    assert chosen.card.kind == "mixture"
    assert chosen.quant == "q8_0"
    text = repr(chosen)
    assert "17B parameters work on each token, but all must lie in memory" in text
    assert "bitsandbytes leaves experts" in text
    assert chosen.command == "%llama plan llama-4-scout-instruct --quant q8_0"


def test_nothing_fits_into_a_memory_that_nobody_asked_for() -> None:
    for wishes in ({"context_tokens": "1m"}, {"multimodal": True}):
        chosen = select(**wishes)
        assert chosen.card.name == "llama-4-scout-instruct"
        assert "Nothing that can do this fits into 24.0 GB" in chosen.reasons[0]
        assert " of 24.0 GB" not in chosen.reasons[1]


def test_a_model_without_a_shape_is_not_chosen_for_a_memory_and_it_says_why() -> None:
    chosen = select(multimodal=True)
    assert "llama-3.2-11b-vision-instruct" in names(chosen)
    assert "no sourced shape" in repr(chosen)


def test_multimodal_models_in_the_european_union() -> None:
    assert "Not for those in the European Union" in repr(select(multimodal=True))
    with pytest.raises(SelectionError) as caught:
        select(multimodal=True, eu=True)
    assert "multimodal yes, eu yes" in caught.value.message
    assert "without multimodal" in caught.value.hint


@pytest.mark.parametrize(
    ("wishes", "message", "hint"),
    [
        ({"vram_gb": 1}, "No model fits in 1.00 GB", "llama-3.2-1b-instruct in nf4-double in 2.75 GB"),
        (
            {"vram_gb": 24, "multimodal": True},
            "in 24.0 GB: multimodal",
            "llama-4-scout-instruct in q4_k_m in 76.3",
        ),
        ({"on_device": True, "context_tokens": "128k"}, "131,072", "with 32,768 tokens of context"),
        ({"context_tokens": "20m"}, "20,971,520", "llama-4-scout-instruct, 10,485,760 tokens"),
        ({"languages": "vi", "vram_gb": 24}, "languages vi", "without languages"),
        ({"max_quality": True, "balanced": True}, "contradict", "Choose one"),
        ({"vram": 3}, "'vram'", "Did you mean 'vram_gb'?"),
        ({"best": True}, "'best'", "max_quality"),
        ({"vram_gb": 0}, "vram_gb is 0", "24"),
        ({"vram_gb": -1}, "vram_gb is -1", "24"),
        ({"vram_gb": float("nan")}, "vram_gb is nan", "24"),
        ({"vram_gb": "inf"}, "vram_gb is 'inf'", "24"),
        ({"vram_gb": "two"}, "vram_gb is 'two'", "24"),
        ({"context_tokens": 0}, "context_tokens is 0", "128k"),
        ({"context_tokens": "long"}, "context_tokens is 'long'", "128k"),
        ({"languages": "ja"}, "'ja'", "German (de)"),
        ({"languages": ["Germann"]}, "'Germann'", "Did you mean 'German'?"),
    ],
    ids=str,
)
def test_what_cannot_be_is_answered_with_what_can(wishes: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(SelectionError) as caught:
        select(**wishes)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_it_is_shown_as_text_and_html() -> None:
    bundle = select(on_device=True)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    for shown in bundle.values():
        for part in (
            "llama-3.2-3b-instruct in nf4",
            "arXiv:2212.09720",
            "llama-3.1-8b-instruct",
            "%llama load",
        ):
            assert part in shown
    assert "<table" in bundle["text/html"]
