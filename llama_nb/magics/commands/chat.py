"""Send a message to the model; the chat remembers the turns before.

In a cell the body is the message, and the reply appears as it is written. On a line the reply is also the
value: r = %llama chat "..." keeps it. {{ python }} in the message is filled in; nothing else is changed.
A line without a message opens the chat panel: to talk, stop, edit, branch and look at each token.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_nb.core.errors import MessageError, did_you_mean
from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call
from llama_nb.runtime.environment import detect

EXAMPLES = (
    "%%llama\nWhat is a token?",
    "%llama chat",
    '%llama chat "and in one word?"',
    "%%llama chat r << --temperature 0 --max-tokens 40\nWhat is attention?",
    'answer = %llama chat --chat sums --system "You add numbers." What is 2 + 3?',
    "r.text, r.finish.reason",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the options."""
    parser.takes_text("message", "the message, with or without quotes")
    parser.add_named("--chat", names.chats, "the conversation (a new name begins a new one)")
    parser.add_argument("--system", metavar="TEXT", help="the system prompt from now on")
    parser.add_argument(
        "--overflow",
        choices=("drop-oldest", "error"),
        metavar="HOW",
        default="drop-oldest",
        help="when the chat outgrows the context: leave out the oldest turns, or fail",
    )
    generation.add_options(parser)
    parser.add_named(
        "--adapter", names.adapters, "the adapter that answers, off for none; default what is on"
    )
    parser.add_argument("--tools", action="store_true", help="the words name functions for the chat panel")
    parser.add_argument("--restore", action="store_true", help="bring back the notebook's chat from the disk")
    parser.add_argument("--from", dest="file", metavar="FILE", help="bring back a chat from a saved notebook")


def run(args: Namespace, call: Call) -> Any:
    """Send the message and return the Reply, or open the panel; --restore and --from bring the chat back."""
    sampling = generation.sampling_from(args)
    if args.tools:
        _refuse_in_cell(call)
        return _open_panel(args, call, _functions(args.message.split(), call.namespace))
    text = generation.message_from(args.message, call, raw=args.raw, verb="chat").strip("\n").rstrip()
    if not text and not (args.restore or args.file):
        if call.body is None and not sampling and _page():
            return _open_panel(args, call)
        raise MessageError("Nothing to send: the message is empty.", _hint(sampling))
    options = {"overflow": args.overflow, "adapter": args.adapter, "background": args.bg, **sampling}
    if args.chat is not None:
        options["chat"] = args.chat
    if args.system is not None:
        options["system"] = call.expand(args.system, raw=args.raw)
    model = generation.choose_model(args.model)
    if args.restore or args.file:
        restored = model.chats.restore(args.chat, Path(args.file).expanduser() if args.file else None)
        if not text:
            return _summary(restored)
    return generation.generate(call, args, lambda: model.chat(text, **options))


def _page() -> bool:
    environment = detect()
    return environment.watched and environment.widgets


def _hint(sampling: Mapping[str, Any]) -> str:
    write = 'Write it into the cell\'s body below %%llama, or on the line: %llama chat "..."'
    if sampling and _page():
        return f"{write}\nThe panel opens without these options; %llama set keeps them for the session."
    return write


def _open_panel(args: Namespace, call: Call, tools: Mapping[str, Callable[..., Any]] | None = None) -> None:
    """Show the chat panel below the cell."""
    if not _page():
        raise CommandError(
            "The chat panel needs a page with widgets, and somebody who looks at it.",
            'Here: %llama chat "your message"',
        )
    model = generation.choose_model(args.model)
    from llama_nb.widgets import chat_panel

    if args.system is not None:
        model.chats.open(args.chat).system = call.expand(args.system, raw=args.raw) or None
    chat_panel.show(model, args.chat, tools)


def _refuse_in_cell(call: Call) -> None:
    if call.body is not None:
        raise CommandError(
            "--tools gives functions to the chat panel, which opens from a line: %llama chat --tools weather",
            "To ask one question with functions: %%llama tools weather, with the question below.",
        )


def _functions(words: Sequence[str], namespace: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Return the functions that are named, checked as tools."""
    from llama_nb.session.tool_function import read_tools

    for word in words:
        if word not in namespace:
            functions = [name for name, value in namespace.items() if callable(value) and name[:1] != "_"]
            raise CommandError(
                f"There is no function {word!r}.",
                did_you_mean(word, functions) or "Define it in a cell, with type hints and a docstring.",
            )
    return {name: tool.function for name, tool in read_tools([namespace[word] for word in words]).items()}


def _summary(chat: Any) -> Shown:
    """Say what came back. It was read from a file, so it is cleaned like a model's answer."""
    from llama_nb.render.clean import clean

    turns = chat.turn_count()
    lines = [
        f"Restored chat {chat.name!r}: {turns} {'turn' if turns == 1 else 'turns'}. It goes on with %%llama."
    ]
    for message in chat.messages()[-2:]:
        text = " ".join(clean(message.content).split())
        lines.append(f"  {message.role}: {text if len(text) <= 100 else text[:99] + '…'}")
    return Shown("\n".join(lines))
