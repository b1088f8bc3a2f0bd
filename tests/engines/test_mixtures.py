"""Decoding by mixtures of experts, and through layers that see a chunk or window only: exact, however cached.

The reference is the whole sequence at once, without a cache.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines.decoding import Forward, first_bad_layer
from llama_nb.engines.embedding import embed
from llama_nb.engines.kv_cache import CacheEntry, CacheStore, GrowingLayer
from llama_nb.engines.transformers_engine import TransformersEngine
from tests.engines.opening import ids, open_module, run
from tests.engines.test_batch import alike
from tests.interpret.routing_models import MIXTURES, mixture

CONTEXT = 96
PROMPT = tuple(int(token) for token in np.random.default_rng(5).integers(3, 97, 37))
# Llama 4 with chunks as long as the context and untuned, as cria-moe is.
ROOMY = {"attention_chunk_size": CONTEXT, "attn_temperature_tuning": False}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in MIXTURES},
    "llama 4, chunks that hold all": ("llama 4", ROOMY),
    "llama 4, tuned, chunks that hold all": ("llama 4", {"attention_chunk_size": CONTEXT, "floor_scale": 8}),
}


def build(case: str) -> Any:
    name, changes = CASES[case]
    return mixture(name, vocab_size=512, **changes)


def engine_of(case: str, stories: TransformersEngine) -> TransformersEngine:
    return open_module(build(case), stories._tokenizer, context=CONTEXT)


@torch.inference_mode()
def whole(module: Any, tokens: Sequence[int]) -> Any:
    """Logits behind each token, computed at once, (T, V)."""
    return module(input_ids=torch.tensor([list(tokens)]), use_cache=False).logits[0].numpy()


def greedy(engine: TransformersEngine, prompt: Sequence[int], count: int) -> list[int]:
    tokens = list(prompt)
    while len(tokens) < len(prompt) + count and tokens[-1] not in engine._ends:
        tokens.append(int(whole(engine._module, tokens)[-1].argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("case", CASES)
def test_cached_and_chunked_logits_are_those_of_the_whole(case: str) -> None:
    module = build(case)
    tokens = (PROMPT * 3)[: CONTEXT - 1]
    expected = whole(module, tokens)
    for size in (1, 7, 24, CONTEXT):
        entry = CacheEntry(module.config, 0, CONTEXT)
        forward = Forward(module, 1)
        for start in range(0, len(tokens), size):
            logits = forward(tokens[start : start + size], entry)
            np.testing.assert_allclose(logits, expected[len(entry.ids) - 1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_edits_branches_and_borrowed_caches_are_exact(case: str) -> None:
    module = build(case)
    store, forward = CacheStore(module.config, context=CONTEXT), Forward(module, 1)
    for tokens in (PROMPT, (*PROMPT[:30], 5, 6, 7), (*PROMPT, *PROMPT[:20]), PROMPT[:9]):
        entry = store.take("chat", tokens)
        logits = forward(tokens[len(entry.ids) :], entry)
        np.testing.assert_allclose(logits, whole(module, tokens)[-1], atol=1e-4, rtol=1e-4)
        other = (*tokens[:-3], 11, 12)
        borrowed = store.borrow("chat", other)
        logits = forward(other[len(borrowed.ids) :], borrowed)
        np.testing.assert_allclose(logits, whole(module, other)[-1], atol=1e-4, rtol=1e-4)
        assert entry.ids == list(tokens)


@pytest.mark.parametrize("case", CASES)
def test_greedy_stopped_and_continued_replies_have_the_same_tokens(
    case: str, stories: TransformersEngine
) -> None:
    engine = engine_of(case, stories)
    expected = greedy(engine, PROMPT, 24)
    assert ids(run(engine, PROMPT, key="main", temperature=0, max_tokens=24)) == expected
    assert ids(run(engine, PROMPT, key="main", temperature=0, max_tokens=24)) == expected
    for place in (1, 6, len(expected) - 1):
        request = Request(PROMPT, Sampling(temperature=0, max_tokens=24), cache_key="main")
        begun = dataclasses.replace(request, begun=tuple(expected[:place]))
        assert ids(list(engine.stream(begun, StopFlag()))) == expected[place:]
    engine.close()


@pytest.mark.parametrize("case", CASES)
def test_rows_of_a_batch_are_the_same_alone(case: str, stories: TransformersEngine) -> None:
    engine = engine_of(case, stories)
    lengths = (1, 40, 2, 33, 17, 60)
    asked = [
        Request((PROMPT * 2)[row : row + length], Sampling(temperature=0, max_tokens=20))
        for row, length in enumerate(lengths)
    ]
    alike(engine, asked)
    engine.close()


@pytest.mark.parametrize("case", CASES)
def test_embeddings_are_of_the_last_hidden_states(case: str, stories: TransformersEngine) -> None:
    engine = engine_of(case, stories)
    texts = ["Once upon a time", "The", "Lily and Ben went to the park to play with the big red ball."]
    found = engine.embed(texts, StopFlag())
    assert found is not None
    for row, text in enumerate(texts):
        tokens = engine.prompt(Request(text)).ids
        with torch.inference_mode():
            states = engine._module.model(input_ids=torch.tensor([list(tokens)])).last_hidden_state[0]
        np.testing.assert_allclose(found[row], states.mean(0).numpy(), atol=1e-4, rtol=1e-4)
    engine.close()


def test_a_model_whose_chunks_hold_all_has_caches_that_can_be_borrowed() -> None:
    module = build("llama 4, chunks that hold all")
    assert all(type(layer) is GrowingLayer for layer in CacheEntry(module.config, 0, CONTEXT).cache.layers)
    short = CacheEntry(module.config, 0, CONTEXT + 1).cache.layers
    assert [type(layer) is GrowingLayer for layer in short] == [False, False, False, True]


@pytest.mark.parametrize("case", CASES)
def test_the_first_bad_layer_is_named(case: str) -> None:
    module = build(case)
    with torch.no_grad():
        module.model.layers[2].input_layernorm.weight.fill_(torch.nan)
    assert first_bad_layer(module, PROMPT) == "layer 2 of 4"


def test_texts_of_a_model_with_short_chunks_are_embedded_one_by_one() -> None:
    module = build("llama 4")
    found = embed(module, Forward(module, 1), [PROMPT, PROMPT[:5]], "last", 1, lambda: None)
    assert found is not None
    assert np.isfinite(found).all()
