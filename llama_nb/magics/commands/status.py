"""Show the loaded models, their memory and device, what is running, and the chats."""

from argparse import Namespace

from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown, table
from llama_nb.magics.units import number, size
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama status",)


def add_arguments(parser: VerbParser) -> None:
    """Declare nothing."""
    del parser


def run(args: Namespace, call: Call) -> Shown:
    """Return the tables."""
    del args, call
    from llama_nb.runtime.devices import available_memory
    from llama_nb.runtime.environment import detect
    from llama_nb.session import registry

    loaded = registry.loaded()
    if not loaded:
        return Shown("No model is loaded. To load one: %llama load cria")
    current = registry.current()
    watched = detect().watched
    headings = ["model", "", "parameters", "weights", "format", "device", "context", "running"]
    rows = [
        [
            name,
            "current" if model is current else "",
            number(model.parameters),
            size(model.bytes),
            model.quant or model.dtype,
            model.device,
            f"{model.context:,}",
            (model.engine.busy() or "") if watched else "",
        ]
        for name, model in loaded.items()
    ]
    shown = table(headings, rows)
    chats = [
        [name, chat_name, f"{chat.turn_count()}"]
        for name, model in loaded.items()
        for chat_name, chat in model.chats.items()
    ]
    if chats:
        shown += table(["model", "chat", "turns"], chats)
    # A memory figure would differ in each run, so it is left out where outputs are compared.
    return shown + Shown(f"{size(available_memory())} of memory are free.") if watched else shown
