"""Imports peft without the warnings of what it imports itself, which nobody here uses."""

import contextlib
import importlib.util
import logging
from collections.abc import Iterator
from typing import Final

from llama_nb.core.errors import UnsupportedError

# peft imports torchao where it is installed; that warns of CUDA libraries, and torch of torchao's enums.
_CHATTY: Final = ("torchao", "torch.utils._pytree")


def require_peft() -> None:
    """Raise UnsupportedError if peft is not installed; it is looked for, not imported."""
    if importlib.util.find_spec("peft") is None:
        raise UnsupportedError("Adapters need peft: it is not installed.", "pip install 'llama-nb[train]'")


def import_peft() -> None:
    """Import peft, which takes seconds the first time; UnsupportedError if it is not installed."""
    require_peft()
    with _quiet():
        import peft  # noqa: F401 - imported for those who import from it


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
