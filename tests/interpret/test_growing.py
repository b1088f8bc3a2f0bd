"""Traces that grow: token by token they come to what the whole sequence gives, and can be read meanwhile."""

import threading

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from llama_nb.interpret.attention import AttentionTrace
from llama_nb.interpret.attention_weights import AttentionWeights
from llama_nb.interpret.capture import capture_attention
from llama_nb.interpret.growing import GrowingTrace, grow
from tests.interpret.attention_models import make, tokens

PROMPT, LENGTH = 14, 34
NAMES = ("llama, grouped", "llama 4", "mistral", "qwen 3", "gemma 2", "gpt-oss")


def described(ids) -> tuple[list[str], list[bool]]:
    return [f"t{token}" for token in ids], [token < 5 for token in ids]


def beginning(module, ids, **how) -> GrowingTrace:
    texts, special = described(ids)
    captured = capture_attention(module, ids, **how)
    named = {"model": "tiny", "fingerprint": "", "title": "reply", "prompt": len(ids)}
    return GrowingTrace(captured, ids=ids, texts=texts, special=special, **named)


@torch.inference_mode()
def write(module, ids, pieces) -> None:
    """Read tokens as a generation does: the prompt in pieces, then one token after another, with a cache."""
    cache = DynamicCache(config=module.config)
    start = 0
    for count in pieces:
        inputs = torch.tensor([ids[start : start + count]])
        module(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        start += count
    assert start == len(ids)


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_to_the_whole(name):
    module, ids = make(name), tokens(LENGTH)
    trace = beginning(module, ids[:PROMPT])
    lengths = []
    with grow(module, trace, described, lambda: lengths.append(trace.length)):
        write(module, ids, [5, PROMPT - 5, *[1] * (LENGTH - PROMPT)])
    assert lengths == list(range(PROMPT + 1, LENGTH + 1))
    whole = AttentionWeights(capture_attention(module, ids))
    for layer in whole.layers:
        ours, theirs = (each.rows(layer, range(6), 0, LENGTH) for each in (trace, whole))
        assert np.abs(ours - theirs).max() <= 1e-5, f"layer {layer}"
    assert list(trace.ids) == ids
    assert (list(trace.texts), list(trace.special)) == described(ids)
    assert (trace.prompt, trace.growing) == (PROMPT, False)
    assert module.config._attn_implementation in ("sdpa", "eager")


def test_several_tokens_at_once_add_several_rows():
    module, ids = make("mistral"), tokens(LENGTH)
    trace = beginning(module, ids[:PROMPT])
    with grow(module, trace, described):
        write(module, ids, [PROMPT + 3, 4, *[1] * (LENGTH - PROMPT - 7)])
    whole = AttentionWeights(capture_attention(module, ids))
    for layer in whole.layers:
        ours, theirs = (each.rows(layer, range(6), 0, LENGTH) for each in (trace, whole))
        assert np.abs(ours - theirs).max() <= 1e-5, f"layer {layer}"


def test_only_the_layers_that_are_wanted_grow():
    module, ids = make("llama, grouped"), tokens(LENGTH)
    trace = beginning(module, ids[:PROMPT], layers=[1, 2])
    with grow(module, trace, described):
        write(module, ids, [PROMPT, *[1] * (LENGTH - PROMPT)])
    assert (trace.layers, trace.length) == ((1, 2), LENGTH)


def test_what_stands_at_a_moment_stays(tmp_path):
    module, ids = make("llama, grouped"), tokens(LENGTH)
    trace = beginning(module, ids[:PROMPT])
    taken: list[AttentionTrace] = []
    sums = []

    def look() -> None:
        taken.append(trace.now())
        sums.append(trace.log_sums(0, 1))

    with grow(module, trace, described, look):
        write(module, ids, [PROMPT, *[1] * (LENGTH - PROMPT)])
    assert type(taken[3]) is AttentionTrace
    assert (taken[3].length, len(taken[3].texts), taken[3].growing) == (PROMPT + 4, PROMPT + 4, False)
    whole = AttentionWeights(capture_attention(module, ids))
    for seen, kept in zip(taken, sums, strict=True):
        expected = whole.rows(2, 3, 0, seen.length)[0][:, : seen.length]
        assert np.abs(seen.matrix(2, 3) - expected).max() <= 1e-5
        assert np.abs(kept - whole.log_sums(0, 1)[: len(kept)]).max() <= 1e-4
    assert AttentionTrace.load(taken[3].save(tmp_path / "some")).length == PROMPT + 4


def test_it_can_be_read_by_others_while_it_grows():
    module, ids = make("llama, grouped"), tokens(120)
    trace = beginning(module, ids[:PROMPT])
    over, wrong = threading.Event(), []

    def read() -> None:
        while not over.is_set():
            found = (trace.matrix(1, 2), trace.mean(3), trace.row(0, 0, -1), trace.column(2, 1, 3))
            finite = all(np.isfinite(each).all() for each in found)
            if not finite or abs(trace.mean(0).sum(axis=1) - 1).max() > 1e-4:
                wrong.append(trace.length)
            trace.top(2, 3, read_by=True)

    failures = []
    readers = [threading.Thread(target=_caught(read, failures)) for _ in range(2)]
    for reader in readers:
        reader.start()
    with grow(module, trace, described):
        write(module, ids, [PROMPT, *[1] * (120 - PROMPT)])
    over.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert not wrong


def _caught(work, failures):
    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - it is shown by the test
            failures.append(error)

    return run


def test_the_model_is_left_as_it_was():
    module, ids = make("llama, grouped"), tokens(PROMPT)
    trace = beginning(module, ids)
    with pytest.raises(IndexError), grow(module, trace, described):
        write(module, [10_000], [1])
    assert module.config._attn_implementation == "sdpa"
    assert not module.get_input_embeddings()._forward_pre_hooks
    assert (trace.length, trace.growing) == (PROMPT, False)
