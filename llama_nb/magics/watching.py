"""What verbs with --live share: a message is sent, and what is looked at grows while the model answers.

Knows replies and growing views; what is captured is said by the verb.
"""

import contextlib
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llama_nb.core.errors import MessageError
from llama_nb.magics import generation
from llama_nb.magics.boundary import ReplyInterrupted
from llama_nb.magics.verbs import Call
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    from llama_nb.session.reply import Reply
    from llama_nb.widgets.growing_trace import GrowingView

Follow = Callable[[Any], None]


def possible(args: Namespace) -> bool:
    """Whether somebody sees a widget, and wants one."""
    environment = detect()
    return not args.as_text and environment.watched and environment.widgets


def check_message(text: str, verb: str) -> None:
    """Raise MessageError if there is nothing to send."""
    if not text:
        raise MessageError("Nothing to send: the message is empty.", f"Write it below %%llama {verb} --live.")


def show(
    call: Call,
    ask: "Callable[[Follow], tuple[Reply, Any]]",
    *,
    view: "GrowingView[Any] | None",
    otherwise: Callable[[Any], Any],
) -> Any:
    """Ask the model, and follow its answer in a view; return what the line's value is.

    Parameters
    ----------
    ask
        Sends the message and returns the reply with the whole trace; its argument takes the trace on the way.
    view
        None where no page watches.
    otherwise
        Shows the trace where nothing was shown on the way.

    Raises
    ------
    ReplyInterrupted
        When the kernel was interrupted: what was written is kept, and shown.
    """
    interrupts = generation.Interrupts()
    with interrupts.held(), view.watching() if view else contextlib.nullcontext():
        reply, trace = ask(view.follow if view else lambda _: None)
    if view is None or view.explorer is None:
        return otherwise(trace)
    view.end()
    call.keep_value(trace)
    call.shell.displayhook.update_user_ns(trace)
    if interrupts.came or reply.stop_flag.reason == "interrupted":
        raise ReplyInterrupted(reply.usage.completion_tokens if reply.usage else len(reply.tokens))
    return trace if call.keep is not None else None
