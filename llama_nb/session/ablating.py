"""Parts of a model turned off for a block of code: what is off, for which model, and for whom.

What is off stands in a context variable: requests that are made in the block copy it, nothing else sees it.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llama_nb.core.intervention import Intervention, merged

if TYPE_CHECKING:
    from llama_nb.session.handle import Handle

_Off = tuple[tuple["Handle", tuple[Intervention, ...]], ...]
_off: contextvars.ContextVar[_Off] = contextvars.ContextVar("what is turned off in models", default=())


def active(model: "Handle") -> tuple[Intervention, ...]:
    """Return what is turned off in `model` for who asks here; nothing outside of `Model.ablate`."""
    return next((parts for held, parts in _off.get() if held is model), ())


@contextlib.contextmanager
def turned_off(model: "Handle", parts: Sequence[Intervention]) -> Iterator[tuple[Intervention, ...]]:
    """Turn `parts` off, besides those that are off already, for what is asked of `model` in the block."""
    together = merged(active(model), parts)
    token = _off.set((*(pair for pair in _off.get() if pair[0] is not model), (model, together)))
    try:
        yield together
    finally:
        _off.reset(token)
