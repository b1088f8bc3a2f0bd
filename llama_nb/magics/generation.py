"""What `chat` and `complete` share: the options of a generation, and how a reply ends in a cell.

The options' ranges and meanings come from core.sampling; the reply itself is the session's.
"""

import contextlib
import signal
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, Final

from IPython.display import display

from llama_nb.core import events
from llama_nb.core.sampling import FIELDS, GROUPS, RANGES, STAGES, TEXTS, Sampling
from llama_nb.magics import names
from llama_nb.magics.boundary import CommandError, ReplyInterrupted
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call
from llama_nb.runtime import presets

BY: Final = ("probability", "entropy")  # what `Reply.why` shades by
_CORE: Final = "Sampling"
_LISTED: Final = ("stop", "banned", "dry_breakers")  # each may be given several times
_METAVARS: Final = {"logit_bias": "JSON", "order": "NAMES"}
_ESCAPES: Final = {r"\n": "\n", r"\t": "\t", r"\r": "\r"}


def add_options(parser: VerbParser) -> None:
    """Declare what every generation understands."""
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--raw", action="store_true", help="send {{ ... }} as typed")
    parser.add_argument("--text", action="store_true", help="plain text, no widget")
    parser.add_argument("--bg", action="store_true", help="return a pending Reply at once")
    parser.add_argument("--why", action="store_true", help="show how sure the model was of each token")
    parser.add_argument("--by", choices=BY, metavar="HOW", default=BY[0], help="what --why shades by")
    add_sampling_options(parser)
    parser.add_argument(
        "-o", nargs=2, metavar=("KEY", "VALUE"), action="append", help="any sampling parameter by name"
    )


def add_sampling_options(parser: VerbParser) -> None:
    """Declare an option for each sampling parameter, in groups, and --preset."""
    for title, members in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in members:
            if name in RANGES:
                limits = RANGES[name]
                group.add_argument(_option(name), metavar="N", help=f"{limits.meaning} ({limits})")
            elif name in _LISTED:
                more = r" (\n is a new line); may be repeated"
                group.add_argument(_option(name), metavar="TEXT", action="append", help=TEXTS[name] + more)
            else:
                group.add_argument(_option(name), metavar=_METAVARS[name], help=TEXTS[name])
        if title == _CORE:
            group.add_argument(
                "--preset", metavar="NAME", help="parameters by one name; options beside it win"
            )
    parser.names["--preset"] = names.presets
    parser.names["--order"] = lambda: STAGES


def sampling_from(args: Namespace) -> dict[str, Any]:
    """Return the sampling parameters on the line, checked and by name; `preset` as its name.

    Raises
    ------
    SamplingError
        If a value is outside its range, or `-o` names no parameter.
    PresetError
        If there is no such preset.
    """
    given = {name: getattr(args, name) for name in FIELDS if getattr(args, name) is not None}
    for key, value in args.o or ():
        name = key.lstrip("-").replace("-", "_")
        if name in _LISTED:
            given[name] = [*given.get(name, ()), value]
        elif name in given:
            raise CommandError(f"{name} is given twice: {given[name]!r} and {value!r}.", "Keep one of them.")
        else:
            given[name] = value
    checked = check_given(given)
    if args.preset is None:
        return checked
    presets.find(args.preset)
    return {"preset": args.preset, **checked}


def check_given(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return sampling parameters as they were typed, as values: checked, and with escapes in texts read."""
    typed = {
        name: tuple(_unescaped(text) for text in value) if name in _LISTED else value
        for name, value in given.items()
    }
    checked = Sampling().replace(**typed)
    return {name: getattr(checked, name) for name in typed}


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

    With --why, the view of its tokens is shown below.

    Raises
    ------
    ReplyInterrupted
        After the reply was shown, bound to its `name <<` and put into Out.
    """
    from llama_nb.widgets import live

    if args.why and args.bg:
        raise no_why_yet()
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
    if args.why:
        display(reply.why(args.by))
    return reply


def no_why_yet() -> CommandError:
    """Return the error for --why with --bg."""
    return CommandError("--why looks at a reply that is done, and --bg returns before.", "Later: r.why()")


def as_given(name: str, typed: str) -> Any:
    """Return one typed value of a parameter as an option gives it: those that may be repeated as a list."""
    return [typed] if name in _LISTED else typed


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
