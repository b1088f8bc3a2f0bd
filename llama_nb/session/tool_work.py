"""Runs one function of the user's: in this thread or beside it, so that a stop and an interrupt end the wait.

In the main thread an interrupt is raised inside of the function, as in any cell; another thread cannot be
ended by force, so what runs there and does not return is left to itself. Knows no models and no chats.
"""

import asyncio
import contextlib
import contextvars
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, TypeVar

from llama_nb.core.stop import StopFlag

T = TypeVar("T")

_POLL_S: Final = 0.05
_LEAVE_S: Final = 1.0  # how long a coroutine that was cancelled may take to clean up


class Ended(Exception):
    """The work was stopped or interrupted before it had a result; `left_running` says that it goes on."""

    def __init__(self, *, left_running: bool = False) -> None:
        super().__init__()
        self.left_running = left_running


def run_function(function: Callable[..., Any], arguments: dict[str, Any], stop: StopFlag) -> Any:
    """Call `function` and return what it returns; of an async one, what it returns when awaited.

    A function runs in the main thread if that is where the call comes from, else in a thread of its own.

    Raises
    ------
    Ended
        If `stop` was set, or the kernel interrupted.
    BaseException
        Whatever the function raises.
    """
    if _in_main() and not inspect.iscoroutinefunction(function):
        value = interruptible(lambda: function(**arguments), stop)
        return value if not inspect.isawaitable(value) else _await(value, stop)
    made = _beside(lambda: function(**arguments), stop) if not inspect.iscoroutinefunction(function) else None
    if made is not None and not inspect.isawaitable(made):
        return made
    return _await(function(**arguments) if made is None else made, stop)


def interruptible(work: Callable[[], T], stop: StopFlag) -> T:
    """Run `work` here; in the main thread an interrupt, or a stop by another thread, is raised inside of it.

    Raises
    ------
    Ended
        If that happened.
    """
    if not _in_main():
        return work()
    try:
        with _raising(stop):
            return work()
    except KeyboardInterrupt:
        stop.set("interrupted")
        raise Ended from None


@contextlib.contextmanager
def _raising(stop: StopFlag) -> Iterator[None]:
    inside = True
    lock = threading.Lock()

    def interrupted(_signal: int, _frame: FrameType | None) -> None:
        stop.set("interrupted")
        if inside:
            raise KeyboardInterrupt

    def watch() -> None:
        while inside:
            if stop.wait(_POLL_S):
                with lock:
                    if inside:
                        _interrupt_main()
                return

    previous = signal.getsignal(signal.SIGINT)
    try:
        try:
            signal.signal(signal.SIGINT, interrupted)
            threading.Thread(target=watch, name="llama-nb tool watch", daemon=True).start()
            yield
        finally:
            inside = False
    finally:  # also when the interrupt came just before the line above
        inside = False
        with lock:  # no interrupt of ours comes after this
            signal.signal(signal.SIGINT, signal.default_int_handler if previous is None else previous)


def _interrupt_main() -> None:
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)  # wakes a sleep, which a mere note would not
    else:
        signal.raise_signal(signal.SIGINT)


def _beside(work: Callable[[], T], stop: StopFlag, cancel: Callable[[], None] = lambda: None) -> T:
    """Run `work` in a thread and wait for its end or for `stop`."""
    values: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def target() -> None:
        try:
            values.append(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
            errors.append(error)
        done.set()

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(target,), name="llama-nb tool", daemon=True).start()

    def wait() -> None:
        while not done.wait(_POLL_S):
            if stop.is_set():
                break

    with contextlib.suppress(Ended):
        interruptible(wait, stop)
    if not done.is_set():
        cancel()
        raise Ended(left_running=not done.wait(_LEAVE_S))
    if errors:
        if isinstance(errors[0], asyncio.CancelledError) and stop.is_set():
            raise Ended
        raise errors[0]
    return values[0]


def _await(awaitable: Any, stop: StopFlag) -> Any:
    """Await in an event loop of its own: the notebook's runs already, in the main thread."""
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def main() -> Any:
        task = asyncio.ensure_future(awaitable)
        loops.append((asyncio.get_running_loop(), task))
        return await task

    def cancel() -> None:
        for loop, task in loops:
            with contextlib.suppress(RuntimeError):  # the loop may be closed by then
                loop.call_soon_threadsafe(task.cancel)

    return _beside(lambda: asyncio.run(main()), stop, cancel)


def _in_main() -> bool:
    return threading.current_thread() is threading.main_thread()
