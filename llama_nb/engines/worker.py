"""One thread that owns a model, a queue of jobs for it, and the iterator through which a caller waits.

The worker only appends to a job's list of events; the caller's place in the list is its own. So an interrupt,
a second one, or a caller that goes away can neither lose an event nor tear what the worker holds.
"""

import atexit
import contextlib
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

from llama_nb.core.errors import EngineError, LlamaError
from llama_nb.core.events import Finish, TokenEvent, Usage, Waiting, publish
from llama_nb.core.stop import StopFlag
from llama_nb.engines.interrupts import Note, hold, release

_POLL_S: Final = 0.1  # how often a waiting caller looks whether the worker is alive and whether to stop
# A caller that wakes for every token of a tiny model takes the interpreter from the worker: at 300 tokens/s
# waking it at most every 20 ms keeps the loop as fast as one without a thread.
_WAKE_S: Final = 0.02


class Ending(Protocol):
    """What comes of a job: the last event of one that says why it ended has `finish`."""

    @property
    def finish(self) -> Finish | None:
        """Why the job ended."""


E = TypeVar("E", bound=Ending)
Work = Callable[[Callable[[], str | None]], Iterator[E]]
Unstarted = Callable[[float, str], E]


class Job(Generic[E]):
    """One piece of work: what was asked, and the events that came of it so far.

    `unstarted` makes the one event of a job that was stopped while it waited; None: there is none.
    """

    def __init__(
        self, work: Work[E], purpose: str, stop: StopFlag, unstarted: Unstarted[E] | None = None
    ) -> None:
        self.work: Work[E] | None = work
        self.unstarted = unstarted
        self.purpose = purpose
        self.stop = stop
        self.note = Note()
        self.events: list[E] = []
        self.error: BaseException | None = None
        self.started = False
        self.done = False
        self.wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._woken = 0.0

    @property
    def over(self) -> bool:
        """Whether its caller has nothing more to wait for."""
        return self.done or bool(self.events and self.events[-1].finish is not None)

    def stopped(self) -> str | None:
        """Return why the job is to stop, None to go on."""
        if self.stop.is_set():
            return self.stop.reason or "stopped"
        return "interrupted" if self.note.count else None

    def run(self) -> None:
        """Do the work; never raises."""
        work, self.work = self.work, None
        try:
            for event in work(self.stopped) if work else ():
                self.events.append(event)
                now = time.perf_counter()
                if now - self._woken >= _WAKE_S or event.finish is not None:
                    self._woken = now
                    self.wake.put(None)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
            self.error = error
        finally:
            self.done = True
            self.wake.put(None)


class _Queue:
    """What the thread and the worker share; the thread must not keep the worker alive."""

    def __init__(self) -> None:
        self.waiting: deque[Job[Any]] = deque()
        self.running: Job[Any] | None = None
        self.changed = threading.Condition()
        self.closed = False

    def serve(self) -> None:
        while True:
            with self.changed:
                while not self.waiting and not self.closed:
                    self.changed.wait()
                if not self.waiting:
                    return
                job = self.waiting.popleft()
                self.running = job
                job.started = True
            job.run()
            with self.changed:
                self.running = None
            del job


class Worker:
    """The thread of one model. It starts with the first job, and again should it have died.

    Parameters
    ----------
    name
        The model's name, for messages and for the thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue = _Queue()
        self._thread: threading.Thread | None = None
        _workers.add(self)

    def stream(self, work: Work[TokenEvent], purpose: str, stop: StopFlag) -> "JobStream[TokenEvent]":
        """Return the events of `work`, which is queued with the first `next()`."""
        return JobStream(self, Job(work, purpose, stop, _never_started))

    def rows(self, work: Work[E], purpose: str, stop: StopFlag) -> "JobStream[E]":
        """Return the events of `work` as `stream` does; none if it is stopped before it began."""
        return JobStream(self, Job(work, purpose, stop))

    def submit(self, job: Job[Any]) -> None:
        """Queue a job."""
        with self._queue.changed:
            if self._queue.closed:
                raise EngineError(f"{self._name} is closed.", "Load it again with `%llama load`.")
            self._queue.waiting.append(job)
            if self._thread is None or not self._thread.is_alive():
                self._queue.running = None
                self._thread = threading.Thread(
                    target=self._queue.serve, name=f"llama-nb worker of {self._name}", daemon=True
                )
                self._thread.start()
            self._queue.changed.notify()

    def withdraw(self, job: Job[Any]) -> bool:
        """Take a job out of the queue; return False if it has started."""
        with self._queue.changed:
            if job in self._queue.waiting:
                self._queue.waiting.remove(job)
                return True
            return False

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def busy(self) -> str | None:
        """Return the purpose of the job that runs now, if any; one that has only to tidy up is over."""
        job = self._queue.running
        return job.purpose if job is not None and not job.over else None

    def ahead(self, job: Job[Any]) -> str | None:
        """Return what `job` waits for: the job that runs."""
        running = self._queue.running
        return f"{running.purpose} on {self._name}" if running is not None and running is not job else None

    def close(self, timeout: float = 2.0) -> None:
        """Stop the running job, give up the queued ones, and wait for the thread."""
        with self._queue.changed:
            self._queue.closed = True
            gone = list(self._queue.waiting)
            self._queue.waiting.clear()
            running = self._queue.running
            self._queue.changed.notify_all()
        for job in gone:
            job.error = EngineError(f"{self._name} was closed while {job.purpose} waited for it.")
            job.done = True
            job.wake.put(None)
        if running is not None:
            running.stop.set("the model was closed")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def __del__(self, suppress: type[contextlib.suppress] = contextlib.suppress) -> None:
        # The thread holds the queue only, so that a forgotten model ends its thread. The default argument is
        # there because module globals are None when the interpreter ends.
        with suppress(Exception):
            self._queue.closed = True
            if self._queue.changed.acquire(blocking=False):
                self._queue.changed.notify_all()
                self._queue.changed.release()


class JobStream(Iterator[E]):
    """The caller's side of a job. An interrupt while it waits stops the job; all events still come."""

    def __init__(self, worker: Worker, job: Job[E]) -> None:
        self._worker = worker
        self._job = job
        self._place = 0
        self._submitted = 0.0
        self._told: str | None = None
        self._over = False

    def __next__(self) -> E:
        if self._over:
            raise StopIteration
        hold(self._job.note)
        while True:
            try:
                event = self._poll()
            except KeyboardInterrupt:  # not from our handler, as on a front end with its own
                self._job.note.count += 1
                continue
            if event is not None:
                return event

    def _poll(self) -> E | None:
        """Return the next event if there is one, else wait a little."""
        job = self._job
        if not self._submitted:
            self._submitted = time.perf_counter()
            try:
                self._worker.submit(job)
            except LlamaError:
                self.close()
                raise
        if job.note.count and not job.stop.is_set():
            job.stop.set("interrupted")
        done = job.done
        if self._place < len(job.events):
            event = job.events[self._place]
            self._place += 1
            if event.finish is not None:
                self.close()
            return event
        if done:
            self.close()
            raise _for_caller(job.error) if job.error is not None else StopIteration
        if not job.started:
            if job.stop.is_set() and self._worker.withdraw(job):
                self.close()
                if job.unstarted is None:
                    raise StopIteration
                return job.unstarted(time.perf_counter() - self._submitted, job.stop.reason)
            self._tell()
        if not self._worker.alive() and not job.done:
            self.close()
            raise EngineError(
                "The worker thread of the model ended unexpectedly.",
                "Load the model again with `%llama load`.",
            )
        with contextlib.suppress(queue.Empty):
            job.wake.get(timeout=_POLL_S)
        return None

    def _tell(self) -> None:
        ahead = self._worker.ahead(self._job)
        if ahead is not None and ahead != self._told:
            self._told = ahead
            publish(Waiting(None, ahead))

    def close(self) -> None:
        """Stop the job if it is not over; safe at any time."""
        self._over = True
        release(self._job.note)
        if not self._job.over and not self._job.stop.is_set() and self._submitted:
            self._job.stop.set("nobody reads the reply any more")

    def __del__(self, suppress: type[contextlib.suppress] = contextlib.suppress) -> None:
        with suppress(Exception):
            if not self._over:
                self.close()


def _never_started(waited_s: float, reason: str) -> TokenEvent:
    finish = Finish("stopped", Usage(0, 0, 0, None, waited_s), None, reason)
    return TokenEvent("", elapsed_s=waited_s, finish=finish)


def _for_caller(error: BaseException) -> BaseException:
    if isinstance(error, LlamaError):
        return error
    wrapped = EngineError(
        f"The engine failed: {type(error).__name__}: {error}",
        "Run it again; with --debug the traceback is shown.",
    )
    wrapped.__cause__ = error
    return wrapped


_workers: "weakref.WeakSet[Worker]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    # A daemon thread inside torch while the interpreter goes down can crash the process.
    for worker in list(_workers):
        worker.close()
