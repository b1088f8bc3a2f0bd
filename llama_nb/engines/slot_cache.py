"""The KV cache of a batch: one slot a row, each as long as its own row.

Rows are padded behind their end, so that a token's column is its position and causal attention never reaches
the padding while prompts are read; one token further, a mask covers it. Knows torch and transformers' caches.
"""

from collections.abc import Sequence
from typing import Any, Final

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_MARGIN: Final = 64  # columns that the buffers grow by at least


class _SlotLayer(DynamicLayer):
    """A layer's keys and values for all slots, shape (slots, heads, columns, head size)."""

    def __init__(self, slots: "SlotCache") -> None:
        super().__init__()
        self._slots = slots

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the new keys and values where the slots say, and return those that are attended to."""
        slots = self._slots
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = (
                states.new_zeros((0, states.shape[1], 0, states.shape[3]))
                for states in (key_states, value_states)
            )
        self._make_room(slots.rows, slots.room)
        both = ((self.keys, key_states), (self.values, value_states))
        for buffer, states in both:
            if slots.reading is None:
                buffer[slots.every, :, slots.lengths] = states[:, :, 0]
            else:
                first, start = slots.reading
                buffer[first : first + states.shape[0], :, start : start + states.shape[2]] = states
        first = slots.reading[0] if slots.reading is not None else 0
        seen = slice(first, first + key_states.shape[0])
        return self.keys[seen, :, : slots.columns], self.values[seen, :, : slots.columns]

    def get_seq_length(self) -> int:
        """Return how many columns there were before the tokens that are computed now."""
        return self._slots.before

    def move(self, source: int, target: int) -> None:
        """Put the row of one slot into another."""
        for buffer in (self.keys, self.values):
            buffer[target] = buffer[source]

    def clear(self, first: int) -> None:
        """Set the slots from `first` on to zero: NaN that a row left behind would pass any mask."""
        for buffer in (self.keys, self.values):
            if buffer is not None:
                buffer[first:].zero_()

    def _make_room(self, rows: int, columns: int) -> None:
        have = self.keys.shape
        if rows <= have[0] and columns <= have[2]:
            return
        columns += max(_MARGIN, columns // 4)
        kept = (min(rows, have[0]), min(columns, have[2]))
        grown = []
        for old in (self.keys, self.values):
            new = old.new_zeros((rows, have[1], columns, have[3]))
            new[: kept[0], :, : kept[1]] = old[: kept[0], :, : kept[1]]
            grown.append(new)
        self.keys, self.values = grown


class SlotCache:
    """Slots 0 to `rows` - 1 are taken; who computes says first what the new tokens are.

    Attributes
    ----------
    rows
        How many slots are taken.
    lengths
        How many tokens each row has in the cache, shape (rows,).
    room
        How many columns the buffers need.
    columns, before
        How many columns the tokens that are computed now see, and how many there were before them.
    reading
        The first slot and the first column of prompts that are read; None while each row gets one token.
    """

    def __init__(self, config: Any, device: Any) -> None:
        self.cache = DynamicCache(config=config)
        self.cache.layers = [_SlotLayer(self) for _ in range(config.num_hidden_layers)]
        self._device = device
        self.rows = 0
        self.lengths = torch.zeros(0, dtype=torch.long, device=device)
        self.every = torch.arange(0, device=device)
        self.room = self.columns = self.before = 0
        self.reading: tuple[int, int] | None = None

    @torch.inference_mode()
    def enter(self, rows: int, width: int) -> int:
        """Take `rows` more slots, for prompts of `width` tokens at most, and return the first of them."""
        first = self.rows
        self.room = max(width, int(self.lengths.max()) + 1 if first else 0)
        for layer in self.cache.layers:
            layer.clear(first)
        self._resize(first + rows)
        return first

    def read(self, first: int, start: int, width: int) -> None:
        """Say that the next tokens are columns `start` on of the prompts in the slots from `first` on."""
        self.reading, self.before, self.columns = (first, start), start, start + width

    @torch.inference_mode()
    def begin(self, first: int, lengths: Sequence[int]) -> None:
        """Say how long the prompts in the slots from `first` on are."""
        self.lengths[first:] = torch.tensor(lengths, device=self._device)

    @torch.inference_mode()
    def step(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Say that next each row gets one token; return the mask (rows, columns) and positions (rows, 1)."""
        self.reading = None
        self.columns = self.room = int(self.lengths.max()) + 1
        self.before = self.columns - 1
        columns = torch.arange(self.columns, device=self._device)
        return (columns <= self.lengths[:, None]).long(), self.lengths[:, None].clone()

    @torch.inference_mode()
    def stepped(self) -> None:
        """Say that the tokens of `step` are computed."""
        self.lengths += 1

    @torch.inference_mode()
    def leave(self, slot: int) -> int:
        """Give a slot back and return the slot whose row stands there now (itself: none does)."""
        last = self.rows - 1
        if slot != last:
            for layer in self.cache.layers:
                layer.move(last, slot)
            self.lengths[slot] = self.lengths[last]
        self._resize(last)
        return last

    def _resize(self, rows: int) -> None:
        lengths = torch.zeros(rows, dtype=torch.long, device=self._device)
        kept = min(rows, self.rows)
        lengths[:kept] = self.lengths[:kept]
        self.rows, self.lengths = rows, lengths
        self.every = torch.arange(rows, device=self._device)
