"""Stop what goes on in the background: replies, trainings in this kernel, and loads of the panel.

The written part of a reply stays, and a training leaves a checkpoint, from which it can go on exactly.
"""

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
    from llama_nb.session.training import stop_trainings

    stopped, cancelled = registry.stop_all(), load_job.cancel_all()
    trainings = stop_trainings(registry.loaded().values())
    said = [f"Stopped {stopped} {'reply' if stopped == 1 else 'replies'}."] if stopped else []
    said += [f"Stopping {each}, with a checkpoint; %llama train --resume goes on." for each in trainings]
    said += [f"Cancelled {cancelled} {'load' if cancelled == 1 else 'loads'}."] if cancelled else []
    return Shown(" ".join(said) or "Nothing was running.")
