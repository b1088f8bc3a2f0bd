"""One thread that owns a model, a queue of jobs for it, and the iterator through which a caller waits.

The worker only appends to a job's list of events; the caller's place in the list is its own. So an interrupt,
a second one, or a caller that goes away can neither lose an event nor tear what the worker holds.
"""

import atexit
import contextlib
import math
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, Generic, Protocol, TypeVar

from llama_nb.core.errors import EngineError, LlamaError
from llama_nb.core.events import Finish, TokenEvent, Usage, Waiting, publish
from llama_nb.core.stop import StopFlag
from llama_nb.engines.interrupts import hold, release
from llama_nb.engines.job import E, Job, JobQueue, Work

_POLL_S: Final = 0.1  # how often a waiting caller looks whether the worker is alive and whether to stop
_STEP_S: Final = 1.0  # whoever waits less than this for a step of an exclusive job is not told of it
_CLOSE_S: Final = 2.0
_CLOSE_EXCLUSIVE_S: Final = 8.0  # a training that is closed writes a checkpoint first

T = TypeVar("T")
Around = Callable[[], AbstractContextManager[Any]]


class Serve(Protocol):
    """How long work lets others have the model; see Worker.serve."""

    def __call__(self, around: Around, timeout: float = 0.0) -> int:
        """Run what waits inside `around()` and return how many jobs that were."""


class Worker:
    """The thread of one model. It starts with the first job, and again should it have died.

    Parameters
    ----------
    name
        The model's name, for messages and for the thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue = JobQueue()
        self._thread: threading.Thread | None = None
        _workers.add(self)

    def stream(self, work: Work[TokenEvent], purpose: str, stop: StopFlag) -> "JobStream[TokenEvent]":
        """Return the events of `work`, which is queued with the first `next()`."""
        return JobStream(self, Job(work, purpose, stop, _never_started))

    def rows(self, work: Work[E], purpose: str, stop: StopFlag) -> "JobStream[E]":
        """Return the events of `work` as `stream` does; none if it is stopped before it began."""
        return JobStream(self, Job(work, purpose, stop))

    def begin(self, background: "Background[T]") -> "Background[T]":
        """Queue long work that serves others in between, and return it at once."""
        self.submit(background.job)
        return background

    def serve(self, around: Around, timeout: float = 0.0) -> int:
        """Run the jobs that wait, and those that come meanwhile, inside `around()`; return how many.

        For the exclusive job alone, on the worker's thread. Where none waits, one is awaited for at most
        `timeout` seconds; `around` is entered only if there is one.
        """
        running = self._queue.running
        assert running is not None
        assert running.exclusive
        assert threading.current_thread() is self._thread
        count = 0
        if self._queue.await_served(timeout):
            with around():
                while (job := self._queue.next_served()) is not None:
                    try:
                        job.run()
                    finally:
                        self._queue.served = None
                    count += 1
        return count

    def submit(self, job: Job[Any]) -> None:
        """Queue a job."""
        with self._queue.changed:
            if self._queue.closed:
                raise EngineError(f"{self._name} is closed.", "Load it again with `%llama load`.")
            self._queue.waiting.append(job)
            if self._thread is None or not self._thread.is_alive():
                self._queue.running = self._queue.served = None
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
        """Return the purpose of the job that runs now, if any; one that has only to tidy up is over.

        An exclusive one keeps nobody waiting for long: `background` tells of it.
        """
        job = self._now()
        return job.purpose if job is not None and not (job.over or job.exclusive) else None

    def background(self) -> "Background[Any] | None":
        """Return the exclusive work that runs or waits, if any."""
        with self._queue.changed:
            jobs = (self._queue.running, *self._queue.waiting)
        return next(
            (job.background for job in jobs if job is not None and job.background and not job.done), None
        )

    def ahead(self, job: Job[Any], waited: float = math.inf) -> str | None:
        """Return what `job` waits for: the job that runs; a step of an exclusive one after a while only."""
        running = self._queue.running if job.exclusive else self._now()
        if (
            running is None
            or running is job
            or (running.exclusive and not job.exclusive and waited < _STEP_S)
        ):
            return None
        return f"{running.purpose} on {self._name}"

    def _now(self) -> Job[Any] | None:
        return self._queue.served or self._queue.running

    def close(self, timeout: float = _CLOSE_S) -> None:
        """Stop what runs, give up what is queued, and wait for the thread; longer for exclusive work."""
        with self._queue.changed:
            self._queue.closed = True
            gone = list(self._queue.waiting)
            self._queue.waiting.clear()
            running, served = self._queue.running, self._queue.served
            self._queue.changed.notify_all()
        for job in gone:
            job.give_up(EngineError(f"{self._name} was closed while {job.purpose} waited for it."))
        for under_way in (served, running):
            if under_way is not None:
                under_way.stop.set("the model was closed")
                timeout = max(timeout, _CLOSE_EXCLUSIVE_S) if under_way.exclusive else timeout
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
        ahead = self._worker.ahead(self._job, time.perf_counter() - self._submitted)
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


class Background(Generic[T]):
    """Long work that goes on while others are served: a training.

    Parameters
    ----------
    worker
        Whose thread does it.
    work
        What is done; told by a function whether to stop, and why.
    purpose
        What it is, for those who wait for it: "the training of persona".
    detail
        Says how far it is: "step 40 of 200".
    given_up
        Called if it will never begin, since it was stopped or the model closed before.

    Attributes
    ----------
    result, error
        What came of it once it is `done`.
    """

    def __init__(
        self,
        worker: Worker,
        work: Callable[[Callable[[], str | None]], T],
        purpose: str,
        *,
        detail: Callable[[], str] = lambda: "",
        given_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.purpose = purpose
        self._detail = detail
        self.given_up = given_up
        self.result: T | None = None
        self._worker = worker

        def once(stopped: Callable[[], str | None]) -> Iterator[TokenEvent]:
            self.result = work(stopped)
            return iter(())

        self.job: Job[TokenEvent] = Job(once, purpose, StopFlag())
        self.job.background = self

    def detail(self) -> str:
        """Return how far it is."""
        return self._detail()

    @property
    def done(self) -> bool:
        """Whether it is over, or was given up before it began."""
        return self.job.done

    @property
    def error(self) -> BaseException | None:
        """What it raised, if anything."""
        return self.job.error

    def stop(self, reason: str = "stopped") -> None:
        """Ask it to stop; what waits in the queue is taken out of it."""
        self.job.stop.set(reason)
        if self._worker.withdraw(self.job):
            self.job.give_up()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is done, at most `timeout` seconds; return whether it is."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.job.done and self._worker.alive():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S / 2)
        return True


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
