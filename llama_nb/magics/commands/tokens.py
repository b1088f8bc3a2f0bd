"""Show how a text is cut into tokens, with their ids.

Control tokens in the text stay text, as they do in a message.
"""

from argparse import Namespace
from typing import Any

from llama_nb.core.errors import MessageError
from llama_nb.magics import generation, names
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = ('%llama tokens "unbelievable tokenisation"', "%%llama tokens\ntwo lines\nof text")


def add_arguments(parser: VerbParser) -> None:
    """Declare the text."""
    parser.takes_text("words", "the text, with or without quotes")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--raw", action="store_true", help="take {{ ... }} as typed")


def run(args: Namespace, call: Call) -> Any:
    """Return the view of the tokens."""
    text = generation.message_from(args.words, call, raw=args.raw, verb="tokens").removesuffix("\n")
    if not text:
        raise MessageError("There is no text to cut into tokens.", 'An example: %llama tokens "unbelievable"')
    return generation.choose_model(args.model).tokens(text)
