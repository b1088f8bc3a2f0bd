"""When to send what has gathered: at once at first, in fewer and larger batches as a reply goes on.

Knows time and threads; knows neither widgets nor what is sent.
"""

import contextvars
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FIRST_S: Final = 0.033  # 30 messages a second: what a page draws without falling behind
STEADY_S: Final = 0.23  # 1,000 tokens at 50 a second in about 105 messages (benchmarks/traffic.py)
SLOWEST_S: Final = 0.25
STRETCH: Final = 1.12  # from FIRST_S to STEADY_S in 17 batches, the first 2 s of a reply
SHARE: Final = 0.25  # of the time at most may go into sending

_log = logging.getLogger("llama_nb")


class Pace:
    """How far apart batches are: 33 ms at first, 230 ms in the long run, up to 250 when sending is slow.

    Arithmetic on the times it is told; it never looks at a clock.
    """

    def __init__(self) -> None:
        self.interval = FIRST_S
        self.next = 0.0

    def sent(self, began: float, ended: float) -> None:
        """A batch was sent between these two instants (seconds); set the earliest instant of the next one."""
        needed = (ended - began) / SHARE
        self.next = began + min(max(self.interval, needed), SLOWEST_S)
        self.interval = min(self.interval * STRETCH, STEADY_S)


class Batcher(Generic[T]):
    """Gathers items from any thread and hands them over in batches, on a thread of its own.

    `put` never blocks and may be interrupted at any instant, so it can stand in the loop that decodes.

    Parameters
    ----------
    send
        Called with the items gathered since the last call, in order. What it raises is logged and goes to
        `failed`; later batches are still sent.
    failed
        Told of an exception in `send`.
    """

    def __init__(
        self,
        send: Callable[[list[T]], None],
        failed: Callable[[Exception], None] = lambda _failure: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._failed = failed
        self._clock = clock
        self._pace = Pace()
        self._items: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        # The kernel finds the cell that an output belongs to in context variables.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._work,), name="llama-nb-page", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Add an item to the next batch."""
        self._items.put(item)

    def close(self, timeout: float | None = None) -> None:
        """Send what is left and end; wait for that, at most `timeout` seconds."""
        self._items.put(None)
        self._thread.join(timeout)

    def _work(self) -> None:
        ending = False
        while not ending:
            first = self._items.get()
            if first is None:
                return
            batch, ending = self._gather([first])
            began = self._clock()
            try:
                self._send(batch)
            except Exception as failure:  # noqa: BLE001 - told to `failed`; the thread must go on
                _log.exception("a batch for the page could not be sent")
                self._failed(failure)
            self._pace.sent(began, self._clock())

    def _gather(self, batch: list[T]) -> tuple[list[T], bool]:
        """Take what comes until the next batch is due; the flag says that nothing will follow."""
        while True:
            left = self._pace.next - self._clock()
            try:
                item = self._items.get(timeout=left) if left > 0 else self._items.get_nowait()
            except queue.Empty:
                return batch, False
            if item is None:
                return batch, True
            batch.append(item)
