"""List the models: bundled, in the Hugging Face cache, and loaded."""

from argparse import Namespace

from llama_nb.magics.loadable import overview
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama models",)


def add_arguments(parser: VerbParser) -> None:
    """Declare nothing."""
    del parser


def run(args: Namespace, call: Call) -> Shown:
    """Return the table."""
    del args, call
    return overview()
