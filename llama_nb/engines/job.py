"""A piece of work for a model's worker with what came of it, and the queue in which it waits.

The thread appends to a job's list of events and nobody else does; its place in the list is the caller's own.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from llama_nb.core.events import Finish
from llama_nb.core.stop import StopFlag
from llama_nb.engines.interrupts import Note

if TYPE_CHECKING:
    from llama_nb.engines.worker import Background

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
    One with a `background` is exclusive: it takes long, and serves the others in between.
    """

    def __init__(
        self, work: Work[E], purpose: str, stop: StopFlag, unstarted: Unstarted[E] | None = None
    ) -> None:
        self.work: Work[E] | None = work
        self.unstarted = unstarted
        self.background: Background[Any] | None = None
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
    def exclusive(self) -> bool:
        """Whether it serves others in between, but none of its own kind."""
        return self.background is not None

    @property
    def over(self) -> bool:
        """Whether its caller has nothing more to wait for."""
        return self.done or bool(self.events and self.events[-1].finish is not None)

    def stopped(self) -> str | None:
        """Return why the job is to stop, None to go on."""
        if self.stop.is_set():
            return self.stop.reason or "stopped"
        return "interrupted" if self.note.count else None

    def give_up(self, error: BaseException | None = None) -> None:
        """End it before it began."""
        self.error = error
        self.done = True
        self.wake.put(None)
        if self.background is not None:
            self.background.given_up()

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


class JobQueue:
    """What the worker's thread and the worker share; the thread must not keep the worker alive."""

    def __init__(self) -> None:
        self.waiting: deque[Job[Any]] = deque()
        self.running: Job[Any] | None = None
        self.served: Job[Any] | None = None  # runs in the middle of the exclusive one that is `running`
        self.changed = threading.Condition()
        self.closed = False

    def serve(self) -> None:
        """Run the jobs one after another, until the queue is closed and empty: what the thread does."""
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

    def await_served(self, timeout: float) -> bool:
        """Wait for a job that is not exclusive, at most `timeout` seconds; return whether there is one."""

        def one() -> bool:
            return any(not job.exclusive for job in self.waiting)

        with self.changed:
            if timeout > 0:
                self.changed.wait_for(lambda: self.closed or one(), timeout)
            return one()

    def next_served(self) -> Job[Any] | None:
        """Take the first job that may run in the middle of an exclusive one out of the queue."""
        with self.changed:
            job = next((job for job in self.waiting if not job.exclusive), None)
            self.served = job
            if job is not None:
                self.waiting.remove(job)
                job.started = True
            return job
