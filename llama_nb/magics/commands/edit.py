"""Put a message of yours in other words and have that answered; what followed the old words stays.

In a cell the body is the new message. The conversation goes on from it; `%llama goto` leads back.
"""

from argparse import Namespace
from typing import Any

from llama_nb.magics import generation, places
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = (
    '%llama edit "What is 2 + 4?"',
    "%%llama edit --at 1\nWhat is a token, in one sentence?",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the new words, which message they replace, and the options of a generation."""
    parser.takes_text("message", "the new words, with or without quotes")
    places.add_place(parser, "your last message")
    generation.add_options(parser)


def run(args: Namespace, call: Call) -> Any:
    """Send the new words and return the Reply."""
    text = generation.message_from(args.message, call, raw=args.raw, verb="edit").strip("\n").rstrip()
    model = generation.choose_model(args.model)
    options = {**places.place(args, "user"), **generation.sampling_from(args)}
    return generation.generate(call, args, lambda: model.edit(text, background=args.bg, **options))
