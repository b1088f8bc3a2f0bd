"""Stop every reply that is being written, also in the background; what is written stays."""

from argparse import Namespace

from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama stop",)


def add_arguments(parser: VerbParser) -> None:
    """Declare nothing."""
    del parser


def run(args: Namespace, call: Call) -> Shown:
    """Stop everything and say how much it was."""
    del args, call
    from llama_nb.session import registry

    stopped = registry.stop_all()
    if not stopped:
        return Shown("Nothing was running.")
    return Shown(f"Stopped {stopped} {'reply' if stopped == 1 else 'replies'}.")
