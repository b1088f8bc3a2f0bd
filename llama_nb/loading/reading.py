"""Watching transformers while it reads weights: progress in bytes, and a stop between two tensors.

transformers lets one function of the process make its progress bars. Ours serves each thread that reads
here and passes everybody else on to whoever was asked before; with the last reader it is gone.
"""

import contextlib
import gc
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llama_nb.core.errors import LoadCancelled
from llama_nb.core.events import Progress, publish
from llama_nb.core.stop import StopFlag

_REPORT_EVERY: Final = 0.1  # seconds between Progress events
# What transformers calls the bar of the loop over a model's tensors.
_LOOP: Final = "Loading weights"

_readers: dict[int, "Reading"] = {}
_lock = threading.Lock()
_before: Any = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One model that is being read: its name, the bytes of its tensors in the files, and its stop flag."""

    name: str
    sizes: Mapping[str, int]
    stop: StopFlag | None

    def each(self, tensors: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Yield the tensors with their names, publish Progress, and end with LoadCancelled on a stop."""
        what, total = f"Reading the weights of {self.name}", sum(self.sizes.values())
        done, due = 0, 0.0
        try:
            for name, tensor in tensors:
                check_stop(self.stop, self.name)
                if time.monotonic() >= due:
                    publish(Progress(what, done, total, "B"))
                    due = time.monotonic() + _REPORT_EVERY
                yield name, tensor
                done += self.sizes.get(name, 0)
        finally:
            publish(Progress(what, done, total, "B", ended=True))


def check_stop(stop: StopFlag | None, name: str) -> None:
    """Raise LoadCancelled if somebody asked for the stop."""
    if stop is not None and stop.is_set():
        raise LoadCancelled(f"Loading {name} was stopped.", "What it had taken is given back.")


@contextlib.contextmanager
def watched(name: str, sizes: Mapping[str, int], stop: StopFlag | None = None) -> Iterator[None]:
    """Publish Progress while transformers reads a model in this thread, and stop when `stop` is set.

    Parameters
    ----------
    name
        What the model is called.
    sizes
        Bytes in the files by tensor name.

    Raises
    ------
    LoadCancelled
        Between two tensors, once `stop` is set.
    """
    thread = threading.get_ident()
    with _lock:
        if not _readers:
            _install()
        _readers[thread] = Reading(name, sizes, stop)
    try:
        yield
    finally:
        with _lock:
            _readers.pop(thread, None)
            if not _readers:
                _remove()


def _install() -> None:
    global _before
    from transformers.utils import logging

    _before = logging.set_tqdm_hook(_bar)


def _remove() -> None:
    from transformers.utils import logging

    there = logging.set_tqdm_hook(_before)
    if there is not _bar:  # somebody replaced ours meanwhile: theirs stays
        logging.set_tqdm_hook(there)


def _bar(factory: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Make a progress bar, as transformers asks for it."""
    reader = _readers.get(threading.get_ident())
    if reader is not None and options.get("desc") == _LOOP and arguments:
        return reader.each(arguments[0])
    return factory(*arguments, **options) if _before is None else _before(factory, arguments, options)


def drop_frames(error: BaseException) -> None:
    """Forget the local variables of the frames that `error` came through, a half-read model among them.

    A notebook keeps the last traceback, and with it whatever those frames hold.
    """
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    gc.collect()
