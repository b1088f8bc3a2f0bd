"""Show what the model really sees: the rendered chat template with its special tokens, token by token.

Without a message: the chat as it was last sent. With one: the chat as it would be sent with it.
"""

from argparse import Namespace
from typing import Any

from llama_nb.magics import generation, names
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama prompt", "%llama prompt And what is a logit?", "%%llama prompt\nWhat would you see?")


def add_arguments(parser: VerbParser) -> None:
    """Declare the message and the chat."""
    parser.takes_text("message", "a message to try, which is not sent")
    parser.add_named("--chat", names.chats, "the conversation")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--raw", action="store_true", help="take {{ ... }} as typed")


def run(args: Namespace, call: Call) -> Any:
    """Return the view of the prompt."""
    text = generation.message_from(args.message, call, raw=args.raw, verb="prompt").strip("\n").rstrip()
    options = {} if args.chat is None else {"chat": args.chat}
    return generation.choose_model(args.model).prompt(text or None, **options)
