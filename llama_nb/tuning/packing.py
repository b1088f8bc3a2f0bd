"""Rows of tokens to micro-batches: packed without seeing each other, or padded beside rows of like length.

Which rows stand together and in which order is a pure function of the seed and the micro-batch's number.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from llama_nb.tuning.encoding import Row
from llama_nb.tuning.order import shuffled

PADDING: Final = -1  # the segment of tokens that are not there
_SORTED_TOGETHER: Final = 16  # micro-batches whose rows are sorted by length, when they are not packed


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What the model computes at once.

    Attributes
    ----------
    ids
        Token ids, [B, T] int64; 0 where there is padding.
    positions
        Position of each token in its own row, [B, T] int64.
    segments
        Which of its line's rows a token belongs to, [B, T] int32; -1 is padding.
    trained
        Whether the token counts as a target, [B, T] bool; never the first of a row.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    trained: torch.Tensor

    @property
    def tokens(self) -> int:
        """How many tokens are computed that are no padding."""
        return int((self.segments != PADDING).sum())

    @property
    def trained_tokens(self) -> int:
        """How many tokens count as targets."""
        return int(self.trained.sum())

    def to(self, device: Any) -> "MicroBatch":
        """Return the same on another device."""
        moved = (tensor.to(device) for tensor in (self.ids, self.positions, self.segments, self.trained))
        return MicroBatch(*moved)


class BatchPlan:
    """All micro-batches of a run, each made when it is asked for.

    Parameters
    ----------
    rows
        The rows to train on.
    batch
        How many lines a micro-batch has: rows, or packs of rows.
    packing
        Put several rows into a line of at most `max_tokens` tokens.
    max_tokens
        The longest line, in tokens; no row is longer.
    seed
        Decides which rows stand together and their order in each epoch.

    Raises
    ------
    ValueError
        If there are no rows, or one is longer than a line.
    """

    def __init__(
        self, rows: Sequence[Row], *, batch: int, packing: bool, max_tokens: int, seed: int = 0
    ) -> None:
        longest = max((len(row.ids) for row in rows), default=0)
        if not 0 < longest <= max_tokens or batch < 1:
            raise ValueError(f"{len(rows)} rows of up to {longest} tokens in {batch} lines of {max_tokens}")
        self._rows = rows
        self._batch = batch
        self._seed = seed
        self._packing = packing
        self._lengths = np.array([len(row.ids) for row in rows])
        self._lines = self._pack(max_tokens) if packing else [[index] for index in range(len(rows))]
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    @property
    def per_epoch(self) -> int:
        """How many micro-batches see every row once."""
        return -(-len(self._lines) // self._batch)

    @property
    def tokens_per_epoch(self) -> int:
        """How many tokens of rows an epoch has."""
        return int(self._lengths.sum())

    def micro_batch(self, number: int) -> MicroBatch:
        """Return micro-batch `number`, from 0 and on through the epochs."""
        return collate([[self._rows[index] for index in self._lines[line]] for line in self._of(number)])

    def trained_tokens(self, number: int) -> int:
        """Return how many targets micro-batch `number` has, without making it."""
        return sum(
            int(self._rows[i].trained[1:].sum()) for line in self._of(number) for i in self._lines[line]
        )

    def _of(self, number: int) -> list[int]:
        """Return the lines of micro-batch `number`."""
        epoch, place = divmod(number, self.per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._groups(epoch))
        return self._epoch[1][place]

    def _groups(self, epoch: int) -> list[list[int]]:
        order = shuffled(len(self._lines), self._seed, epoch).tolist()
        size = self._batch
        if self._packing or size == 1:
            return [order[start : start + size] for start in range(0, len(order), size)]
        groups: list[list[int]] = []
        window = size * _SORTED_TOGETHER
        for start in range(0, len(order), window):
            alike = sorted(order[start : start + window], key=lambda line: -int(self._lengths[line]))
            groups += [alike[first : first + size] for first in range(0, len(alike), size)]
        return [groups[place] for place in shuffled(len(groups), self._seed, epoch, purpose=1)]

    def _pack(self, most: int) -> list[list[int]]:
        """Return lines of rows: the longest row first, each into the fullest line that it still fits into."""
        order = shuffled(len(self._rows), self._seed, 0, purpose=2).tolist()
        order.sort(key=lambda index: -int(self._lengths[index]))
        spaces: list[tuple[int, int]] = []  # (tokens that it still takes, line), ascending
        lines: list[list[int]] = []
        for index in order:
            length = int(self._lengths[index])
            place = bisect_left(spaces, (length, 0))
            space, line = spaces.pop(place) if place < len(spaces) else (most, len(lines))
            if line == len(lines):
                lines.append([])
            lines[line].append(index)
            insort(spaces, (space - length, line))
        return lines


def collate(lines: Sequence[Sequence[Row]]) -> MicroBatch:
    """Return lines of rows as one micro-batch, as wide as its longest line."""
    width = max(sum(len(row.ids) for row in line) for line in lines)
    shape = (len(lines), width)
    ids = np.zeros(shape, dtype=np.int64)
    # Positions go on through padding: where they restart, transformers would look for packed rows.
    positions = np.tile(np.arange(width, dtype=np.int64), (len(lines), 1))
    segments = np.full(shape, PADDING, dtype=np.int32)
    trained = np.zeros(shape, dtype=np.bool_)
    for number, line in enumerate(lines):
        start = 0
        for segment, row in enumerate(line):
            end = start + len(row.ids)
            ids[number, start:end] = row.ids
            positions[number, start:end] = np.arange(end - start)
            segments[number, start:end] = segment
            trained[number, start + 1 : end] = row.trained[1:]  # nothing foretells the first
            start = end
    return MicroBatch(*(torch.from_numpy(array) for array in (ids, positions, segments, trained)))


def attention_mask_for(micro_batch: MicroBatch, dtype: torch.dtype | None = None) -> torch.Tensor | None:
    """Return which token sees which, [B, 1, T, T]; None where causal is enough.

    A token sees those of its own row up to itself. Padding stands at the end, where no token sees it anyway,
    so only packed lines need a mask; in one, padding sees padding: no line of the softmax is empty.

    Parameters
    ----------
    dtype
        None: bool, True for "sees", as sdpa takes it. A floating type: 0 and that type's least number, which
        eager attention adds to its scores (a bool added there would hide nothing).
    """
    segments = micro_batch.segments
    if int(segments.max()) <= 0:
        return None
    width = segments.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool, device=segments.device).tril()
    sees = (segments[:, None, :, None] == segments[:, None, None, :]) & causal
    if dtype is None:
        return sees
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill_(
        ~sees, torch.finfo(dtype).min
    )
