"""What `chat` and `complete` share: the options of a generation, and how a reply ends in a cell.

The options' ranges and meanings come from core.sampling; the reply itself is the session's.
"""

import contextlib
import signal
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

from llama_nb.core import events
from llama_nb.core.sampling import RANGES, Sampling
from llama_nb.magics import names
from llama_nb.magics.boundary import CommandError, ReplyInterrupted
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

_ESCAPES: Final = {r"\n": "\n", r"\t": "\t", r"\r": "\r"}


def add_options(parser: VerbParser) -> None:
    """Declare what every generation understands."""
    for name, limits in RANGES.items():
        parser.add_argument(_option(name), metavar="N", help=f"{limits.meaning} ({limits})")
    parser.add_argument(
        "--stop", metavar="TEXT", action="append", help=r"end the reply before TEXT (\n is a new line)"
    )
    parser.add_argument(
        "-o", nargs=2, metavar=("KEY", "VALUE"), action="append", help="any sampling parameter by name"
    )
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--raw", action="store_true", help="send {{ ... }} as typed")
    parser.add_argument("--text", action="store_true", help="plain text, no widget")
    parser.add_argument("--bg", action="store_true", help="return a pending Reply at once")


def sampling_from(args: Namespace) -> dict[str, Any]:
    """Return the sampling parameters on the line, checked and by name.

    Raises
    ------
    SamplingError
        If a value is outside its range, or `-o` names no parameter.
    """
    given = {name: getattr(args, name) for name in RANGES if getattr(args, name) is not None}
    for key, value in args.o or ():
        name = key.lstrip("-").replace("-", "_")
        if name in given:
            raise CommandError(f"{name} is given twice: {given[name]!r} and {value!r}.", "Keep one of them.")
        given[name] = [value] if name == "stop" else value
    if args.stop:
        given["stop"] = [*args.stop, *given.get("stop", ())]
    if "stop" in given:
        given["stop"] = tuple(_unescaped(text) for text in given["stop"])
    checked = Sampling().replace(**given)
    return {name: getattr(checked, name) for name in given}


def message_from(text: str, call: Call, *, raw: bool, verb: str) -> str:
    """Return what is sent: the line's text or the cell's body, with `{{ }}` filled in.

    Raises
    ------
    CommandError
        If both have text: a forgotten `<<` would otherwise become part of the message.
    """
    if call.body is None:
        return call.expand(text, raw=raw)
    if text:
        first = text.split(maxsplit=1)[0]
        raise CommandError(
            f"There is text on the line ({text[:40]!r}) and in the cell.",
            f"Put the message into the cell's body. To keep the reply: %%llama {verb} {first} <<"
            if first.isidentifier()
            else "Put the message into the cell's body.",
        )
    return call.expand(call.body, raw=raw)


class Interrupts:
    """Remembers an interrupt that comes while a reply is on its way, so that nothing around it is torn.

    While the reply grows, the session's own handler stops it. This one covers the moments before and after.
    """

    def __init__(self) -> None:
        self.came = False
        self._reply: Any = None
        self._thread = threading.get_ident()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold interrupts back inside the block (in the main thread; elsewhere none arrive)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        unsubscribe = events.subscribe(self._watch)
        previous = signal.signal(signal.SIGINT, self._interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler if previous is None else previous)
            unsubscribe()

    def reply_of(self, work: Callable[[], Any]) -> Any:
        """Return what `work` returns; if an interrupt is raised from it after all, the reply it had begun."""
        try:
            return work()
        except KeyboardInterrupt:
            if self._reply is None:
                raise
            self.came = True
            return self._reply

    def _interrupted(self, _signal: int, _frame: FrameType | None) -> None:
        if self.came and self._reply is None:
            raise KeyboardInterrupt
        self.came = True
        if self._reply is not None:
            self._reply.stop("interrupted")

    def _watch(self, event: events.Event) -> None:
        if isinstance(event, events.ReplyStarted) and threading.get_ident() == self._thread:
            self._reply = event.reply
            if self.came:
                event.reply.stop("interrupted")


def generate(call: Call, args: Namespace, work: Callable[[], Any]) -> Any:
    """Run `work`, which returns a Reply, in the cell; when an interrupt stopped it, keep it and stop Run All.

    Raises
    ------
    ReplyInterrupted
        After the reply was shown, bound to its `name <<` and put into Out.
    """
    from llama_nb.widgets import live

    interrupts = Interrupts()
    with live.text_only() if args.text else contextlib.nullcontext(), interrupts.held():
        reply = interrupts.reply_of(work)
        if args.bg:
            return reply
        interrupted = interrupts.came or reply.stop_flag.reason == "interrupted"
        call.keep_value(reply)
        if interrupted:
            call.shell.displayhook.update_user_ns(reply)
    if interrupted:
        raise ReplyInterrupted(reply.usage.completion_tokens if reply.usage else len(reply.tokens))
    return reply


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _unescaped(text: str) -> str:
    for typed, meant in _ESCAPES.items():
        text = text.replace(typed, meant)
    return text


def choose_model(name: str | None) -> Any:
    """Return the loaded model called `name`, or the current one."""
    from llama_nb.session import registry

    return registry.current() if name is None else registry.find(name)
