"""Keeps what was computed last, up to a number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shelf(Generic[T]):
    """A store that forgets what was not asked for the longest; any thread may use it.

    Parameters
    ----------
    most_bytes
        What is kept together takes no more; a larger value is not kept.
    size_of
        Bytes of a value.
    """

    def __init__(self, most_bytes: int, size_of: Callable[[T], int]) -> None:
        self._most, self._size_of = most_bytes, size_of
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """Return the value, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value."""
        if (size := self._size_of(value)) > self._most:
            return
        with self._lock:
            if key in self._kept:
                self._bytes -= self._size_of(self._kept.pop(key))
            self._kept[key] = value
            self._bytes += size
            while self._bytes > self._most:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= self._size_of(dropped)
