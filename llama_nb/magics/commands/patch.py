"""Put what the model knows in one text into its run on another, and see where the answer comes back.

In a cell: the clean text on the first line, the corrupt one on the second, with as many tokens. Each layer
and token of the corrupt run is taken from the clean run in turn; 1 says that the clean answer is back.
"""

from argparse import Namespace
from typing import Any, Final

from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

SITES: Final = ("layer", "attention", "mlp", "head")
_HINT: Final = "Two lines below %%llama patch: the clean text, then the corrupt one."
EXAMPLES = (
    '%%llama patch --answer " Ida" --wrong " Noah"\n'
    "Once upon a time, Ida lived in a quiet village.\nOnce upon a time, Noah lived in a quiet village.",
    "%%llama patch --site head\n"
    "Once upon a time, Ida lived in a quiet village.\nOnce upon a time, Noah lived in a quiet village.",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare what is patched, and which answers are compared."""
    parser.add_argument("--answer", metavar="TEXT", help='the clean text\'s token, such as " Ida"')
    parser.add_argument(
        "--wrong", metavar="TEXT", help="the corrupt text's; default: what either goes on with"
    )
    parser.add_argument(
        "--site", choices=SITES, metavar="WHAT", default=SITES[0], help=f"what is patched: {', '.join(SITES)}"
    )
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--raw", action="store_true", help="take {{ ... }} as typed")


def run(args: Namespace, call: Call) -> Any:
    """Return the map."""
    if call.body is None:
        raise CommandError("Patching needs two texts.", _HINT)
    lines = [line for line in call.expand(call.body, raw=args.raw).splitlines() if line.strip()]
    if len(lines) != 2:
        raise CommandError(f"Patching needs two texts, and there are {len(lines)} lines.", _HINT)
    model = generation.choose_model(args.model)
    return model.patch(*lines, args.answer, args.wrong, site=args.site)
