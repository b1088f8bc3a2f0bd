"""What the session publishes, shown where it happens: replies appear as they are written.

It chooses a view for each reply by who watches (a page, a terminal, nobody) and hands it the reply's events;
how a reply looks is the views' and the render layer's business. The views are imported when the first reply
comes, or a second after `%load_ext`, which pays for none of them.
"""

import contextlib
import contextvars
import importlib
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from llama_nb.core import events
from llama_nb.runtime.environment import Environment
from llama_nb.widgets.call_output import CallOutputs
from llama_nb.widgets.output import Output
from llama_nb.widgets.progress_line import ProgressLines

WARM_AFTER_S: Final = 1.0

_log = logging.getLogger("llama_nb")
_text_only: contextvars.ContextVar[bool] = contextvars.ContextVar("llama_nb_text_only", default=False)
_elsewhere: contextvars.ContextVar[bool] = contextvars.ContextVar("llama_nb_shown_elsewhere", default=False)
# The reply that this thread or task is busy with: an engine that waits in a queue does not know its reply.
_current: contextvars.ContextVar[int] = contextvars.ContextVar("llama_nb_current_reply", default=0)


@contextlib.contextmanager
def text_only() -> Iterator[None]:
    """Show the replies that start inside the block as plain text, without a widget (`--text`)."""
    token = _text_only.set(True)
    try:
        yield
    finally:
        _text_only.reset(token)


@contextlib.contextmanager
def shown_elsewhere() -> Iterator[None]:
    """Show the replies that are asked for inside the block in no cell: a panel shows them."""
    token = _elsewhere.set(True)
    try:
        yield
    finally:
        _elsewhere.reset(token)


class ShownReply(Protocol):
    """A reply on its way to whoever watches; made when the reply starts."""

    def advance(self, event: events.ReplyAdvanced | events.Waiting) -> None:
        """Take a token, or what the reply waits for. Costs the caller microseconds."""

    def end(self) -> None:
        """Leave what a saved notebook keeps."""

    def close(self) -> None:
        """Give back what only the page needed; called some time after the end."""


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
        self._ended: list[ShownReply] = []
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lines = ProgressLines(detect, self._output)
        self._calls = CallOutputs(self._output)

    def __call__(self, event: events.Event) -> None:
        """Show one event."""
        match event:
            case events.ReplyStarted(reply) if not reply.pulled and not _elsewhere.get():
                self._start(reply)  # a pulled one's tokens are shown by its caller
            case events.ReplyAdvanced(reply) | events.Waiting(reply):
                shown = self._shown.get(_current.get() if reply is None else id(reply))
                if shown is not None:
                    shown.advance(event)
            case events.ReplyEnded(reply):
                shown = self._shown.pop(id(reply), None)
                if shown is not None:
                    shown.end()
                    self._ended.append(shown)
            case events.CallChanged(reply, call) if reply in self._seen:
                self._calls.advance(call, self._detect(), as_text=_text_only.get())
            case events.Note(text):
                self._lines.line(text)
            case events.Progress():
                self._lines.advance(event)

    def close(self) -> None:
        """Close what has ended.

        Not at once: a page that was loaded again during a cell asks for its widgets only after the cell.
        """
        ended, self._ended = self._ended, []
        for shown in ended:
            shown.close()

    def warm(self) -> None:
        """Import ahead what the first reply in a page needs; anywidget alone takes 0.4 s."""
        if self._detect().widgets:
            importlib.import_module("llama_nb.widgets.page_reply")

    def _start(self, reply: Any) -> None:
        self._shown[id(reply)] = self._view(reply, self._detect())
        # Only now: JupyterLab deletes the subshell of all widgets with the last one, and messages of a widget
        # that opens meanwhile are lost in it, with a traceback of the kernel in the cell.
        self.close()
        self._seen.add(reply)
        _current.set(id(reply))
        reply.displayed = True  # so that it is not shown again as the cell's value

    def _view(self, reply: Any, environment: Environment) -> ShownReply:
        from llama_nb.widgets.plain_reply import FinalReply, TextReply

        if environment.kind == "terminal" or _text_only.get():
            return TextReply(reply, self._output, watched=environment.watched)
        if not environment.watched or not environment.widgets:
            return FinalReply(reply, self._output, watched=environment.watched)
        try:
            # Only now: anywidget takes 0.4 s to import, which loading the extension must not cost.
            from llama_nb.widgets.page_reply import PageReply

            return PageReply(reply, self._output)
        except Exception:  # noqa: BLE001 - without a working widget the reply is still shown, when it is whole
            _log.exception("the live view of a reply could not be made")
            return FinalReply(reply, self._output, watched=True)


def install(detect: Callable[[], Environment]) -> Callable[[], None]:
    """Show every reply from now on; return the function that ends it."""
    live = LiveReplies(detect)
    unsubscribe = events.subscribe(live)
    warming = threading.Timer(WARM_AFTER_S, live.warm)
    warming.daemon = True
    warming.start()

    def uninstall() -> None:
        warming.cancel()
        unsubscribe()
        live.close()

    return uninstall
