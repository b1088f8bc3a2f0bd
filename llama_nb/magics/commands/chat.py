"""Send a message to the model; the chat remembers the turns before.

In a cell the body is the message, and the reply appears as it is written. On a line the reply is also the
value: r = %llama chat "..." keeps it. {{ python }} in the message is filled in; nothing else is changed.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

from llama_nb.core.errors import MessageError
from llama_nb.magics import generation, names
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%%llama\nWhat is a token?",
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
    parser.add_argument("--restore", action="store_true", help="bring back the notebook's chat from the disk")
    parser.add_argument("--from", dest="file", metavar="FILE", help="bring back a chat from a saved notebook")


def run(args: Namespace, call: Call) -> Any:
    """Send the message and return the Reply; with --restore or --from, bring the chat back first."""
    sampling = generation.sampling_from(args)
    text = generation.message_from(args.message, call, raw=args.raw, verb="chat").strip("\n").rstrip()
    options = {"overflow": args.overflow, "background": args.bg, **sampling}
    if args.chat is not None:
        options["chat"] = args.chat
    if args.system is not None:
        options["system"] = call.expand(args.system, raw=args.raw)
    if not text and not (args.restore or args.file):
        raise MessageError(
            "Nothing to send: the message is empty.",
            'Write it into the cell\'s body below %%llama, or on the line: %llama chat "..."',
        )
    model = generation.choose_model(args.model)
    if args.restore or args.file:
        restored = model.chats.restore(args.chat, Path(args.file).expanduser() if args.file else None)
        if not text:
            return _summary(restored)
    return generation.generate(call, args, lambda: model.chat(text, **options))


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
