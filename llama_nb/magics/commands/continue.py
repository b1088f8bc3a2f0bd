"""Go on with an answer that was stopped or cut off; the longer answer stands beside it."""  # noqa: N999 - the verb is called so

from argparse import Namespace
from typing import Any

from llama_nb.magics import generation, places
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%llama continue",
    "longer = %llama continue --max-tokens 40",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare which answer, and the options of a generation."""
    places.add_place(parser, "the last answer")
    generation.add_options(parser)


def run(args: Namespace, call: Call) -> Any:
    """Go on and return the Reply, which holds the whole answer."""
    places.refuse_body(call, "continue")
    model = generation.choose_model(args.model)
    options = {**places.place(args, "assistant"), **generation.sampling_from(args)}
    return generation.generate(call, args, lambda: model.go_on(background=args.bg, **options))
