"""Loading a model in the background: how far it is, cancelling it, and how it ended.

Knows the registry and the events of loading; knows no page. A job's progress goes to its own watcher and into
no cell, since the cell that started it is long over.
"""

import atexit
import contextvars
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from llama_nb.core import events
from llama_nb.core.errors import LlamaError, LoadCancelled
from llama_nb.core.stop import StopFlag
from llama_nb.loading import turn
from llama_nb.runtime.secrets import redact
from llama_nb.session import registry

State = Literal["running", "done", "failed", "cancelled"]

EVERY_S: Final = 0.2  # at most so often is the watcher told of bytes
_RATE_AFTER_S: Final = 1.0  # a rate of less than a second says nothing about the time left
_EXIT_WAIT_S: Final = 2.0
_MOST_NOTES: Final = 8

_log = logging.getLogger("llama_nb")
_running: set["LoadJob"] = set()
_running_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Choice:
    """What to load and how; the fields are the options of `registry.load`."""

    source: str
    quant: str | None = None
    device: str = "auto"
    context: int | None = None


@dataclass(frozen=True, slots=True)
class JobState:
    """How far a load is.

    Attributes
    ----------
    what
        The phase in words: "downloading ...", "reading the weights of ...".
    done, total
        Of the phase, in `unit`; the total is None where nobody knows it.
    left_s
        Seconds until the phase ends at the rate so far; None before there is a rate.
    spent_s
        Seconds since the load began.
    cancelling
        Whether it was asked to stop.
    notes
        Sentences that loading had to say (a shortened context, a replaced model).
    model, bytes, chats
        The name and the size in memory of the model, once it is loaded, and whether it has a chat template.
    message, hint
        Of the error, if it failed.
    """

    choice: Choice
    state: State = "running"
    what: str = "waiting"
    done: float = 0
    total: float | None = None
    unit: str = "B"
    left_s: float | None = None
    spent_s: float = 0.0
    cancelling: bool = False
    notes: tuple[str, ...] = field(default=())
    model: str = ""
    bytes: int = 0
    chats: bool = True
    message: str = ""
    hint: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state != "running"


class LoadJob:
    """One load on a thread of its own.

    Parameters
    ----------
    choice
        What to load.
    on_change
        Called when `state` is a new one, from any thread; at most every 0.2 s while bytes are counted.
    """

    def __init__(self, choice: Choice, on_change: Callable[["LoadJob"], None] = lambda _: None) -> None:
        self.state = JobState(choice)
        self._changing = threading.Lock()
        self._on_change = on_change
        self._stop = StopFlag()
        self._began = self._phase_began = time.monotonic()
        self._due = 0.0
        # What is printed on the thread belongs to whoever started it, not to the cell that happens to run.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._work,), name=f"llama-nb load ({choice.source})", daemon=True
        )

    def start(self) -> "LoadJob":
        """Begin, and return the job."""
        with _running_lock:
            _running.add(self)
        self._thread.start()
        return self

    def cancel(self, reason: str = "cancelled") -> None:
        """Ask for the end; the state becomes "cancelled" once everything is given back."""
        self._stop.set(reason)
        self._change(cancelling=True)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most `timeout` seconds; return whether it came."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        choice = self.state.choice
        self._change(what=_first_phase())
        try:
            with events.captured(self._observe):
                model = registry.load(
                    choice.source,
                    quant=choice.quant,
                    device=choice.device,
                    context=choice.context,
                    stop=self._stop,
                )
        except LoadCancelled:
            self._end("cancelled")
        except LlamaError as error:
            self._end("failed", message=redact(error.message), hint=redact(error.hint))
        except Exception as error:  # noqa: BLE001 - whatever it is, the watcher is told
            _log.exception("loading %s failed", choice.source)
            self._end(
                "failed",
                message=redact(f"{type(error).__name__}: {error}".rstrip(": ")),
                hint=f"The whole traceback: %llama load {choice.source} --debug",
            )
        else:
            self._end("done", model=model.name, bytes=model.bytes, chats=model.engine.has_chat_template)

    def _observe(self, event: events.Event) -> None:
        match event:
            case events.Progress():
                self._advance(event)
            case events.Note(text):
                self._change(notes=(*self.state.notes, text)[-_MOST_NOTES:])

    def _advance(self, progress: events.Progress) -> None:
        now = time.monotonic()
        if progress.what != self.state.what:
            self._phase_began, self._due = now, 0.0
        elif now < self._due and not progress.ended:
            return
        self._due = now + EVERY_S
        spent, done, total = now - self._phase_began, progress.done, progress.total
        known = total and done > 0 and spent >= _RATE_AFTER_S
        left = spent * (total - done) / done if known and total else None
        self._change(what=progress.what, done=done, total=total, unit=progress.unit, left_s=left)

    def _end(self, state: State, **changes: object) -> None:
        with _running_lock:
            _running.discard(self)
        self._change(state=state, cancelling=False, left_s=None, **changes)

    def _change(self, **changes: object) -> None:
        with self._changing:
            if self.state.ended:
                return
            spent = time.monotonic() - self._began
            self.state = replace(self.state, spent_s=spent, **changes)  # type: ignore[arg-type]
        try:
            self._on_change(self)
        except Exception:  # noqa: BLE001 - whatever a view does wrong, the load goes on
            _log.exception("the watcher of a load failed")


def _first_phase() -> str:
    """What happens before there is anything to count."""
    if turn.is_taken():
        return "waiting until another model is loaded"
    return "checking the files" if "torch" in sys.modules else "starting PyTorch"


def cancel_all(reason: str = "cancelled") -> int:
    """Cancel every load in the background, and return how many those were."""
    with _running_lock:
        jobs = tuple(_running)
    for job in jobs:
        job.cancel(reason)
    return len(jobs)


@atexit.register
def _cancel_at_exit() -> None:
    """End what loads, so that the interpreter does not end in the middle of torch."""
    with _running_lock:
        jobs = tuple(_running)
    cancel_all("the session ends")
    for job in jobs:
        job.join(_EXIT_WAIT_S)
