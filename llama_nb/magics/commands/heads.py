"""Show what each attention head does: whether it copies, looks back, or looks at the start.

Without a text the model reads random tokens that come twice: how the second copy goes on is known from the
first alone, so that a large induction score is a head that copies. With --kind all heads are shown as a map
of layers and heads, and the strongest are ranked.
"""

from argparse import Namespace
from typing import Any

from llama_nb.interpret.score_kinds import NAMES
from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%llama heads",
    "%llama heads --kind induction",
    '%llama heads --kind sink "Once upon a time"',
    "%llama heads --kind previous --chat main",
    "%%llama heads scores <<\nThe cat sat on the mat. The cat sat on",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the text and the score."""
    parser.takes_text("text", "a text to read instead of random tokens")
    parser.add_argument("--kind", metavar="KIND", choices=NAMES, help=f"one score: {', '.join(NAMES)}")
    parser.add_named("--chat", names.chats, "read the chat's newest reply")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")


def run(args: Namespace, call: Call) -> Any:
    """Score the heads."""
    text = generation.message_from(args.text, call, raw=False, verb="heads").rstrip("\n")
    given = text if text or call.body is not None else None
    if given and args.chat:
        raise CommandError("There is a text and a chat.", 'Give one: %llama heads "Once upon a time"')
    return generation.choose_model(args.model).heads(args.kind, given, chat=args.chat)
