"""Log in to the Hugging Face hub: asks for your token, checks it and keeps it.

What you type is not shown, and stands in no output, no history and no variable. The token is kept where all
of Hugging Face's libraries look for it. An empty answer changes nothing.
"""

import getpass
from argparse import Namespace
from collections.abc import Iterable, Sequence

from llama_nb.core.errors import LlamaError
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call
from llama_nb.runtime.environment import detect

EXAMPLES = ("%llama login",)


def add_arguments(parser: VerbParser) -> None:
    """Declare where to log in."""
    parser.add_argument("provider", nargs="?", help="hub, which is also what no word means")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return the places one can log in to."""
    return () if words else ("hub",)


def run(args: Namespace, call: Call) -> Shown:
    """Ask, check, store, and say where."""
    del call
    if args.provider not in (None, "hub"):
        # It is not repeated: what stands here by mistake is most likely a token.
        raise CommandError(
            "%llama login knows one place: hub. A token does not belong on the line, where it is saved.",
            "Type %llama login alone; if that was a token, make a new one and revoke it.",
        )
    if not detect().watched:
        raise LlamaError(
            "Nobody is there to type a token: this run answers no questions.",
            "Set HF_TOKEN in the environment that starts it.",
        )
    from llama_nb.session.login import login

    stored = login(getpass.getpass)
    if stored is None:
        return Shown("Nothing was typed; nothing is changed.")
    text = f"Logged in: the hub accepts the token. It is kept in {stored.file}."
    if stored.overruled_by:
        text += (
            f" But {stored.overruled_by} is set in this kernel's environment and wins over it: "
            f"to use the stored token, start the kernel without {stored.overruled_by}."
        )
    return Shown(text)
