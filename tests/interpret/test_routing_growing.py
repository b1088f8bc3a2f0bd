"""Routing that grows: token by token it comes to what the whole sequence gives, and can be read meanwhile."""

import threading

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from llama_nb.interpret.mixture import mixture_of
from llama_nb.interpret.passages import Passages
from llama_nb.interpret.routing import Routing
from llama_nb.interpret.routing_capture import capture_routing
from llama_nb.interpret.routing_growing import GrowingRouting, grow
from tests.interpret.routing_models import MIXTURES, VOCABULARY, mixture

PROMPT, LENGTH = 14, 34
IDS = np.random.default_rng(4).integers(3, VOCABULARY, LENGTH).tolist()


def described(ids):
    return [f"t{token}" for token in ids], [token < 8 for token in ids]


def beginning(module, ids):
    captured = capture_routing(module, ids)
    passages = Passages.of_text(ids, *described(ids))
    return GrowingRouting(
        Routing(captured.routes, passages, captured.mass[None]),
        mixture=mixture_of(module),
        model="tiny",
        fingerprint="",
        title="reply",
        prompt=len(ids),
    )


@torch.inference_mode()
def write(module, ids, pieces):
    """Read tokens as a generation does: the prompt in pieces, then one token after another, with a cache."""
    cache = DynamicCache(config=module.config)
    start = 0
    for count in pieces:
        inputs = torch.tensor([ids[start : start + count]])
        module(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        start += count
    assert start == len(ids)


@pytest.mark.parametrize("name", MIXTURES)
def test_it_comes_to_the_whole(name):
    module = mixture(name)
    trace = beginning(module, IDS[:PROMPT])
    lengths = []
    with grow(module, trace, described, lambda: lengths.append(trace.length)):
        write(module, IDS, [5, PROMPT - 5, *[1] * (LENGTH - PROMPT)])
    assert lengths == list(range(PROMPT + 1, LENGTH + 1))
    whole = capture_routing(module, IDS)
    np.testing.assert_allclose(trace.logits, whole.routes.logits, atol=2e-5)
    np.testing.assert_allclose(trace.mass[0], whole.mass, atol=1e-4)
    assert (trace.chosen == whole.routes.chosen).mean() > 0.99
    assert trace.ids.tolist() == IDS
    assert (trace.texts(), trace.special.tolist()) == described(IDS)
    assert (trace.prompt, trace.growing, trace.starts.tolist()) == (PROMPT, False, [0, LENGTH])
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_pass_of_several_tokens_and_a_part_of_the_prompt():
    module = mixture("mixtral")
    trace = beginning(module, IDS[:PROMPT])
    with grow(module, trace, described):
        write(module, IDS, [PROMPT + 3, 4, *[1] * (LENGTH - PROMPT - 7)])
    whole = capture_routing(module, IDS).routes
    np.testing.assert_allclose(trace.entropy, whole.entropy, atol=2e-5)


def test_it_is_whole_whenever_it_is_read():
    module = mixture("llama 4")
    trace = beginning(module, IDS[:PROMPT])
    wrong, done = [], threading.Event()

    def look():
        while not done.is_set():
            length, now = trace.length, trace.now()
            rows = len(now.chosen)
            if not length <= rows == len(now.margin) == now.length == len(now.texts()):
                wrong.append((length, rows, now.length))

    reader = threading.Thread(target=look)
    reader.start()
    kept = []
    with grow(module, trace, described, lambda: kept.append(trace.now())):
        write(module, IDS, [PROMPT, *[1] * (LENGTH - PROMPT)])
    done.set()
    reader.join()
    assert not wrong
    for before, length in zip(kept, range(PROMPT + 1, LENGTH + 1), strict=True):
        assert before.length == length
        assert (before.chosen == trace.chosen[:length]).all()


def test_nothing_is_computed_that_nobody_reads():
    module = mixture("mixtral")
    trace = beginning(module, IDS[:PROMPT])
    asked = []
    with grow(module, trace, lambda ids: asked.append(len(ids)) or described(ids)):
        write(module, IDS, [PROMPT, *[1] * (LENGTH - PROMPT)])
        assert not asked
        assert trace.length == LENGTH
    assert asked == [LENGTH - PROMPT]
