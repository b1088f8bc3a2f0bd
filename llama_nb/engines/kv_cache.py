"""The KV caches of one model: one a chat, reused up to the longest common prefix of token ids.

A cache is valid for its token ids and the model's state number. Knows torch and transformers' cache classes.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from llama_nb.core.request import APART

DEFAULT_LIMIT = 2**30  # bytes that the caches of one model may hold together
_MARGIN = 128  # tokens that a layer's buffer grows by at least


class GrowingLayer(DynamicLayer):
    """A layer's keys and values in buffers with room to grow, shape (1, heads, room, head size).

    transformers' own layer copies the whole cache at every token. `most` is how many tokens there can ever
    be: a quarter more than an 8B at 131,072 tokens needs would be 4 GB for nothing.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._most = most
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None
        self._length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append, and return all keys and all values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self._length
        end = start + key_states.shape[-2]
        if self._buffers is None or end > self._buffers[0].shape[-2]:
            self._grow(key_states, value_states, end)
        keys, values = self._buffers  # type: ignore[misc]
        keys[..., start:end, :] = key_states
        values[..., start:end, :] = value_states
        self.keys, self.values = keys[..., :end, :], values[..., :end, :]
        self._length = end
        return self.keys, self.values

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; the argument is negative or zero, as transformers has it."""
        if tokens_to_remove == 0 or self._buffers is None:
            return
        self._length = max(0, self._length - abs(tokens_to_remove))
        self.keys = self._buffers[0][..., : self._length, :]
        self.values = self._buffers[1][..., : self._length, :]

    def borrow(self, count: int) -> "GrowingLayer":
        """Return a layer of the first `count` tokens, whose own tokens go into buffers of its own."""
        other = GrowingLayer(self._most)
        if self._buffers is not None:
            keys, values = (buffer[..., :count, :] for buffer in self._buffers)
            other.lazy_initialization(keys, values)
            other.keys, other.values = keys, values
            other._length = count
        return other

    def _grow(self, key_states: torch.Tensor, value_states: torch.Tensor, needed: int) -> None:
        room = needed + max(_MARGIN, needed // 4)
        if self._most is not None:
            room = max(needed, min(room, self._most))
        grown = []
        for old, new in ((self.keys, key_states), (self.values, value_states)):
            buffer = new.new_empty((*new.shape[:-2], room, new.shape[-1]))
            if self._length:
                buffer[..., : self._length, :] = old[..., : self._length, :]
            grown.append(buffer)
        self._buffers = (grown[0], grown[1])

    def nbytes(self) -> int:
        """Return the bytes that the buffers take."""
        return sum(buffer.nbytes for buffer in self._buffers or ())


class CacheEntry:
    """A cache of `most` tokens, the ids whose keys and values it holds, and the state that they came from."""

    def __init__(self, config: Any, state: int, most: int | None = None) -> None:
        self._config, self._most = config, most
        self.cache = _new_cache(config, most)
        self.ids: list[int] = []
        self.state = state
        # What the last generation answered, and with which tokens: it can be continued exactly.
        self.prompt: tuple[int, ...] = ()
        self.reply: tuple[int, ...] = ()
        self.reply_text = ""
        self.surprise: float | None = None

    def remember(
        self, prompt: tuple[int, ...], reply: tuple[int, ...], text: str, surprise: float | None = None
    ) -> None:
        """Note the last generation, the text of its reply, and where mirostat came to in it."""
        self.prompt, self.reply, self.reply_text, self.surprise = prompt, reply, text, surprise

    def shared(self, ids: Sequence[int]) -> int:
        """Count the leading `ids` that the cache holds, all but the last at most: it is always computed."""
        return max(0, min(common_prefix(self.ids, ids), len(ids) - 1))

    def borrow(self, ids: Sequence[int]) -> "CacheEntry":
        """Return a cache that holds what this one shares with `ids`; whatever it computes, this one stays.

        Its first token copies the keys and values that it borrowed: for that long they take memory twice.
        """
        entry = CacheEntry(self._config, self.state, self._most)
        layers = self.cache.layers
        if layers and all(isinstance(layer, GrowingLayer) for layer in layers):
            count = min(self.shared(ids), *(int(layer.get_seq_length()) for layer in layers))
            entry.cache.layers = [layer.borrow(count) for layer in layers]
            entry.ids = self.ids[:count]
        return entry

    def keep(self, count: int) -> int:
        """Trim every layer to the first `count` tokens, fewer where a layer holds fewer; return how many."""
        lengths = [int(layer.get_seq_length()) for layer in self.cache.layers] or [0]
        count = min(count, len(self.ids), *lengths)
        try:
            for layer, length in zip(self.cache.layers, lengths, strict=False):
                if count < length:
                    layer.crop(count - length)
        except RuntimeError:  # a sliding-window layer that has forgotten what it would need
            self.cache = _new_cache(self._config, self._most)
            count = 0
        del self.ids[count:]
        return count

    def nbytes(self) -> int:
        """Return the bytes that keys and values take."""
        total = 0
        for layer in self.cache.layers:
            if isinstance(layer, GrowingLayer):
                total += layer.nbytes()
            elif layer.is_initialized:
                total += layer.keys.nbytes + layer.values.nbytes
        return total


def _new_cache(config: Any, most: int | None) -> DynamicCache:
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer(most) if _sees_all(layer, most) else layer for layer in cache.layers]
    return cache


def sees_all(config: Any, context: int) -> bool:
    """Whether each layer attends to all of `context` tokens: no window and no chunk of it is shorter."""
    return all(_sees_all(layer, context) for layer in DynamicCache(config=config).layers)


def _sees_all(layer: Any, tokens: int | None) -> bool:
    window = getattr(layer, "sliding_window", None)  # Llama 4's chunks have it too
    return type(layer) is DynamicLayer if window is None else tokens is not None and window >= tokens


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Count the leading tokens that two sequences share."""
    shorter = min(len(left), len(right))
    if tuple(left[:shorter]) == tuple(right[:shorter]):
        return shorter
    for place, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return place
    return shorter


class CacheStore:
    """The caches by key, the least recently used dropped when they hold more than `limit` bytes.

    None of them grows beyond `context` tokens.
    """

    def __init__(self, config: Any, limit: int = DEFAULT_LIMIT, context: int | None = None) -> None:
        self._config, self._context = config, context
        self._limit = limit
        self._state = 0
        self._entries: OrderedDict[str, CacheEntry] = OrderedDict()
        self._lock = threading.Lock()

    def raise_state(self) -> None:
        """Make every cache invalid: the weights or the adapters changed."""
        with self._lock:
            self._state += 1
            self._entries.clear()

    def take(self, key: str | None, ids: Sequence[int]) -> CacheEntry:
        """Return the cache of `key` trimmed to what it shares with `ids`, all but the last at most."""
        with self._lock:
            entry = self._entries.get(key) if key is not None else None
            if entry is None or entry.state != self._state:
                entry = self._new()
            if key is not None:
                self._entries[key] = entry
                self._entries.move_to_end(key)
        entry.keep(entry.shared(ids))
        return entry

    def peek(self, key: str | None) -> CacheEntry | None:
        """Return the cache of `key` as it is, if there is a valid one."""
        with self._lock:
            entry = self._entries.get(key) if key is not None else None
            return entry if entry is not None and entry.state == self._state else None

    def borrow(self, key: str | None, ids: Sequence[int]) -> CacheEntry:
        """Return a cache apart that begins with what the cache of `key` shares with `ids`."""
        return (self.peek(key) or self._new()).borrow(ids)

    def _new(self) -> CacheEntry:
        return CacheEntry(self._config, self._state, self._context)

    def shrink(self) -> None:
        """Drop the least recently used caches beyond the limit; the newest one stays."""
        with self._lock:
            sizes = {key: entry.nbytes() for key, entry in self._entries.items()}
            total = sum(sizes.values())
            while total > self._limit and len(self._entries) > 1:
                key, _ = self._entries.popitem(last=False)
                total -= sizes[key]

    def forget(self, key: str | None = None) -> int:
        """Drop one cache with those that it has for adapters, or all; return the bytes given back."""
        with self._lock:
            names = [name for name in self._entries if key in (None, name, name.partition(APART)[0])]
            gone = [self._entries.pop(name) for name in names]
        return sum(entry.nbytes() for entry in gone)
