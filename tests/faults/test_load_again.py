"""Loading beside what is there: an old model, a reply at work, a hub that says no, a stop at any instant."""

import gc
import random
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedModel
from transformers.utils import logging

import llama_nb as llama
from llama_nb.core import events
from llama_nb.core.errors import LlamaError, LoadCancelled, LoadError, ModelBusy, ModelGone
from llama_nb.core.stop import StopFlag
from llama_nb.loading import reading, turn
from tests.loading.fake_hub import serve

GATED = "meta-llama/Llama-3.2-1B"
KINDS = (
    None, "nf4", "int4-quanto",
    *(pytest.param(name, marks=pytest.mark.full) for name in ("int8", "int8-quanto", "int8-torchao")),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_loaded() -> Iterator[None]:
    yield
    for name in llama.loaded():
        llama.unload(name, force=True)


@pytest.fixture
def notes() -> Iterator[list[str]]:
    texts: list[str] = []
    unsubscribe = events.subscribe(lambda e: texts.append(e.text) if isinstance(e, events.Note) else None)
    yield texts
    unsubscribe()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"quantt": "nf4"}, ("'quantt'", "Did you mean 'quant'")),
        ({"devise": "cpu"}, ("'devise'", "Did you mean 'device'")),
        ({"trust_remote_code": True}, ("'trust_remote_code'", "quant, dtype, device")),
    ],
)
def test_a_typo_in_an_option(options: dict[str, object], says: tuple[str, ...], model: Path) -> None:
    with pytest.raises(LoadError) as caught:
        llama.load(model, **options)
    assert all(part in str(caught.value) for part in says)
    assert llama.loaded() == {}


@pytest.mark.parametrize("quant", [None, "nf4"])
def test_under_a_name_that_exists(quant: str | None, model: Path, notes: list[str]) -> None:
    old = llama.load(model, name="m", quant=quant)
    new = llama.load(model, name="m", quant=quant)
    assert any("m was loaded before: replaced" in note and "MB given back" in note for note in notes)
    assert not old.alive
    assert llama.loaded() == {"m": new}


@pytest.mark.parametrize("quant", [None, "nf4"])
def test_what_is_in_use_stays(quant: str | None, model: Path) -> None:
    old = llama.load(model, name="m", quant=quant)
    reply = old.complete("Once", max_tokens=400, temperature=1, background=True)
    for refused in (lambda: llama.load(model, name="m"), lambda: llama.unload("m")):
        with pytest.raises(ModelBusy, match="m is in use") as caught:
            refused()
        assert "force" in caught.value.hint
    assert llama.current() is old
    assert llama.unload("m", force=True) >= old.bytes
    assert reply.done


@pytest.mark.parametrize("quant", [None, "nf4"])
def test_an_unloaded_handle(quant: str | None, model: Path) -> None:
    handle = llama.load(model, name="m", quant=quant)
    llama.unload("m")
    with pytest.raises(ModelGone, match="unloaded") as caught:
        handle.complete("Once")
    assert "%llama load" in str(caught.value)


def test_a_hub_id_offline(model: Path) -> None:
    with pytest.raises(LlamaError) as caught:
        llama.load(GATED, quant="nf4")
    text = str(caught.value)
    assert all(part in text for part in ("not in the cache", "Cached models: none", "bundled: cria"))


def test_a_gated_model_without_a_token(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with serve({GATED: model}) as hub:
        hub.gated.add(GATED)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(LlamaError) as caught:
            llama.load(GATED, quant="nf4")
    text = str(caught.value)
    assert all(
        part in text for part in (f"https://huggingface.co/{GATED}", "`hf auth login`", "`%llama login`")
    )


@pytest.mark.parametrize("quant", KINDS)
def test_a_stop_at_any_instant(quant: str | None, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing half-loaded stays, the old model answers, and transformers is as it was."""
    old = llama.load(model, name="m")
    made: list[weakref.ref[LlamaForCausalLM]] = []
    begin = LlamaForCausalLM.__init__
    monkeypatch.setattr(
        LlamaForCausalLM,
        "__init__",
        lambda self, *rest, **more: (begin(self, *rest, **more), made.append(weakref.ref(self)))[0],
    )
    tie, rng = PreTrainedModel.tie_weights, random.Random(str(quant))
    assert old.complete("Once", max_tokens=1).text
    threads = sorted(thread.name for thread in threading.enumerate())
    for _ in range(5):
        stop = StopFlag()
        timer = threading.Timer(rng.uniform(0, 0.4), stop.set)
        timer.start()
        try:
            llama.load(model, name="m", quant=quant, stop=stop)
        except LoadCancelled:
            assert llama.current() is old
        timer.cancel()
        timer.join()
        old = llama.current()
        assert old.complete("Once", max_tokens=1).usage.completion_tokens == 1
    gc.collect()
    assert [found for reference in made if (found := reference()) is not None] in (
        [],
        [old.loaded.module],
    )
    assert PreTrainedModel.tie_weights is tie
    assert logging.set_tqdm_hook(None) is None
    assert not reading._readers
    assert not turn.is_taken()
    assert sorted(thread.name for thread in threading.enumerate()) == threads


@pytest.mark.parametrize("quant", ["nf4", None])
def test_an_unload_while_another_is_read(quant: str | None, model: Path) -> None:
    """The one that is there goes at once; the one that comes is whole."""
    llama.load(model, name="old")
    seen = threading.Event()
    unsubscribe = events.subscribe(lambda e: seen.set() if isinstance(e, events.Progress) else None)
    came: list[llama.Model] = []
    loading = threading.Thread(target=lambda: came.append(llama.load(model, name="new", quant=quant)))
    loading.start()
    try:
        seen.wait(20)
        assert llama.unload("old") > 1_000_000
        loading.join(60)
    finally:
        unsubscribe()
    assert llama.loaded() == {"new": came[0]}
    assert came[0].complete("Once", max_tokens=1).usage.completion_tokens == 1
