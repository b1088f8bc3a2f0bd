"""What the session publishes, shown where it happens: the observer that makes replies appear as they are written.

It chooses a view for each reply by who watches (a page, a terminal, nobody) and hands it the reply's events;
how a reply looks is the views' and the render layer's business.
"""

import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from llama_nb.core import events
from llama_nb.runtime.environment import Environment
from llama_nb.widgets.output import Output
from llama_nb.widgets.page_reply import PageReply
from llama_nb.widgets.plain_reply import FinalReply, TextReply
from llama_nb.widgets.progress_line import ProgressLines

_log = logging.getLogger("llama_nb")
_text_only: contextvars.ContextVar[bool] = contextvars.ContextVar("llama_nb_text_only", default=False)


@contextlib.contextmanager
def text_only() -> Iterator[None]:
    """Show the replies that start inside the block as plain text, without a widget (`--text`)."""
    token = _text_only.set(True)
    try:
        yield
    finally:
        _text_only.reset(token)


class ShownReply(Protocol):
    """A reply on its way to whoever watches; made when the reply starts."""

    def advance(self, event: events.ReplyAdvanced | events.Waiting | events.Note) -> None:
        """Take a token, what the reply waits for, or a note."""

    def end(self) -> None:
        """Leave what a saved notebook keeps."""


class LiveReplies:
    """The observer. Events may come from several threads; each reply is shown in the cell that started it.

    Parameters
    ----------
    detect
        Says, for the cell that runs, who watches.
    output
        Where displays go.
    """

    def __init__(self, detect: Callable[[], Environment], output: Output | None = None) -> None:
        self._detect = detect
        self._output = output or Output()
        self._shown: dict[int, ShownReply] = {}
        self._by_thread: dict[int, ShownReply] = {}
        self._progress = ProgressLines(detect, self._output)

    def __call__(self, event: events.Event) -> None:
        """Show one event. An interrupt that arrives meanwhile stops the reply and loses nothing of it."""
        try:
            self._take(event)
        except KeyboardInterrupt:
            reply = getattr(event, "reply", None)
            if reply is None:
                raise
            reply.stop()
            if isinstance(event, events.ReplyEnded):
                self._take(event)

    def _take(self, event: events.Event) -> None:
        match event:
            case events.ReplyStarted(reply):
                self._start(reply)
            case events.ReplyAdvanced(reply) | events.Waiting(reply):
                shown = self._shown.get(id(reply))
                if shown is not None:
                    self._by_thread[threading.get_ident()] = shown
                    shown.advance(event)
            case events.ReplyEnded(reply):
                self._end(reply)
            case events.Note(text):
                shown = self._by_thread.get(threading.get_ident())
                if shown is not None:
                    shown.advance(event)
                else:
                    self._progress.line(text)
            case events.Progress():
                self._progress.advance(event)

    def _start(self, reply: Any) -> None:
        environment = self._detect()
        shown = self._view(reply, environment)
        self._shown[id(reply)] = self._by_thread[threading.get_ident()] = shown
        reply.displayed = True  # so that it is not shown again as the cell's value

    def _view(self, reply: Any, environment: Environment) -> ShownReply:
        if environment.kind == "terminal" or _text_only.get():
            return TextReply(reply, self._output, watched=environment.watched)
        if not environment.watched or not environment.widgets:
            return FinalReply(reply, self._output, watched=environment.watched)
        try:
            return PageReply(reply, self._output)
        except Exception:
            # Without a working widget the reply is still shown, when it is whole.
            _log.exception("the live view of a reply could not be made")
            return FinalReply(reply, self._output, watched=True)

    def _end(self, reply: Any) -> None:
        shown = self._shown.get(id(reply))
        if shown is None:
            return
        shown.end()
        self._shown.pop(id(reply), None)
        for thread in [thread for thread, other in tuple(self._by_thread.items()) if other is shown]:
            self._by_thread.pop(thread, None)


def install(detect: Callable[[], Environment]) -> Callable[[], None]:
    """Show every reply from now on; return the function that ends it."""
    return events.subscribe(LiveReplies(detect))
