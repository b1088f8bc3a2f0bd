"""The traces of this kernel, by short names that a page may say; none is kept alive for that."""

import itertools
import threading
import weakref
from typing import TYPE_CHECKING

from llama_nb.core.errors import TraceError

if TYPE_CHECKING:
    from llama_nb.interpret.attention import AttentionTrace

_numbers = itertools.count(1)
_known: "weakref.WeakValueDictionary[str, AttentionTrace]" = weakref.WeakValueDictionary()
_lock = threading.Lock()


def identify(trace: "AttentionTrace") -> str:
    """Return the name of a trace; the first time it gets one."""
    with _lock:
        for name, known in _known.items():
            if known is trace:
                return name
        name = f"t{next(_numbers)}"
        _known[name] = trace
        return name


def find_trace(name: str) -> "AttentionTrace":
    """Return the trace of a name, while somebody holds it.

    Raises
    ------
    TraceError
        If there is none.
    """
    with _lock:
        found = _known.get(name)
    if found is None:
        raise TraceError(f"There is no trace {name!r} any more.")
    return found


def traces() -> "dict[str, AttentionTrace]":
    """Return all of them by name."""
    with _lock:
        return dict(_known.items())
