"""Show the loaded models, their memory and device, what is running, and the chats."""

from argparse import Namespace

from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown, table
from llama_nb.magics.status_report import StatusReport
from llama_nb.magics.units import number, size
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama status",)


def add_arguments(parser: VerbParser) -> None:
    """Declare nothing."""
    del parser


def run(args: Namespace, call: Call) -> Shown:
    """Return the tables; for somebody who watches, with the memory of the machine."""
    del args, call
    from llama_nb.runtime.environment import detect

    # A memory figure would differ in each run, so it is left out where outputs are compared.
    return report() if detect().watched else tables(watched=False)


def report() -> StatusReport:
    """Return what there is now, with the memory of the machine."""
    from llama_nb.session.memory_use import memory_use

    return StatusReport(tables(watched=True), memory_use(), report)


def tables(*, watched: bool) -> Shown:
    """Return the loaded models and their chats; what runs just now only if somebody watches."""
    from llama_nb.session import registry

    loaded = registry.loaded()
    if not loaded:
        return Shown("No model is loaded. To load one: %llama load cria")
    current = registry.current()
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
    return shown + table(["model", "chat", "turns"], chats) if chats else shown
