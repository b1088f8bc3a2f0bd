"""Work of which only the newest matters: a place that is looked at, a text that goes on."""

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterable

from llama_nb.core.errors import Stopped
from llama_nb.core.stop import StopFlag

Work = Callable[[StopFlag], None]


class Latest:
    """Runs the newest work that it was given, in a thread; the one before is stopped and waited for.

    Work catches what it raises: nobody else does.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._flag = StopFlag()
        self._thread: threading.Thread | None = None

    def put(self, work: Work, delay_s: float = 0.0) -> None:
        """Do `work` next, in place of whatever was to come; `delay_s` lets newer work overtake it."""
        with self._lock:
            before = self._thread
            self._flag.set("something newer is asked for")
            self._flag = StopFlag()
            context = contextvars.copy_context()
            self._thread = threading.Thread(
                target=context.run,
                args=(self._run, work, self._flag, before, delay_s),
                name=f"llama-nb {self._name}",
                daemon=True,
            )
            self._thread.start()

    def stop(self) -> None:
        """Stop what runs and drop what waits."""
        with self._lock:
            self._flag.set("stopped")

    def join(self, timeout: float | None = None) -> None:
        """Wait until the newest work is done."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    @staticmethod
    def _run(work: Work, flag: StopFlag, before: threading.Thread | None, delay_s: float) -> None:
        if delay_s:
            flag.wait(delay_s)
        if before is not None:
            before.join()
        if not flag.is_set():
            work(flag)


class Jobs:
    """The newest work of each of several kinds, side by side.

    Parameters
    ----------
    guard
        Wraps what runs in a thread, so that what it raises is seen; that it was stopped is not told.
    """

    def __init__(self, name: str, kinds: Iterable[str], guard: Callable[[Work], Work]) -> None:
        self._latest = {kind: Latest(f"{name} {kind}") for kind in kinds}
        self._guard = guard

    def put(self, kind: str, work: Work, *, ignored: tuple[type[Exception], ...] = ()) -> None:
        """Do `work` next, in place of the work of its kind; what is `ignored` may be raised."""

        def quiet(flag: StopFlag) -> None:
            with contextlib.suppress(Stopped, *ignored):
                work(flag)

        self._latest[kind].put(self._guard(quiet))

    def stop(self, *kinds: str) -> None:
        """Stop work of these kinds; of all where none is named."""
        for kind in kinds or self._latest:
            self._latest[kind].stop()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the newest work of each kind is done."""
        for latest in self._latest.values():
            latest.join(timeout)
