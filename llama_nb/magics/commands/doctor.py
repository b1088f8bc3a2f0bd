"""Examine this installation: what is wrong, and the one command against each problem.

It looks at Python, the libraries, torch and GPUs, the page and its extension, memory, disk, the hub and your
log-in (never at the token itself). Nothing is changed. It takes some seconds: libraries that may be broken
are imported in another process.
"""

from argparse import Namespace
from typing import Any

from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama doctor", "%llama doctor --report")


def add_arguments(parser: VerbParser) -> None:
    """Declare what to make of it."""
    parser.add_argument(
        "--report", action="store_true", help="a text for a bug report: without keys, names and folders"
    )
    parser.add_argument(
        "--account", action="store_true", help="ask the hub whether it takes your token (it is sent there)"
    )


def run(args: Namespace, call: Call) -> Any:
    """Return the Diagnosis, or the text of the report."""
    del call
    from llama_nb.session.doctor.examine import doctor

    diagnosis = doctor(account=args.account)
    return Shown(diagnosis.report()) if args.report else diagnosis
