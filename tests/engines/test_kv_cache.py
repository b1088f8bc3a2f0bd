"""Caches: common prefixes, torn ones repaired, old ones dropped, and none valid for other weights."""

import pytest
import torch
from transformers import LlamaConfig

from llama_nb.engines.kv_cache import CacheEntry, CacheStore, GrowingLayer, common_prefix

CONFIG = LlamaConfig(
    vocab_size=16, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1
)


def fill(entry, ids, layers=3):
    for index in range(layers):
        states = torch.tensor(ids, dtype=torch.float32)[None, None, :, None].expand(1, 1, len(ids), 4)
        entry.cache.update(states, states + index, index)
    entry.ids.extend(ids)


def held(entry, index=0):
    return entry.cache.layers[index].keys[0, 0, :, 0].tolist()


def test_a_growing_layer_holds_what_transformers_layer_holds():
    entry = CacheEntry(CONFIG, 0)
    assert all(isinstance(layer, GrowingLayer) for layer in entry.cache.layers)
    for start in range(0, 700, 7):
        fill(entry, list(range(start, start + 7)))
    assert held(entry, 2) == list(range(700))
    assert entry.cache.get_seq_length() == 700
    entry.keep(100)
    fill(entry, [5, 6])
    assert held(entry) == [*range(100), 5, 6]
    assert entry.cache.layers[1].values[0, 0, -1, 0] == 7
    entry.keep(0)
    assert entry.cache.get_seq_length() == 0
    fill(entry, [9])
    assert held(entry) == [9]


def test_no_buffer_is_longer_than_the_context():
    store = CacheStore(CONFIG, context=300)
    entry = store.take("main", list(range(301)))
    for start in range(0, 300, 30):
        fill(entry, list(range(start, start + 30)))
    assert entry.nbytes() == 3 * 2 * 300 * 4 * 4  # layers, keys and values, tokens, head size, bytes
    borrowed = store.borrow("main", list(range(299)))
    fill(borrowed, [7] * 2)
    assert borrowed.nbytes() == entry.nbytes()
    assert held(borrowed) == [*range(298), 7, 7]
    free = CacheEntry(CONFIG, 0)
    fill(free, [1] * 300)
    assert free.nbytes() > entry.nbytes()
    fill(entry, [1])  # whoever asks for more than that gets it
    assert entry.cache.get_seq_length() == 301


def test_a_torn_cache_is_trimmed_to_its_shortest_layer():
    entry = CacheEntry(CONFIG, 0)
    fill(entry, [1, 2, 3, 4])
    fill(entry, [5, 6], layers=2)
    assert entry.keep(100) == 4
    assert entry.ids == [1, 2, 3, 4]
    assert {layer.get_seq_length() for layer in entry.cache.layers} == {4}


def test_taking_keeps_the_common_prefix_but_for_the_last_token():
    store = CacheStore(CONFIG)
    fill(store.take("main", [1, 2, 3]), [1, 2, 3])
    assert store.peek("main").shared([1, 2, 9]) == 2
    entry = store.take("main", [1, 2, 3])
    assert entry.ids == [1, 2]
    assert held(entry) == [1, 2]
    assert store.take("other", [1, 2, 3]).ids == []
    assert store.take(None, [1, 2]).ids == []
    assert store.peek(None) is None


def test_other_weights_make_every_cache_invalid():
    store = CacheStore(CONFIG)
    entry = store.take("main", [1, 2])
    fill(entry, [1, 2])
    store.raise_state()
    assert store.peek("main") is None
    assert store.take("main", [1, 2, 3]).ids == []


def test_the_least_recently_used_go_when_memory_is_short():
    one = 3 * 2 * (4 + 128) * 4 * 4  # layers, keys and values, tokens and room, head size, bytes
    store = CacheStore(CONFIG, limit=2 * one)
    for key in ("a", "b", "c"):
        fill(store.take(key, [1, 2, 3, 4]), [1, 2, 3, 4])
        assert store.peek(key).nbytes() == one
    store.take("a", [1, 2])
    store.shrink()
    assert store.peek("b") is None
    assert store.peek("a") is not None
    assert store.peek("c") is not None
    assert store.forget("a") == one
    assert store.forget("a") == 0
    assert store.forget() == one


def test_the_newest_cache_stays_however_large():
    store = CacheStore(CONFIG, limit=1)
    fill(store.take("a", [1, 2]), [1, 2])
    store.shrink()
    assert store.peek("a") is not None


@pytest.mark.parametrize(
    ("left", "right", "count"),
    [([], [1], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], (1, 2), 2), ([1, 5, 3], (1, 2, 3), 1), ([2], [1], 0)],
)
def test_common_prefix(left, right, count):
    assert common_prefix(left, right) == count
