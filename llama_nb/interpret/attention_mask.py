"""Which keys each query of a layer may read, kept small: an interval a row, or bits where it is none.

Causal, sliding and chunked attention allow intervals, and so does what padding leaves of them. Knows masks as
the model made them; knows no heads and no weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

_ROWS: Final = 1024  # of a mask are looked at together: at 32,768 keys their int32 numbers are 134 MB

Places = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Allowed:
    """The keys that each query may read.

    Attributes
    ----------
    first, last
        The first and the last of them, int32 of shape (T,); where `last < first` there is none.
    bits
        With gaps between them: which they are, packed, uint8 of shape (T, (T + 7) // 8); else None.
    """

    first: Places
    last: Places
    bits: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.first)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return self.first.nbytes + self.last.nbytes + (self.bits.nbytes if self.bits is not None else 0)

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range of keys outside of which no query of a range reads anything."""
        reads = self.last[start:stop] >= self.first[start:stop]
        if not reads.any():
            return 0, 0
        return int(self.first[start:stop][reads].min()), int(self.last[start:stop][reads].max()) + 1

    def hide(self, values: torch.Tensor, start: int, low: int, value: float) -> None:
        """Put `value` where keys must not be read.

        Parameters
        ----------
        values
            Is changed: (..., queries, keys), of the queries from `start` on and the keys from `low` on.
        """
        stop, high = start + values.shape[-2], low + values.shape[-1]
        for left, right in self._mixed(start, stop, low, high):
            forbidden = self._forbidden(start, stop, left, right, values.device)
            values[..., left - low : right - low].masked_fill_(forbidden, value)

    def _mixed(self, start: int, stop: int, low: int, high: int) -> list[tuple[int, int]]:
        """The ranges of keys that not all of these queries may read: under a causal mask those at the end."""
        if self.bits is not None:
            return [(low, high)]
        begin = max(low, int(self.first[start:stop].max()))
        end = min(high, int(self.last[start:stop].min()) + 1)
        if begin >= end:
            return [(low, high)]
        return [(left, right) for left, right in ((low, begin), (end, high)) if left < right]

    def _forbidden(self, start: int, stop: int, low: int, high: int, device: torch.device) -> torch.Tensor:
        """Return which keys queries must not read, (stop - start, high - low)."""
        if self.bits is not None:
            read = np.unpackbits(self.bits[start:stop], axis=1, count=len(self))[:, low:high]
            return torch.from_numpy(read == 0).to(device)
        keys = torch.arange(low, high, dtype=torch.int32, device=device)
        begin = torch.from_numpy(np.ascontiguousarray(self.first[start:stop])).to(device)[:, None]
        end = torch.from_numpy(np.ascontiguousarray(self.last[start:stop])).to(device)[:, None]
        return (keys < begin) | (keys > end)


def causal(stop: int, start: int = 0) -> Allowed:
    """Return the mask under which the tokens from `start` up to `stop` read themselves and all before."""
    return Allowed(np.zeros(stop - start, dtype=np.int32), np.arange(start, stop, dtype=np.int32))


def joined(pieces: Sequence[Allowed]) -> Allowed:
    """Return the mask of all queries from those of the first ones, the next ones and so on."""
    first = np.concatenate([piece.first for piece in pieces])
    last = np.concatenate([piece.last for piece in pieces])
    if all(piece.bits is None for piece in pieces):
        return Allowed(first, last)
    length = len(first)
    bits = np.zeros((length, (length + 7) // 8), dtype=np.uint8)
    start = 0
    for piece in pieces:
        rows = bits[start : start + len(piece)]
        if piece.bits is not None:
            rows[:, : piece.bits.shape[1]] = piece.bits
        else:
            keys = np.arange(length)
            rows[:] = np.packbits((keys >= piece.first[:, None]) & (keys <= piece.last[:, None]), axis=1)
        start += len(piece)
    return Allowed(first, last, bits)


def compact(mask: torch.Tensor) -> Allowed:
    """Return what a boolean mask of shape (n, T) allows to n queries; True stands for "may read"."""
    if not len(mask):
        return causal(0)
    pieces = [_intervals(mask[start : start + _ROWS]) for start in range(0, len(mask), _ROWS)]
    first, last, gaps = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    if not gaps.any():
        return Allowed(first, last)
    packed = [
        np.packbits(mask[start : start + _ROWS].cpu().numpy(), axis=1) for start in range(0, len(mask), _ROWS)
    ]
    return Allowed(first, last, np.concatenate(packed))


def _intervals(rows: torch.Tensor) -> tuple[Places, Places, npt.NDArray[np.bool_]]:
    """First and last key of each row, and whether there are gaps between them."""
    count = rows.sum(1, dtype=torch.int32)
    first = rows.to(torch.uint8).argmax(1).to(torch.int32)
    places = torch.arange(rows.shape[1], dtype=torch.int32, device=rows.device)
    last = torch.where(rows, places, -1).amax(1)
    gaps = (count > 0) & (last - first + 1 != count)
    return first.cpu().numpy(), last.cpu().numpy(), gaps.cpu().numpy()
