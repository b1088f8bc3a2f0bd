"""Continue a text as it is, without a chat template.

For base models, and to see what a model does by itself.
In a cell the body is the text, to the last character before its final line break.
"""

from argparse import Namespace
from typing import Any

from llama_nb.magics import generation, names
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%llama complete Once upon a time --max-tokens 20",
    "%%llama complete --temperature 0 --max-tokens 20\nOnce upon a time, there was a",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the options."""
    parser.takes_text("start", "the beginning of the text")
    generation.add_options(parser)
    parser.add_named(
        "--adapter", names.adapters, "the adapter that answers, off for none; default what is on"
    )


def run(args: Namespace, call: Call) -> Any:
    """Continue the text and return the Reply."""
    sampling = generation.sampling_from(args)
    text = generation.message_from(args.start, call, raw=args.raw, verb="complete").removesuffix("\n")
    model = generation.choose_model(args.model)
    options = {"adapter": args.adapter, "background": args.bg, **sampling}
    return generation.generate(call, args, lambda: model.complete(text, **options))
