"""Choose which of the loaded models answers; without a name, say which one does."""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

from llama_nb.magics import names
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama use cria", "%llama use")


def add_arguments(parser: VerbParser) -> None:
    """Declare the name."""
    parser.add_argument("name", nargs="?", help="a loaded model")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return the loaded models."""
    return () if words else names.loaded()


def run(args: Namespace, call: Call) -> Any:
    """Make the model the current one and return it."""
    del call
    from llama_nb.session import registry

    if args.name is not None:
        registry.use(args.name)
    return registry.current()
