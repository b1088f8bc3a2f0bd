"""Stop what goes on in the background: replies, whose written part stays, and loads of the panel."""

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
    from llama_nb.session import load_job, registry

    stopped, cancelled = registry.stop_all(), load_job.cancel_all()
    said = [f"Stopped {stopped} {'reply' if stopped == 1 else 'replies'}."] if stopped else []
    said += [f"Cancelled {cancelled} {'load' if cancelled == 1 else 'loads'}."] if cancelled else []
    return Shown(" ".join(said) or "Nothing was running.")
