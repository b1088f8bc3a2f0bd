"""List the training runs of this folder, or lay the curves of some of them on each other.

A run is a folder below ./runs, so those of other kernels and processes, and of yesterday, are there, too.
With names: their losses in one picture, and where their recipes differ.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

from llama_nb.magics import training_words
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call
from llama_nb.runtime.environment import detect

EXAMPLES = ("%llama runs", "%llama runs persona", "%llama runs persona persona-2")


def add_arguments(parser: VerbParser) -> None:
    """Declare the runs."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="runs to compare; of one, the run itself")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return the runs that were not named yet."""
    return [name for name in training_words.run_names() if name not in words]


def run(args: Namespace, call: Call) -> Any:
    """Return the table, a Run, or a comparison."""
    del call
    from llama_nb.render.text import to_text
    from llama_nb.session.runs import compare_runs, run_table
    from llama_nb.tuning.run import list_runs, open_run

    asked = list(dict.fromkeys(args.names))
    if len(asked) > 1:
        return compare_runs(*asked)
    if asked:
        return open_run(asked[0])
    runs = list_runs()
    if not runs:
        return Shown("There is no run here. To start one: %llama train data.jsonl")
    node = run_table(runs, watched=detect().watched)
    return Shown(to_text([node]), [node])
