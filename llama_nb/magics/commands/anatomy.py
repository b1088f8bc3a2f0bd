"""Draw the loaded model layer by layer: every block with its shapes, parameters, bytes and formula.

With a text, in the cell or on the line, what runs through each block when the model reads it is measured as
well. In a page each block can be opened; grouped queries, RoPE, RMSNorm and SwiGLU have views of their own.
"""

from argparse import Namespace
from typing import Any

from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%llama anatomy",
    '%llama anatomy "Once upon a time"',
    "%%llama anatomy\nThe three primary colours are red, green and blue.",
    "a = %llama anatomy",
    "%llama anatomy --text",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the text and the model."""
    parser.takes_text("text", "a text for the model to read")
    parser.add_named("--chat", names.chats, "read the newest reply of this chat instead")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--raw", action="store_true", help="take {{ ... }} as typed")
    parser.add_argument("--text", dest="as_text", action="store_true", help="tables, no widget")


def run(args: Namespace, call: Call) -> Any:
    """Return the anatomy."""
    text = generation.message_from(args.text, call, raw=args.raw, verb="anatomy").rstrip("\n")
    if text and args.chat:
        raise CommandError("There is a text and a chat.", 'Give one: %llama anatomy "Once upon a time"')
    found = generation.choose_model(args.model).anatomy(text or None, chat=args.chat)
    return Shown(found._repr_mimebundle_()["text/plain"]) if args.as_text else found
