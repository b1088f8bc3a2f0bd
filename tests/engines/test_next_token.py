"""What a next token is chosen from: computed with a chat's cache, which stays as it is."""

import numpy as np
import pytest
import torch

from llama_nb.core.errors import ContextOverflow, EngineError, MessageError
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines.head import find_head
from llama_nb.engines.sampler import Sampler, Wheel
from tests.engines.logits import make_logits
from tests.engines.opening import LILY, ids, open_folder, run


@pytest.fixture(scope="module")
def stories(stories260k):
    engine = open_folder(stories260k)
    yield engine
    engine.close()


def look(engine, given, after=(), key=None):
    found = engine.next_token(Request(given, cache_key=key), after, StopFlag())
    assert found is not None
    return found


def test_the_logits_are_those_of_a_plain_forward(stories):
    written = ids(run(stories, LILY, temperature=0, max_tokens=12, key="chat"))
    for place in (0, 5, 12):
        found = look(stories, LILY, written[:place], key="chat")
        assert (found.prompt, found.reply) == (stories.prompt(Request(LILY)).ids, tuple(written[:place]))
        whole = torch.tensor([[*found.prompt, *found.reply]])

        def forward(module, _, whole=whole):
            with torch.inference_mode():
                return module(input_ids=whole).logits[0, -1].numpy()

        expected = stories.examine(forward, "a test", StopFlag())
        np.testing.assert_allclose(found.logits, expected, atol=1e-4)


def test_a_look_leaves_the_cache_to_the_bit(stories):
    written = ids(run(stories, LILY, temperature=0, max_tokens=12, key="kept"))
    entry = stories._caches.peek("kept")
    before = [(layer.keys.clone(), layer.values.clone()) for layer in entry.cache.layers]
    held, length = list(entry.ids), entry.nbytes()
    for place in (0, 3, 12):
        look(stories, LILY, written[:place], key="kept")
    look(stories, "Another text altogether", key="kept")
    assert stories._caches.peek("kept") is entry
    assert (entry.ids, entry.nbytes()) == (held, length)
    for layer, (keys, values) in zip(entry.cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


def test_nothing_is_cached_for_a_look(stories):
    look(stories, "Tom had a ball.", key="never")
    assert stories.cached_tokens("never", stories.prompt(Request("Tom had a ball.")).ids) == 0


def test_what_cannot_be_looked_at_is_refused(stories):
    with pytest.raises(ContextOverflow):
        look(stories, "word " * 2000)
    with pytest.raises(MessageError):
        look(stories, ())
    flag = StopFlag()
    flag.set("stopped")
    assert stories.next_token(Request(LILY), (), flag) is None


def test_logits_that_are_no_numbers_are_an_error(stories260k):
    engine = open_folder(stories260k)
    engine._module.model.norm.weight.data[0] = float("nan")
    with pytest.raises(EngineError, match="last normalisation"):
        look(engine, LILY)
    engine.close()


@pytest.mark.parametrize("shape", ["normal", "flat", "peaked", "masked"])
def test_many_draws_are_single_draws(shape):
    logits = make_logits(shape, 4096, 3)
    uniforms = np.random.default_rng(1).random(400)
    for sampling in (Sampling(temperature=1, top_p=1), Sampling(temperature=1.5, top_p=0.9, top_k=50)):
        wheel = Wheel(Sampler(sampling, [0]).trace(logits, size=64)[-1][1])
        assert wheel.draw_many(uniforms).tolist() == [wheel.draw(uniform) for uniform in uniforms]
    assert Wheel(find_head(logits, 1).cut(1)).draw_many(uniforms).tolist() == [int(logits.argmax())] * 400
