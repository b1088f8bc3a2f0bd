"""Drives an engine for one Reply: waits for the chat's turn, fills the reply, tells the observers.

The same steps serve a blocking call, a stream that the caller pulls, and a background thread. Whatever
ends it (the model, a stop, an interrupt at any instant, an error, a closed stream), what came is kept.
"""

import asyncio
import contextlib
import contextvars
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import EngineError, LlamaError
from llama_nb.core.events import (
    Finish,
    FinishReason,
    ReplyAdvanced,
    ReplyEnded,
    ReplyStarted,
    TokenEvent,
    Usage,
    Waiting,
    publish,
)
from llama_nb.core.intervention import names
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.runtime import cell
from llama_nb.runtime.secrets import redact
from llama_nb.session.reply import Reply
from llama_nb.session.turn_lock import TurnLock
from llama_nb.session.turns import Turn

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine

_POLL_S: Final = 0.1  # how often a reply that waits for its turn looks whether it was stopped

_CANCEL_S: Final = 10.0  # the longest that a cancelled task waits for the model to stop

_interrupted_in: int | None = None  # the cell in which a reply was last interrupted


class Generation:
    """One reply on its way.

    Parameters
    ----------
    reply
        Is filled.
    engine
        Generates.
    turn
        What is sent, and where what came of it is kept.
    lock, waits_for
        The lock of the chat, and what to say while another reply has it.
    on_begin, on_end
        Called when the reply can be seen to run or wait, and when it has ended, before who waits goes on.
    watch
        Looks on while the model works; see Request.watch.
    """

    def __init__(
        self,
        reply: Reply,
        engine: "Engine",
        turn: Turn,
        lock: TurnLock | None = None,
        waits_for: str = "",
        on_begin: Callable[[Reply], None] = lambda _: None,
        on_end: Callable[[Reply], None] = lambda _: None,
        watch: Callable[[Any], AbstractContextManager[Any]] | None = None,
    ) -> None:
        self.reply = reply
        self._engine = engine
        self._steps = turn
        self._on_begin, self._on_end = on_begin, on_end
        self._lock = lock
        self._waits_for = waits_for
        self.watch = watch
        self._request: Request | None = None
        self._has_turn = False
        self._announced = False
        self._settled = False
        self._began_at = time.monotonic()

    # --- three ways to run it -----------------------------------------------------------------------

    def run(self) -> Reply:
        """Generate in this thread until the end; an interrupt stops the reply and is not raised.

        The second interrupted reply of one notebook cell is: it is how a loop over messages is left.
        """
        with interrupt_stops(self.reply.stop_flag):
            for _ in self.events():
                pass
        if self.reply.stop_flag.reason == "interrupted" and _interrupted_before():
            raise KeyboardInterrupt("the second interrupt in this cell; both replies are kept")
        return self.reply

    def start(self) -> Reply:
        """Generate in a thread; errors known at once are raised here, later ones are in the reply."""
        try:
            self.begin()
        except BaseException as error:
            self._finish("error", error)
            raise
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(self._exhaust,), name=f"llama-nb reply ({self._waits_for})", daemon=True
        )
        thread.start()
        return self.reply

    async def finished(self) -> Reply:
        """Generate in a thread and await the end; cancelling the task stops the reply and keeps it."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def tell(_: Reply) -> None:
            with contextlib.suppress(RuntimeError):  # the loop may be closed by then
                loop.call_soon_threadsafe(done.set)

        reply = self.start()
        reply.add_done_callback(tell)
        try:
            await done.wait()
        except asyncio.CancelledError:
            reply.stop("cancelled")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), _CANCEL_S)
            raise
        return reply.wait()

    def events(self) -> Generator[TokenEvent]:
        """Generate as the caller pulls; closing the iterator stops the reply and keeps what was pulled."""
        try:
            self.begin()
            if self._await_turn():
                yield from self._pull()
            self._finish("stopped", detail=self.reply.stop_flag.reason)
        except GeneratorExit:
            self.reply.stop("closed")
            self._finish("stopped", detail="closed")
            raise
        except KeyboardInterrupt:
            self.reply.stop("interrupted")
            self._finish("stopped", detail="interrupted")
            raise
        except LlamaError as error:
            self._finish("error", error)
            raise
        except Exception as error:
            wrapped = EngineError(redact(f"The engine failed with {type(error).__name__}: {error}"))
            self._finish("error", wrapped)
            raise wrapped from error

    # --- the steps ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Announce the reply, and prepare it if nobody else has the chat's turn."""
        if self._announced or self._settled:
            return
        self._has_turn = self._lock is None or self._lock.enter(self.reply)
        if self._has_turn:
            self._prepare()
        self._announced = True
        self._on_begin(self.reply)
        publish(ReplyStarted(self.reply))
        if not self._has_turn:
            publish(Waiting(self.reply, self._waits_for))

    def _await_turn(self) -> bool:
        if not self._has_turn and self._lock is not None:
            while not self._lock.enter(self.reply, wait_s=_POLL_S):
                if self.reply.stop_flag.is_set():
                    return False
            self._has_turn = True
            self._prepare()
        return True

    def _prepare(self) -> None:
        asked, off = self._steps.prepare(self._engine), self.reply.interventions
        if self.reply.asked_adapter is not None:
            asked = dataclasses.replace(asked, adapter=self.reply.asked_adapter)
        self._request = dataclasses.replace(asked, interventions=off, watch=self.watch)
        # What it begins with is among the reply's own tokens; and who asks again asks the whole model.
        self.reply.request = dataclasses.replace(asked, begun=(), surprise=None)
        if off:
            self.reply.notes.append(f"While this was written: {names(off)}.")

    def _pull(self) -> Iterator[TokenEvent]:
        if self._request is None:
            return
        for event in self.reply.begun:
            self.reply.append(event)
            publish(ReplyAdvanced(self.reply, event))
        running = self._engine.busy()
        if running is not None:
            publish(Waiting(self.reply, f"{running} on {self._engine.name}"))
        for event in self._engine.stream(self._request, self.reply.stop_flag):
            self.reply.append(event)
            publish(ReplyAdvanced(self.reply, event))
            if event.finish is not None:
                self.reply.adapter = event.finish.adapter
                self._finish(event.finish.reason, finish=event.finish)
            yield event
        if not self._settled and not self.reply.stop_flag.is_set():
            raise EngineError(f"{self._engine.name} ended the reply without saying why.")

    def _exhaust(self) -> None:
        # The error, if any, is in the reply: wait() raises it and the views show it.
        with contextlib.suppress(LlamaError):
            for _ in self.events():
                pass

    def _finish(
        self,
        reason: FinishReason,
        error: BaseException | None = None,
        *,
        finish: Finish | None = None,
        detail: str = "",
    ) -> None:
        if self._settled:
            return
        self._settled = True
        if error is not None:
            detail = error.message if isinstance(error, LlamaError) else type(error).__name__
        self.reply.end(finish or Finish(reason, self._usage(), None, detail), error)
        try:
            self._steps.settle()
        finally:
            self._on_end(self.reply)
            if self._lock is not None:
                self._lock.leave(self.reply)
            if self._announced:
                publish(ReplyEnded(self.reply))
            self.reply.release()

    def _usage(self) -> Usage:
        """Count for an end that the engine did not report itself."""
        tokens = self.reply.tokens
        first = tokens[0].elapsed_s if tokens else None
        return Usage(self.reply.prompt_tokens, 0, len(tokens), first, time.monotonic() - self._began_at)


def _interrupted_before() -> bool:
    """Whether a reply was interrupted in the cell that runs now; remembers that one was."""
    global _interrupted_in
    here, before = cell.number(), _interrupted_in
    _interrupted_in = here
    return here is not None and here == before


@contextlib.contextmanager
def interrupt_stops(stop: StopFlag) -> Iterator[None]:
    """Turn interrupts inside the block into the stop flag, so that no instruction of ours is torn.

    Only the main thread gets interrupts; elsewhere this does nothing.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or previous is None:
        yield
        return

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set("interrupted")

    signal.signal(signal.SIGINT, ask_to_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
