"""What tokens cost: cases worked out by hand, and what must hold for all of them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_nb.core.errors import CatalogError, CostError, FitError, LlamaError, UnsupportedError
from llama_nb.planner.cost import Cost, cost


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("LLAMA_NB_HOME", str(tmp_path))
    return tmp_path


def own_prices(home, **rows):
    (home / "prices.json").write_text(json.dumps(rows), encoding="utf-8")


def row(offer, **more):
    return {"provider": "groq", "date": "2026", "source": "x", **offer, **more}


volumes = st.floats(1, 1e13)


@given(volumes, volumes)
@settings(max_examples=40, deadline=None)
def test_more_tokens_never_cost_less(one, other):
    few, many = sorted((one, other))
    less, more = cost(few, "llama-3.1-8b-instruct"), cost(many, "llama-3.1-8b-instruct")
    for rows in ("apis", "owns"):
        cheap, dear = ({(offer.provider, getattr(offer, "name", "")): offer for offer in getattr(value, rows)}
                       for value in (less, more))  # fmt: skip
        assert cheap.keys() == dear.keys()
        for key, offer in cheap.items():
            assert offer.monthly(few) <= dear[key].monthly(many)


def test_a_comparison_by_hand(home):
    own_prices(
        home,
        api=[row({"model": "llama-3.1-8b-instruct", "input": 1, "output": 3})],
        rents=[row({"gpu": "H100", "per_hour": 2}, provider="lambda")],
    )
    found = cost(
        "100M", "3.1 8b instruct", input_share=0.5, gpu="H100", hours=100, utilisation=0.5, tokens_per_s=1000
    )
    assert found.model == "llama-3.1-8b-instruct"
    groq = next(offer for offer in found.apis if offer.provider == "Groq")
    assert groq.monthly(100e6) == pytest.approx(200)
    lambda_ = next(offer for offer in found.owns if offer.provider == "Lambda")
    # 1000 tokens/s x 0.5 x 100 hours = 180 M a month; 2 dollars x 100 hours.
    assert lambda_.capacity == pytest.approx(180e6)
    assert lambda_.server_monthly == pytest.approx(200)
    assert lambda_.break_even(groq) == pytest.approx(100e6)
    assert found.own_prices


def test_a_model_is_counted_with_the_gpus_that_it_needs():
    assert {offer.gpus for offer in cost("1M", gpu="H100").owns} == {2}
    assert {offer.gpus for offer in cost("1M", gpu="4xH100").owns} == {4}
    assert {offer.gpus for offer in cost("1M", gpu="H100", quant="nf4").owns} == {1}
    assert {offer.name for offer in cost("1M", gpu="H100").owns} == {"2x H100 SXM"}


def test_a_mixture_has_a_price_too():
    found = cost("1M", "llama-4-scout-instruct", gpu="H100")
    assert {offer.provider for offer in found.apis} == {"Groq", "AWS Bedrock"}
    assert {offer.gpus for offer in found.owns} == {4}


def test_asked_for_nothing_every_gpu_with_a_price_stands_once():
    found = cost()
    names = [offer.rent.gpu for offer in found.owns]
    assert len(set(names)) == len(names) > 5
    dearer = next(offer for offer in cost(gpu="H100").owns if offer.provider == "Replicate")
    assert all(
        offer.server_monthly < dearer.server_monthly for offer in found.owns if offer.rent.gpu == "H100 SXM"
    )


@pytest.mark.parametrize(
    ("asked", "error", "named"),
    [
        ({"gpu": "RTX 3060"}, CostError, "%llama cost --edit"),
        ({"gpu": "24GB"}, CostError, "Priced:"),
        ({"gpu": "H1OO"}, CatalogError, "H100"),
        (
            {"gpu": "T4 x1", "model": "llama-3.1-405b-instruct", "context": 131072, "batch": 512},
            FitError,
            "64x",
        ),
        ({"gpu": "2xT4"}, FitError, "16 of them hold it"),
        ({"model": "llama-9"}, CatalogError, "llama-9"),
        ({"quant": "4bits"}, LlamaError, "4bits"),
    ],
)
def test_what_has_no_answer_says_so(asked, error, named):
    with pytest.raises(error) as caught:
        cost(**asked)
    assert named in str(caught.value)


def test_without_a_sourced_shape_only_providers_are_compared():
    from llama_nb.catalog import catalog

    card = next(card for card in catalog.cards() if card.shape is None)
    found = cost(model=card.name)
    assert not found.owns
    assert "no sourced shape" in found.notes[-2]
    with pytest.raises(UnsupportedError, match="no sourced shape"):
        cost(model=card.name, gpu="H100")


def test_who_has_no_sourced_price_is_named():
    found = cost()
    assert "No sourced price" in found.notes[0]
    assert "OCI Generative AI" in found.notes[0]
    assert "Groq" not in found.notes[0]


def test_the_frame_and_the_curve():
    found = cost("50M")
    frame = found.to_frame()
    assert list(frame["usd_per_month"]) == sorted(frame["usd_per_month"])
    assert len(frame) == len(found.apis) + len(found.owns)
    assert frame["date"].all()
    assert frame["source"].str.startswith("https://").all()
    curve = found.curve()
    steps = {1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9, 3e9, 1e10}
    assert [point["tokens"] for point in curve] == sorted({*steps, 50e6, found.break_even})
    assert [point["tokens"] for point in curve if point["mark"] == "asked"] == [50e6]
    level = next(point for point in curve if point["mark"] == "level")
    assert level["api"] == pytest.approx(level["own"])
    assert len(cost("1M", gpu="H100").curve()) == 9


def test_the_record_is_json_and_level_is_the_smallest_volume():
    found = cost("50M")
    record = json.loads(json.dumps(found.to_record()))
    assert (
        record["break_even"]
        == found.break_even
        == min(level for own in found.owns if (level := own.break_even(found.api)) is not None)
    )
    assert record["level"]["capacity"] >= record["break_even"]
    assert isinstance(found, Cost)


@pytest.mark.parametrize(
    "bad", [{"hours": 0}, {"hours": 745}, {"hours": "all"}, {"batch": 1.5}, {"batch": 0}, {"context": 0},
            {"tokens_per_s": 0}, {"tokens_per_s": "fast"}, {"utilisation": 0}, {"input_share": 2},
            {"tokens_per_month": "50Q"}],
)  # fmt: skip
def test_an_assumption_that_cannot_be_is_named(bad):
    with pytest.raises(CostError) as caught:
        cost(**bad)
    name = next(iter(bad))
    assert name in str(caught.value) or "50Q" in str(caught.value)
