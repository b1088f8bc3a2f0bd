"""Answer a message once more; the new answer stands beside the old one.

The conversation goes on from the new answer; `%llama goto` leads back to the old one. Parameters on the line
hold for this answer, and another seed is drawn unless one is given.
"""

from argparse import Namespace
from typing import Any

from llama_nb.magics import generation, places
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%llama retry",
    "%llama retry --temperature 1",
    "again = %llama retry --at 1 --seed 7",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare which answer, and the options of a generation."""
    places.add_place(parser, "the last answer")
    generation.add_options(parser)


def run(args: Namespace, call: Call) -> Any:
    """Answer again and return the Reply."""
    places.refuse_body(call, "retry")
    model = generation.choose_model(args.model)
    options = {**places.place(args, "assistant"), **generation.sampling_from(args)}
    return generation.generate(call, args, lambda: model.retry(background=args.bg, **options))
