"""Parts that are turned off: against models that are cut by hand, and what is left behind afterwards."""

import contextlib
import copy

import numpy as np
import pytest
import torch
from transformers import (
    Llama4ForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from llama_nb.core.errors import EngineError, InterventionError, Stopped, UnsupportedError
from llama_nb.core.intervention import Intervention, read_part
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines.interventions import applied
from tests.engines.opening import LILY, ids, open_folder, run

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MOE = {
    "intermediate_size_mlp": 48,
    "num_local_experts": 4,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 2,
    "attention_chunk_size": 16,
}
KINDS = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "llama with biases": (LlamaForCausalLM, LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "llama 4": (Llama4ForCausalLM, Llama4TextConfig, MOE),
    "qwen 3": (Qwen3ForCausalLM, Qwen3Config, {}),
}
IDS = [(7 * n * n + 3) % 97 for n in range(40)]


@pytest.fixture(scope="module", params=KINDS)
def module(request):
    kind, config, more = KINDS[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return kind(config(**SIZES, **more)).eval()


@pytest.fixture(scope="module")
def stories(stories260k):
    engine = open_folder(stories260k)
    yield engine
    engine.close()


@torch.inference_mode()
def logits(module, ids=IDS):
    return module(torch.tensor([ids]), use_cache=False).logits[0]


def off(module, *parts, **more):
    with applied(module, parts, **more):
        return logits(module)


def hooks(module):
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in module.modules())


@contextlib.contextmanager
def added(module, change):
    """Hand on `change` of what a module returns."""

    def hook(_module, _given, output):
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def mlp(layer):
    return layer.mlp if hasattr(layer, "mlp") else layer.feed_forward


def test_a_head_that_is_off_is_one_whose_columns_of_the_output_projection_are_zero(module):
    for layer, head in ((0, 0), (2, 3), (3, 1)):
        cut = copy.deepcopy(module)
        cut.model.layers[layer].self_attn.o_proj.weight.data[:, 8 * head : 8 * head + 8] = 0
        found = off(module, Intervention("head", layer, head))
        torch.testing.assert_close(found, logits(cut), atol=1e-5, rtol=0)
        assert (found - logits(module)).abs().max() > 1e-3


def test_a_block_that_is_off_adds_nothing(module):
    layer = module.model.layers[1]
    for site, block in (("attention", layer.self_attn), ("mlp", mlp(layer))):
        with added(block, torch.zeros_like):
            expected = logits(module)
        found = off(module, Intervention(site, 1))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        assert (found - logits(module)).abs().max() > 1e-3


def test_a_layer_that_is_off_is_not_there(module):
    cut = copy.deepcopy(module)
    del cut.model.layers[2]
    if isinstance(module, Llama4ForCausalLM):
        cut.config.num_hidden_layers = 3
        cut.config.layer_types = [kind for number, kind in enumerate(cut.config.layer_types) if number != 2]
    found = off(module, Intervention("layer", 2))
    with torch.inference_mode():
        torch.testing.assert_close(found, logits(cut), atol=1e-5, rtol=0)


def test_several_parts_are_off_together(module):
    cut = copy.deepcopy(module)
    for layer, head in ((0, 1), (0, 2), (3, 0)):
        cut.model.layers[layer].self_attn.o_proj.weight.data[:, 8 * head : 8 * head + 8] = 0
    with added(mlp(cut.model.layers[1]), torch.zeros_like):
        expected = logits(cut)
    parts = [Intervention("head", 0, 1), Intervention("head", 0, 2), Intervention("head", 3, 0)]
    found = off(module, *parts, Intervention("mlp", 1))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def inputs_of(module, part, ids):
    """What a module is given on `ids`, shape (tokens, width)."""
    seen = []
    handle = part.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].reshape(-1, given[0].shape[-1]))
    )
    module(torch.tensor([ids]), use_cache=False)
    handle.remove()
    return seen[0]


def test_the_mean_of_a_head_is_taken_over_the_text_that_is_named(module):
    projection = module.model.layers[1].self_attn.o_proj
    for given in ({"over": tuple(IDS[5:25])}, {}):
        text = given.get("over", tuple(IDS[:30]))
        mean = inputs_of(module, projection, text)[:, 8:16].mean(0)

        def put(_, taken, mean=mean):
            mixed = taken[0].clone()
            mixed[..., 8:16] = mean
            return (mixed,)

        handle = projection.register_forward_pre_hook(put)
        expected = logits(module)
        handle.remove()
        found = off(module, Intervention("head", 1, 1, "mean", **given), prompt=IDS[:30])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_mean_of_a_layer_is_that_of_what_it_adds(module):
    states = []
    layers = module.model.layers
    handles = [layer.register_forward_hook(lambda _, __, out: states.append(out)) for layer in layers]
    logits(module)
    for handle in handles:
        handle.remove()
    states = [state[0] if isinstance(state, tuple) else state for state in states]
    mean = (states[2] - states[1])[0].mean(0)
    with added(layers[2], lambda after: states[1] + mean):
        expected = logits(module)
    found = off(module, Intervention("layer", 2, None, "mean"), prompt=IDS)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_means_are_those_of_the_whole_model_whatever_else_is_off(module):
    seen = []
    last, first = (mlp(module.model.layers[number]) for number in (3, 0))
    with added(last, lambda value: seen.append(value) or value):
        logits(module)
    mean = seen[0].reshape(-1, seen[0].shape[-1]).mean(0)
    with added(first, torch.zeros_like), added(last, mean.expand_as):
        expected = logits(module)
    found = off(module, Intervention("mlp", 3, None, "mean"), Intervention("mlp", 0), prompt=IDS)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_long_text_of_a_mean_is_read_in_pieces(module, monkeypatch):
    part = Intervention("head", 0, 2, "mean", tuple(IDS))
    whole = off(module, part)
    monkeypatch.setattr("llama_nb.engines.interventions._CHUNK", 7)
    torch.testing.assert_close(off(module, part), whole, atol=1e-5, rtol=1e-5)
    asked = iter([*[None] * 6, "enough"])  # within the second piece; it is not asked again
    with pytest.raises(Stopped, match="The mean of L0 H2 was stopped: enough"):
        off(module, part, stopped=lambda: next(asked))
    assert hooks(module) == 0


def enter(module, *parts, **more):
    with applied(module, parts, **more):
        return hooks(module)


def fail(module, *parts):
    with applied(module, parts):
        raise ZeroDivisionError


def test_the_model_is_as_before_whatever_happens(module):
    before = logits(module)
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    parts = [read_part(each) for each in ("0.1", "1.attn", "2.mlp", "3")]
    assert enter(module, *parts) == 4
    with pytest.raises(ZeroDivisionError):
        fail(module, *parts)
    with pytest.raises(InterventionError, match="no text"):
        enter(module, *parts, Intervention("mlp", 0, None, "mean"))
    with pytest.raises(InterventionError, match="no layer 4"):
        enter(module, *parts, read_part("4.0"))
    assert hooks(module) == 0
    assert torch.equal(logits(module), before)
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


def test_blocks_in_each_other_end_one_by_one(module):
    first, second = read_part("0.1"), read_part("2.mlp")
    with applied(module, [first]):
        alone = logits(module)
        with applied(module, [second]):
            assert not torch.allclose(logits(module), alone)
        assert torch.equal(logits(module), alone)
    assert hooks(module) == 0


def test_a_layer_of_an_unknown_kind_is_refused_by_name(module):
    strange = copy.deepcopy(module)
    for layer in strange.model.layers:
        layer.self_attn.of_its_own = layer.self_attn.o_proj
        del layer.self_attn.o_proj
    with pytest.raises(UnsupportedError, match="no output projection that can be turned off"):
        enter(strange, read_part("0.1"))


# --- in the engine ---------------------------------------------------------------------------------------

HEADS = (read_part("0.1"), read_part("3.mlp"))


def stream(engine, given=LILY, *, key=None, flag=None, **fields):
    request = Request(given, Sampling(temperature=0, max_tokens=16), cache_key=key, alternatives=0, **fields)
    return list(engine.stream(request, flag or StopFlag()))


def greedy_by_hand(engine, interventions, count):
    """What comes out when the whole text is computed anew for each token."""

    def work(module, _stopped):
        text = list(engine.prompt(Request(LILY)).ids)
        with applied(module, interventions):
            for _ in range(count):
                text.append(int(logits(module, text)[-1].argmax()))
        return text[-count:]

    return engine.examine(work, "a test", StopFlag())


def test_cached_decoding_is_what_whole_passes_give(stories):
    assert ids(stream(stories, interventions=HEADS)) == greedy_by_hand(stories, HEADS, 16)
    assert ids(stream(stories, interventions=HEADS)) != ids(stream(stories))


def test_the_cache_of_a_chat_is_neither_read_nor_written(stories):
    whole = stream(stories, key="chat")
    entry = stories._caches.peek("chat")
    kept = [(layer.keys.clone(), layer.values.clone()) for layer in entry.cache.layers]
    held = list(entry.ids)
    without = stream(stories, key="chat", interventions=HEADS)
    assert without[-1].finish.usage.cached_tokens == 0
    stories.next_token(Request(LILY, cache_key="chat", interventions=HEADS), (), StopFlag())
    assert stories._caches.peek("chat") is entry
    assert entry.ids == held
    for layer, (keys, values) in zip(entry.cache.layers, kept, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)
    again = stream(stories, key="chat")
    assert ids(again) == ids(whole)
    assert again[-1].finish.usage.cached_tokens > 0
    stream(stories, key="new", interventions=HEADS)
    assert stories._caches.peek("new") is None


def test_rows_with_something_off_run_alone_beside_a_batch(stories):
    sampling = Sampling(temperature=0, max_tokens=12)
    prompts = [LILY, "Tom had a red ball.", "The sun was"]
    plain = [Request(each, sampling, alternatives=0) for each in prompts]
    mixed = [*plain, Request(LILY, sampling, alternatives=0, interventions=HEADS)]
    rows = {row: [] for row in range(4)}
    for event in stories.stream_many(mixed, StopFlag()):
        if event.event.id is not None:
            rows[event.row].append(event.event.id)
    for row, request in enumerate(mixed):
        assert rows[row] == ids(list(stories.stream(request, StopFlag()))), row
    assert rows[3] != rows[0]


def test_a_generation_that_is_given_up_leaves_no_hook(stories):
    events = stories.stream(
        Request(LILY, Sampling(temperature=0, max_tokens=50), interventions=HEADS), StopFlag()
    )
    next(events)
    events.close()
    module_hooks = stories.examine(lambda module, _stopped: hooks(module), "a test", StopFlag())
    assert module_hooks == 0


def test_an_error_of_the_engine_leaves_no_hook(stories, monkeypatch):
    monkeypatch.setattr(type(stories._forward), "__call__", lambda *_: 1 / 0)
    with pytest.raises(EngineError, match="ZeroDivisionError"):
        stream(stories, interventions=HEADS)
    monkeypatch.undo()
    assert stories.examine(lambda module, _stopped: hooks(module), "a test", StopFlag()) == 0


def test_a_part_that_the_model_has_not_got_is_named(stories):
    with pytest.raises(InterventionError, match="no layer 99"):
        stream(stories, interventions=(read_part("99"),))
    assert ids(stream(stories))


def test_a_stop_while_a_mean_is_computed_ends_the_reply(stories):
    flag = StopFlag()
    flag.set("at once")
    mean = Intervention("mlp", 0, None, "mean")
    # The worker looks at the flag when the job has begun; before that it would not begin at all.
    generated = stories._generate(
        Request(LILY, Sampling(max_tokens=4), interventions=(mean,)), lambda: flag.reason
    )
    (event,) = generated
    assert (event.finish.reason, event.finish.detail) == ("stopped", "at once")


def test_the_mean_of_a_reply_is_over_its_prompt_also_where_it_goes_on(stories):
    mean = (Intervention("mlp", 2, None, "mean"),)
    prompt = stories.prompt(Request(LILY)).ids
    named = (Intervention("mlp", 2, None, "mean", prompt),)
    written = ids(stream(stories, interventions=mean))
    assert written == ids(stream(stories, interventions=named))
    begun = stream(stories, interventions=mean, begun=tuple(written[:6]))
    assert ids(begun) == written[6:]
    found = stories.next_token(Request(LILY, interventions=mean), tuple(written[:6]), StopFlag())
    assert int(np.argmax(found.logits)) == written[6]


def test_what_watches_is_entered_with_the_module_on_its_thread_and_left(stories):
    seen = []

    @contextlib.contextmanager
    def watch(module):
        seen.append(("in", type(module).__name__, hooks(module)))
        try:
            yield
        finally:
            seen.append(("out", type(module).__name__, hooks(module)))

    name = type(stories._module).__name__
    plain = stream(stories)
    assert ids(stream(stories, watch=watch)) == ids(plain)
    assert seen == [("in", name, 0), ("out", name, 0)]
    seen.clear()
    stream(stories, watch=watch, interventions=(read_part("0.1"),))
    assert seen == [("in", name, 1), ("out", name, 1)]  # what is off is off for who looks on, too
    seen.clear()
    events = stories.stream(Request(LILY, Sampling(max_tokens=50), watch=watch), StopFlag())
    next(events)
    events.close()
    run(stories, LILY, temperature=0, max_tokens=1)
    assert [each[0] for each in seen] == ["in", "out"]
