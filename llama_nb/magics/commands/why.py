"""Show how sure the model was of each token of a reply, and what it could have said instead.

In a cell the body is a message, as for chat. On a line without a message: the last reply.
"""

from argparse import Namespace
from typing import Any

from llama_nb.core.errors import MessageError
from llama_nb.magics import generation
from llama_nb.magics.commands import chat
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%%llama why\nWhat is a token?",
    "%llama why",
    "%llama why --by entropy",
    "%%llama chat --why --temperature 1\nWhat is attention?",
    "%%llama why w << --preset creative\nTell me of the sea.",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the message and the options of chat."""
    chat.add_arguments(parser)


def run(args: Namespace, call: Call) -> Any:
    """Send the message, or take the last reply, and return the view of its tokens."""
    if args.bg:
        raise generation.no_why_yet()
    if call.body is None and not (args.message or args.restore or args.file):
        return _last(args)
    args.why = False
    reply = chat.run(args, call)
    return reply.why(args.by) if hasattr(reply, "why") else reply


def _last(args: Namespace) -> Any:
    reply = generation.choose_model(args.model).last
    if reply is None:
        raise MessageError("There is no reply yet.", 'Try %llama why "What is a token?"')
    return reply.why(args.by)
