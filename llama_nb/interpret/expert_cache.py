"""How often a cache of n experts a layer would hold what a text's router asks for next.

Knows the chosen experts of tokens in the order of decoding, layer by layer, as numbers; knows no bytes. One
cache a layer, empty at first; a hit is an expert that is there when a token needs it.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.integer[Any]]
Floats: TypeAlias = npt.NDArray[np.float64]
# So often a layer is asked for an expert: the optimum takes a step in Python for each time.
_MOST_ASKED: Final = 16_384
_STRETCH: Final = 1024  # tokens
_EVERY_SIZE: Final = 16  # up to so many experts there is a figure for each size of the cache
_SURE: Final = 1 - 1e-9
_BLOCK: Final = 1 << 22  # numbers in memory at once


@dataclass(frozen=True, slots=True)
class CacheSize:
    """Hit rates, 0 to 1, of caches that hold `experts` of each layer.

    Attributes
    ----------
    lru
        The expert that was not used for longest makes room (least recently used).
    optimum
        The one that is not needed for longest makes room: no cache that loads what it lacks does better, but
        this one must know the future (Belady 1966).
    random
        What is expected, of a cache that is as empty at first, if experts were drawn without any pattern: in
        the long run the share of the layer that is held, with one expert a token.
    """

    experts: int
    lru: float
    optimum: float
    random: float


def cache_sizes(experts: int) -> list[int]:
    """Return the sizes of a cache that are worth a figure: each of few, else by factors of at most 1.5."""
    if experts <= _EVERY_SIZE:
        return list(range(1, experts + 1))
    powers = [1 << power for power in range(experts.bit_length())]
    return sorted(
        {size for power in powers for size in (power, power * 3 // 2) if size < experts} | {experts}
    )


def stretches(starts: Ints, length: int, per_token: int) -> list[slice]:
    """Return which tokens are simulated: all where they are few, else stretches spread over all of them.

    Parameters
    ----------
    starts
        Where documents begin, shape (D + 1,): a stretch begins with one where one begins nearby.
    length
        How many tokens there are.
    per_token
        How many experts of a layer each of them takes.
    """
    most = max(1, _MOST_ASKED // per_token)
    if length <= most:
        return [slice(0, length)]
    count = max(1, most // _STRETCH)
    size = most // count
    found = []
    for number in range(count):
        begin, end = length * number // count, length * (number + 1) // count
        nearby = starts[np.searchsorted(starts, begin)] if len(starts) else begin
        first = int(nearby) if begin <= nearby <= end - size else begin
        found.append(slice(first, first + size))
    return found


def simulate(chosen: Ints, experts: int) -> tuple[CacheSize, ...]:
    """Return the hit rates of caches of every size of `cache_sizes`.

    Parameters
    ----------
    chosen
        The experts of tokens in the order of decoding, shape (N, L, k); those of one token are asked for one
        after another.
    experts
        How many a layer has.
    """
    asked = chosen.transpose(1, 0, 2).reshape(chosen.shape[1], -1).astype(np.int64)  # (L, N * k)
    if asked.size == 0:
        return ()
    sizes = cache_sizes(experts)
    lru = _lru(asked, experts, sizes)
    optimum = _optimum(asked, experts, sizes)
    random = _random(len(chosen), chosen.shape[2], experts, sizes)
    return tuple(
        CacheSize(size, float(lru[i]), float(optimum[i]), float(random[i])) for i, size in enumerate(sizes)
    )


def _lru(asked: Ints, experts: int, sizes: list[int]) -> Floats:
    """Return the hit rate of each size of cache at once.

    What is asked for again is in a cache of n exactly if fewer than n other experts were asked for since
    (Mattson et al. 1970).
    """
    others = np.zeros(experts + 1, np.int64)  # how often so many others came between
    block = max(1, _BLOCK // experts)
    for row in asked:
        last = np.full(experts, -1, np.int64)
        for begin in range(0, len(row), block):
            part = row[begin : begin + block]
            times = np.arange(begin, begin + len(part))
            seen = np.full((len(part) + 1, experts), -1, np.int64)
            seen[0] = last
            seen[np.arange(1, len(part) + 1), part] = times
            np.maximum.accumulate(seen, axis=0, out=seen)
            before, last = seen[:-1], seen[-1].copy()  # (A, E): when each was asked for last
            own = before[np.arange(len(part)), part]
            between = (before > own[:, None]).sum(1)
            others += np.bincount(np.where(own < 0, experts, between), minlength=experts + 1)
    return others[:-1].cumsum()[np.array(sizes) - 1] / asked.size


def _optimum(asked: Ints, experts: int, sizes: list[int]) -> Floats:
    """Return the hit rate of each size of cache that knows what will be asked for."""
    layers, count = asked.shape
    again = _asked_again(asked)
    room = np.tile(sizes, layers)  # one cache a layer and size
    layer = np.repeat(np.arange(layers), len(sizes))
    each = np.arange(len(room))
    held = np.full((len(room), experts), -1, np.int64)  # when it is needed next; -1: not there
    free = room.copy()
    hits = np.zeros(len(room), np.int64)
    for time in range(count):
        wanted = asked[layer, time]
        there = held[each, wanted] >= 0
        hits += there
        missing = np.flatnonzero(~there)
        full = missing[free[missing] == 0]
        held[full, held[full].argmax(1)] = -1
        free[missing] -= free[missing] > 0
        held[each, wanted] = again[layer, time]
    return hits.reshape(layers, len(sizes)).sum(0) / asked.size


def _random(tokens: int, per_token: int, experts: int, sizes: list[int]) -> Floats:
    """Return the expected hit rate of each size of cache if each token drew its experts uniformly."""
    numbers, room = np.arange(experts + 1), np.array(sizes)
    held = np.minimum(numbers[:, None], room)  # (E + 1, S), by how many different ones were drawn so far
    known = np.zeros(experts + 1)  # the chance of each such number
    known[0] = 1
    hits = np.zeros(len(sizes))
    for token in range(tokens):
        before = hits.copy()
        for drawn in range(per_token):  # no token draws an expert twice
            left = experts - drawn
            hits += known @ (held - np.minimum(drawn, held)) / left
            new = known * (experts - numbers) / left
            known -= new
            known[1:] += new[:-1]
        if known[-1] > _SURE:  # nothing changes any more
            hits += (tokens - token - 1) * (hits - before)
            break
    found: Floats = hits / (tokens * per_token)
    return found


def _asked_again(asked: Ints) -> Ints:
    """Return when each expert that is asked for is asked for again, (L, A); never: behind the end."""
    count = asked.shape[1]
    order = np.argsort(asked, axis=1, kind="stable")
    sorted_ = np.take_along_axis(asked, order, axis=1)
    following = np.full_like(order, count)
    same = sorted_[:, :-1] == sorted_[:, 1:]
    following[:, :-1] = np.where(same, order[:, 1:], count)
    again = np.empty_like(order)
    np.put_along_axis(again, order, following, axis=1)
    return again
