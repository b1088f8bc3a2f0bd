"""A model loaded beside what is there, outside of the registry: to measure or compare it and give it back.

It has no name that a user could call, is never the current model, and replaces none.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llama_nb.core.stop import StopFlag
from llama_nb.runtime import process

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.loading.weights import Loaded


def open_beside(
    source: str,
    stop: StopFlag,
    *,
    device: str = "auto",
    dtype: str = "auto",
    quant: str | None = None,
    name: str | None = None,
) -> "tuple[Engine, Loaded]":
    """Load `source` and return its engine and its weights; the caller gives both back.

    Raises
    ------
    LoadError, FitError
        If it cannot be loaded, or does not fit beside what is loaded.
    LoadCancelled
        If `stop` was set.
    """
    process.prepare()
    from llama_nb.engines.registry import open_engine
    from llama_nb.loading.open import load_checked
    from llama_nb.loading.turn import turn
    from llama_nb.loading.weights import release

    with contextlib.ExitStack() as undo, turn(stop, source):
        loaded = load_checked(source, device=device, dtype=dtype, quant=quant, name=name, stop=stop)
        undo.callback(release, loaded)
        engine = open_engine(loaded)
        undo.pop_all()
    return engine, loaded


@contextlib.contextmanager
def given_back(pair: "tuple[Engine, Loaded]") -> "Iterator[tuple[Engine, Loaded]]":
    """Give back, after the block, what `open_beside` returned."""
    from llama_nb.loading.weights import release

    engine, loaded = pair
    with contextlib.ExitStack() as stack:
        stack.callback(release, loaded)
        stack.callback(engine.close)
        yield engine, loaded
