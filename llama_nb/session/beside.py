"""A model loaded beside what is there, outside of the registry: to measure or compare it and give it back.

It has no name that a user could call, is never the current model, and replaces none.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_nb.core.events import quiet
from llama_nb.core.stop import StopFlag
from llama_nb.runtime import process
from llama_nb.session import registry
from llama_nb.session.replay import find_replayed

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
        # What stands beside a model that is played back comes from the same recording, if it is there.
        with quiet():
            played = find_replayed(source, None, name=name, quant=quant, dtype=dtype, also=_recordings())
        loaded: Any = played
        if loaded is None:
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
        if getattr(loaded, "kind", "") != "replay":  # else there is nothing to give back
            stack.callback(release, loaded)
        stack.callback(engine.close)
        yield engine, loaded


def _recordings() -> list[Path]:
    """Return the recordings that loaded models are played back from."""
    return [model.checked.folder for model in registry.loaded().values() if model.replayed]
