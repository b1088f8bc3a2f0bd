"""One load at a time in a process, and nothing of transformers' or torch's left replaced after it.

While it builds a model transformers replaces functions of torch and methods of its own classes. Two threads
that do so at once put back each other's replacements: from then on no model with a tied head can be read. And
two loads would each count the same free memory as theirs.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

from llama_nb.core.stop import StopFlag
from llama_nb.loading.reading import check_stop

_LOOK_EVERY_S: Final = 0.2  # how soon a load that waits for another notices its stop flag

_lock = threading.RLock()
_depth = 0


@contextlib.contextmanager
def turn(stop: StopFlag | None, name: str) -> Iterator[None]:
    """Wait until no other thread loads a model; LoadCancelled if `stop` is set meanwhile.

    A thread that has its turn may take it again.
    """
    global _depth
    while not _lock.acquire(timeout=_LOOK_EVERY_S):
        check_stop(stop, name)
    try:
        _depth += 1
        yield
    finally:
        _depth -= 1
        _lock.release()


def is_taken() -> bool:
    """Whether a model is being loaded now; a load of another thread waits for it."""
    return _depth > 0


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Put back, after the block, what transformers replaces while it builds a model.

    It does so itself, but an interrupt in the middle of its clean-up would leave the replacements for good.
    """
    import torch
    from transformers.modeling_utils import PreTrainedModel

    places = ((PreTrainedModel, ("tie_weights", "init_weights")), (torch, ("linspace",)))
    before = [(owner, name, getattr(owner, name)) for owner, names in places for name in names]
    before += [(torch.nn.init, name, value) for name, value in vars(torch.nn.init).items() if callable(value)]
    dtype = torch.get_default_dtype()
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        torch.set_default_dtype(dtype)
