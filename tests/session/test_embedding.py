"""`Model.embed`: a batch is what each text gives alone, and transformers' own hidden states."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llama_nb.core.errors import ContextOverflow, MessageError, Stopped, UnsupportedError
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.session import registry
from llama_nb.session.model import Model
from tests.session.fakes import FakeEngine, fake_model

TEXTS = ["Lily", "The dog ran to the park and saw a big red ball. " * 6, "One day, Tom", "A cat"]


@pytest.fixture(scope="module")
def stories(stories260k: Path) -> Iterator[Model]:
    torch.set_num_threads(1)
    model = registry.load(stories260k, name="embed-stories", device="cpu")
    yield model
    model.unload(force=True)


def reference(model: Model, text: str, pooling: str) -> Any:
    ids = torch.tensor([model.engine.prompt(Request(text)).ids])
    with torch.inference_mode():
        hidden = model.loaded.module(ids, output_hidden_states=True).hidden_states[-1][0]
    return (hidden.mean(0) if pooling == "mean" else hidden[-1]).numpy()


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("size", [None, 2])
def test_a_batch_is_what_each_text_gives_alone(stories: Model, pooling: str, size: int | None) -> None:
    found = stories.embed(TEXTS, pooling=pooling, normalise=False, batch_size=size)
    assert (found.shape, found.dtype) == ((4, 64), np.float32)
    for text, vector in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vector, reference(stories, text, pooling), atol=1e-5, rtol=1e-5)
    unit = stories.embed(TEXTS, pooling=pooling)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit, found / np.linalg.norm(found, axis=1, keepdims=True), atol=1e-6)


def test_chunks_and_rows_that_cannot_go_together_give_the_same(
    stories: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {pooling: stories.embed(TEXTS, pooling=pooling) for pooling in ("mean", "last")}
    monkeypatch.setattr("llama_nb.engines.decoding._clamp", lambda size: 16)
    monkeypatch.setattr(stories.engine._forward, "_chunk", 16)  # type: ignore[attr-defined]
    for pooling, vectors in whole.items():
        np.testing.assert_allclose(stories.embed(TEXTS, pooling=pooling), vectors, atol=1e-5)
    monkeypatch.setattr("llama_nb.engines.transformers_engine.batchable", lambda *_: False)
    for pooling, vectors in whole.items():
        np.testing.assert_allclose(stories.embed(TEXTS, pooling=pooling), vectors, atol=1e-5)


def test_a_text_beyond_the_context_is_refused_or_cut(stories: Model) -> None:
    long = "The dog ran. " * 400
    with pytest.raises(ContextOverflow, match=r"texts\[1\] has"):
        stories.embed(["a", long])
    cut = stories.embed(["a", long], truncate=True, pooling="last", normalise=False)
    ids = torch.tensor([stories.engine.prompt(Request(long)).ids[: stories.context]])
    with torch.inference_mode():
        hidden = stories.loaded.module(ids, output_hidden_states=True).hidden_states[-1][0, -1]
    np.testing.assert_allclose(cut[1], hidden.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("texts", "options", "says"),
    [
        ("a text", {}, "list of texts"),
        ([], {}, "no texts"),
        (["a", " "], {}, r"texts\[1\] is empty"),
        (["a", None], {}, r"texts\[1\] is a NoneType"),
        (["a"], {"pooling": "men"}, "pooling is 'men'"),
        (["\ud800"], {}, "half of a character"),
    ],
)
def test_what_cannot_be_embedded_is_refused(stories: Model, texts: Any, options: Any, says: str) -> None:
    with pytest.raises(MessageError, match=says):
        stories.embed(texts, **options)


def test_a_stop_ends_it(stories: Model) -> None:
    flag = StopFlag()
    flag.set("enough")
    with pytest.raises(Stopped):
        stories.embed(TEXTS, stop=flag)
    assert stories.embed(["a"]).shape == (1, 64)


def test_an_engine_without_hidden_states_says_so() -> None:
    with pytest.raises(UnsupportedError, match="no embeddings"):
        fake_model(FakeEngine()).embed(["a"])
