"""Give a model's memory back, whatever still refers to it.

Without a name: the current model. What is in use is unloaded only with --force, which stops it first.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence

from llama_nb.magics import names
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.units import size
from llama_nb.magics.verbs import Call
from llama_nb.runtime.environment import detect

EXAMPLES = ("%llama unload", "%llama unload cria --force")


def add_arguments(parser: VerbParser) -> None:
    """Declare the name and --force."""
    parser.add_argument("name", nargs="?", help="a loaded model; without it the current one")
    parser.add_argument("--force", action="store_true", help="stop what uses the model")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return the loaded models."""
    return () if words else names.loaded()


def run(args: Namespace, call: Call) -> Shown:
    """Unload and say the bytes."""
    del call
    from llama_nb.session import registry

    model = registry.current() if args.name is None else registry.find(args.name)
    played = f"; it was played back from {model.replayed}" if model.replayed and detect().watched else ""
    freed = model.unload(force=args.force)
    left = ", ".join(registry.loaded()) or "none"
    given = played or f": {size(freed)} given back"
    return Shown(f"Unloaded {model.name}{given}. Loaded now: {left}.")
