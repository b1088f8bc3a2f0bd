"""Show the loaded models, their memory and device, what is running, the chats, and runs that go on."""

from argparse import Namespace
from typing import Any

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
    shown = _models(watched=watched)
    runs = _runs() if watched else None
    return shown if runs is None else shown + runs


def _models(*, watched: bool) -> Shown:
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
            _running(model) if watched else "",
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


def _running(model: Any) -> str:
    """What a model does now: the answer that is written, else the training that goes on."""
    from llama_nb.session.training import training_on

    training = training_on(model)
    return model.engine.busy() or (f"{training.purpose}, {training.detail()}" if training else "")


def _runs() -> Shown | None:
    """Return the training runs below this folder that go on, whoever executes them."""
    from llama_nb.render.text import to_text
    from llama_nb.session.runs import run_table
    from llama_nb.tuning.run import list_runs

    going_on = [run for run in list_runs() if not run.over]
    if not going_on:
        return None
    node = run_table(going_on, watched=True)
    return Shown(to_text([node]), [node])
