"""Load a model: a bundled one, a folder in Hugging Face layout, a GGUF file, or a Hugging Face id.

Without a source: in a page a panel to search, choose and load with, elsewhere what can be loaded here without
a network. Everything is checked before weights are read, and a model that does not fit into the memory is
refused. Loading under a name that exists replaces it. With --replay the model is not needed: recorded replies
are played back (see %llama help record), of what was asked exactly as it is asked now.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

from llama_nb.core.events import Note, publish
from llama_nb.magics import names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.loadable import overview
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call
from llama_nb.runtime.environment import detect

EXAMPLES = (
    "%llama load cria",
    "%llama load cria --name second --dtype float32",
    "%llama load cria --quant nf4",
    "%llama load ./model.gguf",
    "%llama load cria --replay",
    "%llama load",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the source and how it is read."""
    parser.add_argument(
        "source",
        nargs="?",
        help="cria, a folder, a .gguf file, or an id such as meta-llama/Llama-3.2-1B-Instruct",
    )
    parser.add_argument("--name", help="what to call it; without it, what the source is called")
    parser.add_argument(
        "--dtype",
        metavar="FORMAT",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="the weights' number format",
    )
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_named("--quant", names.quantisations, "int8, nf4 ... or auto: quantise what does not fit")
    parser.add_argument("--context", type=int, metavar="N", help="tokens of context, to save memory")
    parser.add_argument("--force", action="store_true", help="stop what uses the model that is replaced")
    parser.add_argument(
        "--replay",
        nargs="?",
        const=True,
        metavar="FILE",
        help="play back what was recorded; without FILE the notebook's own recording",
    )


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return what is found without a network."""
    return () if words else names.loadable()


def run(args: Namespace, call: Call) -> Any:
    """Load and return the Model."""
    del call
    if args.source is None and args.replay is not None:
        raise CommandError("Which model is to be played back?", "%llama load cria --replay")
    if args.source is None and args.name is None:
        return _without_source()
    from llama_nb.session import registry

    model = registry.load(
        args.source or "",
        quant=args.quant,
        dtype=args.dtype,
        device=args.device,
        context=args.context,
        name=args.name,
        force=args.force,
        replay=args.replay,
    )
    verb = "%%llama" if model.engine.has_chat_template else "%%llama complete"
    publish(Note(f"To talk to it: {verb} on the first line of a cell, the text below."))
    return model


def _without_source() -> Shown | None:
    environment = detect()
    if not (environment.watched and environment.widgets):
        return overview() + Shown("To load one: %llama load cria")
    from llama_nb.widgets import loader_panel

    loader_panel.show()
    return None
