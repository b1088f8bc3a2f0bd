"""The whole way from a name to a model, and how much context fits."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llama_nb.core import events
from llama_nb.core.errors import FitError, LoadError
from llama_nb.loading.open import load_checked
from llama_nb.loading.room import Room, Wish, make_room, needed_bytes
from llama_nb.planner.job import Job, Target
from llama_nb.planner.plan import estimate
from llama_nb.planner.shape import Shape
from llama_nb.runtime import devices
from tests.models import write_random_llama

SHAPE = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}


def room(dtype: str, device: str = "cpu", quant: str | None = None, context: int | None = None) -> Room:
    return make_room(SHAPE, Wish("someone/8b", device, quant, context, lambda _: dtype))


@pytest.fixture
def notes() -> Iterator[list[str]]:
    seen: list[str] = []
    stop = events.subscribe(lambda event: seen.append(event.text) if isinstance(event, events.Note) else None)
    yield seen
    stop()


@pytest.fixture
def long(tmp_path: Path, stories260k: Path) -> Path:
    return write_random_llama(tmp_path / "long", tokenizer_from=stories260k, context=131_072)


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(devices, "available_memory", lambda device="cpu": count)


def test_a_folder_under_a_name(stories260k: Path, notes: list[str]) -> None:
    loaded = load_checked(stories260k, name="tales")
    assert loaded.checked.name == "tales"
    assert loaded.checked.context == 512
    assert notes == []


def test_the_context_is_shortened_to_what_fits(
    long: Path, monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    whole = load_checked(long)
    assert whole.checked.context == 131_072
    shape = Shape.from_config(whole.checked.config)

    def needed(tokens: int) -> int:
        return sum(needed_bytes(Job(shape, dtype="float32", context=tokens), "cpu").values())

    free(monkeypatch, needed(5000))
    short = load_checked(long)
    assert short.checked.context == 4864
    assert short.checked.fingerprint == whole.checked.fingerprint
    assert notes == ["long: context shortened from 131,072 to 4,864 tokens to fit the free memory."]
    free(monkeypatch, needed(2000))
    with pytest.raises(FitError, match="2,048 tokens"):
        load_checked(long)


def test_float32_is_offered_in_half(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 20_000_000_000)
    with pytest.raises(FitError) as caught:
        room("float32")
    assert "the same model in bfloat16 (16.9 GB): `%llama load someone/8b --dtype bfloat16`" in str(
        caught.value
    )
    found = room("bfloat16")
    assert (found.quant, found.dtype, found.context) == (None, "bfloat16", 8192)
    assert 16_060_522_496 < found.bytes < 17e9


def test_what_loading_counts_is_what_the_plan_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = estimate(Shape.from_config(SHAPE), name="8b", device=Target("", None, kind="cpu"), context=8192)
    free(monkeypatch, plan.total_bytes)
    assert room("bfloat16", context=8192).context == 8192
    free(monkeypatch, plan.total_bytes - 1)
    with pytest.raises(FitError):
        room("bfloat16", context=8192)


def test_a_gpu_that_is_too_small_offers_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        devices, "available_memory", lambda device="cpu": 64 * 10**9 if device == "cpu" else 8 * 10**9
    )
    with pytest.raises(FitError) as caught:
        room("bfloat16", "cuda")
    assert "`%llama load someone/8b --device cpu`" in str(caught.value)


def test_options_are_checked_before_the_model_is_looked_for() -> None:
    with pytest.raises(LoadError, match="dtype is"):
        load_checked("./nowhere", dtype="fp17")
    with pytest.raises(LoadError, match="quant is"):
        load_checked("./nowhere", quant="nf5")
    with pytest.raises(LoadError, match="context is 0"):
        load_checked("./nowhere", context=0)


def test_a_name_cannot_carry_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoadError) as caught:
        load_checked("./hf_" + "abcdefgh" * 4)
    assert "abcdefgh" not in str(caught.value)
