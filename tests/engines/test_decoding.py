"""The decode loop on a real small model: equal to transformers, however it is cached, chunked or stopped."""

import threading
import time

import numpy as np
import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from llama_nb.core.errors import ContextOverflow, EngineError, MessageError
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines import decoding
from llama_nb.engines.decoding import Draws, Forward
from llama_nb.engines.kv_cache import CacheEntry
from tests.engines.opening import LILY, ids, open_module, run, text


class StopAfter(StopFlag):
    """Set itself when the worker asked it a number of times."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    def is_set(self) -> bool:
        if threading.current_thread() is not threading.main_thread():
            self.left -= 1
        if self.left < 0:
            self.set("test")
        return super().is_set()


@pytest.fixture(scope="module")
def reference(stories):
    prompt = torch.tensor([stories.prompt(Request(LILY)).ids])
    generated = stories._module.generate(prompt, max_new_tokens=60, do_sample=False)
    return generated[0, prompt.shape[1] :].tolist()


def test_greedy_equals_generate(stories, reference):
    events = run(stories, LILY, temperature=0, max_tokens=60)
    assert ids(events) == reference
    assert text(events) == stories._tokenizer.decode(reference, skip_special_tokens=True)
    assert events[-1].finish.reason == "length"
    assert events[-1].finish.seed is None


def test_events_carry_what_was_chosen_and_what_else_could_have_come(stories):
    events = run(stories, LILY, temperature=0, max_tokens=5, alternatives=4)
    for event in events:
        assert event.alternatives[0].id == event.id
        assert event.logprob == pytest.approx(event.alternatives[0].logprob)
        assert len(event.alternatives) == 4
        assert event.entropy > 0
    assert events[0].alternatives[0].text == " She"
    assert [event.finish is None for event in events] == [True] * 4 + [False]


def test_steps_through_the_layers_equal_the_models_forward(stories):
    module = stories._module
    prompt = list(stories.prompt(Request(LILY)).ids)
    with torch.inference_mode():
        cache = DynamicCache(config=module.config)
        module(input_ids=torch.tensor([prompt]), past_key_values=cache)
        expected = module(input_ids=torch.tensor([[400]]), past_key_values=cache).logits[0, -1]
    forward, entry = Forward(module, 1), CacheEntry(module.config, 0)
    forward(prompt, entry)
    np.testing.assert_allclose(forward([400], entry), expected.numpy(), atol=1e-5)
    calls = []
    hook = module.model.register_forward_hook(lambda *_: calls.append(1))
    forward([401], entry)  # whoever watches the model sees every step
    hook.remove()
    assert calls == [1]


def test_chunked_and_cached_prefill_give_the_same_logits(stories):
    module = stories._module
    prompt = list(stories.prompt(Request(LILY * 12)).ids)
    forward = Forward(module, 1)
    whole, pieces = CacheEntry(module.config, 0), CacheEntry(module.config, 0)
    expected = forward(prompt, whole)
    for place in range(0, len(prompt), 13):
        found = forward(prompt[place : place + 13], pieces)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    pieces.keep(40)
    np.testing.assert_allclose(forward(prompt[40:], pieces), expected, atol=1e-4)


def test_a_turn_an_edit_and_a_branch_compute_only_what_differs(stories):
    stories.forget("edit")
    first = run(stories, LILY + " She", key="edit", temperature=0, max_tokens=20)
    prompt = stories.prompt(Request(LILY + " She")).ids
    assert first[-1].finish.usage.cached_tokens == 0
    held = (*prompt, *ids(first)[:-1])
    assert stories.cached_tokens("edit", (*held, 5, 6)) == len(held)
    again = run(stories, LILY + " She", key="edit", temperature=0, max_tokens=20)
    assert again[-1].finish.usage.cached_tokens == len(prompt) - 1
    assert ids(again) == ids(first)
    edited = run(stories, LILY + " He", key="edit", temperature=0, max_tokens=20)
    fresh = run(stories, LILY + " He", temperature=0, max_tokens=20)
    assert ids(edited) == ids(fresh)
    assert 0 < edited[-1].finish.usage.cached_tokens < len(prompt)


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 0.9, "seed": 11}])
def test_stopped_at_every_token_the_text_stays_and_the_next_answer_is_the_same(stories, sampling):
    never = run(stories, LILY, key="never", max_tokens=25, **sampling)
    then = LILY + text(never)[:30] + " The end. Then"
    expected = ids(run(stories, then, key="never", max_tokens=10, **sampling))
    for index in range(1, 25):
        stop = StopFlag()
        got = []
        request = Request(LILY, Sampling(max_tokens=25, **sampling), cache_key="stopped")
        for event in stories.stream(request, stop):
            got.append(event)
            if len(got) == index:
                stop.set("test")
        finish = got[-1].finish
        # The worker may be ahead of us: whatever it made is delivered.
        assert ids(got) == ids(never)[: len(ids(got))]
        assert text(never).startswith(text(got))
        assert finish.reason in ("stopped", "length")
        assert ids(run(stories, then, key="stopped", max_tokens=10, **sampling)) == expected


def test_stopped_exactly_after_each_token(stories):
    never = run(stories, LILY, temperature=0, max_tokens=12)
    for index in range(12):
        # Asked before the prefill's only chunk, before the first token, and after each token.
        got = run(stories, LILY, flag=StopAfter(1 + index), key="exact", temperature=0, max_tokens=12)
        assert got[-1].id is None
        assert got[-1].finish.reason == "stopped"
        assert got[-1].finish.detail == "test"
        assert ids(got) == ids(never)[:index]
        entry = stories._caches.peek("exact")
        lengths = {layer.get_seq_length() for layer in entry.cache.layers}
        assert lengths == {len(entry.ids)}


def test_stopped_inside_a_long_prefill(stories, monkeypatch):
    monkeypatch.setattr(stories._forward, "_chunk", 16)
    monkeypatch.setattr(decoding, "_clamp", lambda _size: 16)
    long = LILY * 20
    count = len(stories.prompt(Request(long)).ids)
    got = run(stories, long, flag=StopAfter(5), key="prefill", temperature=0, max_tokens=5)
    assert ids(got) == []
    assert got[-1].finish.reason == "stopped"
    assert stories.cached_tokens("prefill", stories.prompt(Request(long)).ids) == 5 * 16 < count
    again = run(stories, long, key="prefill", temperature=0, max_tokens=5)
    assert again[-1].finish.usage.cached_tokens == 5 * 16
    assert ids(again) == ids(run(stories, long, temperature=0, max_tokens=5))


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0},
        {"temperature": 1.2, "seed": 5, "frequency_penalty": 0.4},
        {"temperature": 1.0, "seed": 6, "xtc_probability": 0.5, "xtc_threshold": 0.001, "top_p": 1.0},
        {"temperature": 1.0, "seed": 9, "mirostat_tau": 4.0, "mirostat_eta": 0.5, "dry_multiplier": 0.8},
    ],
    ids=["greedy", "penalty", "xtc", "mirostat"],
)
def test_a_stopped_reply_is_continued_with_the_same_tokens(cria_like, sampling):
    from llama_nb.core.messages import Message

    asked = (Message("user", "Once upon a time"),)
    whole = run(cria_like, asked, max_tokens=24, **sampling)
    first = run(cria_like, asked, key="go on", max_tokens=9, **sampling)
    more = (*asked, Message("assistant", text(first)))
    request = Request(more, Sampling(max_tokens=15, **sampling), cache_key="go on", continue_last=True)
    second = list(cria_like.stream(request, StopFlag()))
    assert ids(first) + ids(second) == ids(whole)
    assert text(first) + text(second) == text(whole)
    assert second[-1].finish.usage.cached_tokens > 0


def test_seeds_give_the_same_reply_whatever_else_runs(stories, stories260k):
    from tests.engines.opening import open_folder

    other = open_folder(stories260k)
    expected = {seed: ids(run(stories, LILY, seed=seed, max_tokens=30)) for seed in (1, 2)}
    assert expected[1] != expected[2]
    found: dict[int, list[int]] = {}

    def work(engine, seed):
        found[seed] = ids(run(engine, LILY, seed=seed, max_tokens=30))

    threads = [threading.Thread(target=work, args=pair) for pair in ((stories, 1), (other, 2))]
    for thread in threads:
        thread.start()
    torch.manual_seed(0)  # the global generator is nobody's
    for thread in threads:
        thread.join()
    other.close()
    assert found == expected


def test_a_drawn_seed_is_reported_and_gives_the_reply_again(stories):
    first = run(stories, LILY, max_tokens=20)
    seed = first[-1].finish.seed
    assert seed is not None
    assert ids(run(stories, LILY, seed=seed, max_tokens=20)) == ids(first)


def test_draws_skip_to_where_a_reply_was_stopped():
    whole = Draws(3)
    numbers = [whole() for _ in range(150)]
    assert [Draws(3, skip)() for skip in (0, 1, 70)] == [numbers[0], numbers[1], numbers[70]]
    assert all(0 <= number < 1 for number in numbers)


def test_the_context_ends_a_reply_and_a_prompt_beyond_it_is_refused(stories):
    long = LILY * 28
    count = len(stories.prompt(Request(long)).ids)
    assert 380 < count < 512
    events = run(stories, long, temperature=0)
    assert events[-1].finish.reason in ("context", "end")
    if events[-1].finish.reason == "context":
        assert count + len(ids(events)) == 512
    with pytest.raises(ContextOverflow, match="512"):
        run(stories, LILY * 40)


def test_an_empty_prompt_is_refused(stories):
    with pytest.raises(MessageError, match="nothing to send"):
        run(stories, ())


def test_a_stop_string_ends_the_reply_and_is_not_part_of_it(stories):
    whole = text(run(stories, LILY, temperature=0, max_tokens=60))
    events = run(stories, LILY, temperature=0, max_tokens=60, stop=("park. One",))
    assert events[-1].finish.reason == "stop_string"
    assert events[-1].finish.detail == "park. One"
    assert text(events) == whole[: whole.index("park. One")]


def test_the_end_token_ends_the_reply_with_all_text(stories260k, stories):
    end = next(iter(stories._ends))
    module = LlamaForCausalLM(LlamaConfig(**tiny_sizes(vocab_size=512)))
    with torch.no_grad():
        module.lm_head.weight.zero_()
    engine = open_module(module, stories._tokenizer)
    assert engine._ends == {end}
    events = list(engine.stream(Request((end, 5), Sampling(temperature=0, max_tokens=3)), StopFlag()))
    assert len(ids(events)) == 3  # all logits are zero: token 0 wins
    engine._ends = frozenset({0})
    events = list(engine.stream(Request((end, 5), Sampling(temperature=0, max_tokens=3)), StopFlag()))
    assert events[-1].finish.reason == "end"
    assert events[-1].id == 0
    engine.close()


def tiny_sizes(**more):
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        **more,
    }


@pytest.mark.parametrize(
    "where", ["layer 2 of 4", "the embedding", "the last normalisation", "the output layer"]
)
def test_logits_that_are_not_numbers_name_the_first_bad_layer(stories, where):
    module = LlamaForCausalLM(LlamaConfig(**tiny_sizes(vocab_size=512)))
    weights = {
        "layer 2 of 4": module.model.layers[2].mlp.up_proj.weight,
        "the embedding": module.model.embed_tokens.weight,
        "the last normalisation": module.model.norm.weight,
        "the output layer": module.lm_head.weight,
    }
    with torch.no_grad():
        weights[where].fill_(float("nan"))
    engine = open_module(module, stories._tokenizer)
    with pytest.raises(EngineError, match=f"NaN or infinite, first in {where}"):
        run(engine, (1, 5, 6), key="bad")
    assert engine.cached_tokens("bad", (1, 5, 6)) == 0
    engine.close()


def test_nan_in_mid_reply_comes_after_the_tokens_before_it(stories, monkeypatch):
    engine = open_module(stories._module, stories._tokenizer)
    forward = engine._forward.__class__.__call__
    calls = []

    def failing(self, tokens, entry):
        calls.append(1)
        logits = forward(self, tokens, entry)
        return logits * np.nan if len(calls) == 4 else logits

    monkeypatch.setattr(engine._forward.__class__, "__call__", failing)
    got = []
    with pytest.raises(EngineError, match="NaN"):
        got.extend(engine.stream(Request(LILY, Sampling(temperature=0)), StopFlag()))
    assert len(got) == 3
    engine.close()


def test_a_model_with_sliding_windows_decodes_and_edits_too(stories):
    torch.manual_seed(0)
    sizes = tiny_sizes(vocab_size=512, sliding_window=16)
    module = MistralForCausalLM(MistralConfig(**sizes)).eval()
    engine = open_module(module, stories._tokenizer, context=256)
    prompt = tuple(range(3, 43))
    expected = module.generate(torch.tensor([prompt]), max_new_tokens=10, do_sample=False)[0, 40:].tolist()
    for _ in range(2):  # the second time the cache has forgotten what it would need
        assert ids(run(engine, prompt, key="slide", temperature=0, max_tokens=10)) == expected[:10]
    engine.close()


def test_prefill_chunks_follow_the_speed(stories):
    forward = Forward(stories._module, 8_000_000_000)
    assert forward._chunk == 8
    sizes = []
    for chunk in forward.chunks(list(range(2000))):
        sizes.append(len(chunk))
        time.sleep(0.0002 * len(chunk))
    assert sum(sizes) == 2000
    assert max(sizes) > 100
