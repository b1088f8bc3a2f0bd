"""Runs a measurement where a model runs, ended by a flag that may stop other work too."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from llama_nb.core.errors import Stopped
from llama_nb.core.stop import StopFlag

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine

T = TypeVar("T")


def measured(
    engine: "Engine", flag: StopFlag, work: Callable[[Any, Callable[[], str | None]], T], purpose: str
) -> T:
    """Return what `work(module, stopped)` returns; it runs on the engine's worker, alone.

    Raises
    ------
    Stopped
        If `flag` was set, or somebody stopped the measurement; then the flag is set, too.
    """
    # A flag of its own: the engine sets it when a call is over.
    own = StopFlag()

    def watched(module: Any, stopped: Callable[[], str | None]) -> T:
        return work(module, lambda: flag.reason if flag.is_set() else stopped())

    try:
        result = engine.examine(watched, purpose, own)
    except Stopped:
        result = None
    if result is None or own.is_set():
        flag.set(own.reason)
    if result is None or flag.is_set():
        raise Stopped("The measurement was stopped.")
    return result
