"""How much room a model has, and what auto makes of it: arithmetic, nothing is loaded."""

import pytest

from llama_nb.core.errors import FitError, LoadError
from llama_nb.loading import quantize
from llama_nb.loading.room import Room, Wish, make_room
from llama_nb.runtime import devices

CONFIG = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
}


def room(gigabytes: float, monkeypatch: pytest.MonkeyPatch, **wish: object) -> Room:
    monkeypatch.setattr(devices, "available_memory", lambda device="cpu": int(gigabytes * 1e9))
    asked = {"device": "cpu", "quant": "auto", "context": None, "dtype": lambda _: "bfloat16", **wish}
    return make_room(CONFIG, Wish("someone/8b", **asked))


@pytest.mark.parametrize(
    ("gigabytes", "chosen"), [(40, None), (18.5, None), (17.5, "int8"), (11.5, "int8"), (8.5, "nf4")]
)
def test_auto_takes_the_closest_that_fits(
    gigabytes: float, chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = room(gigabytes, monkeypatch)
    assert found.quant == chosen
    assert found.context >= 8192
    assert found.reason.startswith(f"quant auto: {chosen or 'none'}, because bfloat16 takes 16.1 GB and ")


def test_auto_takes_what_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "available", lambda device: ("int8-quanto", "int4-quanto"))
    assert room(11.5, monkeypatch).quant == "int8-quanto"
    assert room(8.5, monkeypatch).quant == "int4-quanto"
    monkeypatch.setattr(quantize, "available", lambda device: ())
    with pytest.raises(FitError) as caught:
        room(11, monkeypatch)
    assert "--quant" not in str(caught.value)


def test_auto_that_fits_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FitError, match="nf4-double on cpu needs"):
        room(4, monkeypatch)


def test_what_does_not_fit_is_offered_quantised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FitError) as caught:
        room(12, monkeypatch, quant=None)
    text = str(caught.value)
    assert "the same model in int8 (10.1 GB): `%llama load someone/8b --quant int8`" in text
    assert "`%llama load someone/8b --quant nf4`" in text
    assert len(text.splitlines()) <= 12


def test_a_shorter_context_on_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    assert room(40, monkeypatch, quant=None, context=100).context == 100
    assert room(17.5, monkeypatch, quant=None, context=100).context == 100
    with pytest.raises(FitError, match="KV cache for 100,000 tokens"):
        room(18, monkeypatch, quant=None, context=100_000)
    with pytest.raises(LoadError, match=r"context is 131,073; someone/8b has at most 131,072"):
        room(40, monkeypatch, context=131_073)


def test_a_checkpoint_that_is_quantised_counts_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = room(8, monkeypatch, weights=5_000_000_000)
    assert (found.quant, found.reason) == (None, "")
    with pytest.raises(FitError) as caught:
        room(4, monkeypatch, weights=5_000_000_000)
    assert "--quant" not in str(caught.value)
