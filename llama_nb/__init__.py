"""A Llama in a notebook: load it with one line, talk to it in a cell.

Only names live here, and each is imported when it is first used: importing llama_nb costs milliseconds.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from llama_nb.catalog.licences import licence
    from llama_nb.catalog.models import models
    from llama_nb.catalog.providers import providers
    from llama_nb.core.errors import LlamaError
    from llama_nb.core.messages import Message
    from llama_nb.core.sampling import Sampling
    from llama_nb.interpret.attention import AttentionTrace
    from llama_nb.interpret.routing import RoutingTrace
    from llama_nb.planner.cost import cost
    from llama_nb.planner.selection import select
    from llama_nb.session.chat import Chat
    from llama_nb.session.compare import compare
    from llama_nb.session.converting import convert
    from llama_nb.session.doctor.examine import doctor
    from llama_nb.session.model import Model
    from llama_nb.session.planning import plan
    from llama_nb.session.quantisations import compare_quantisations
    from llama_nb.session.record import record
    from llama_nb.session.registry import current, load, loaded, unload, use
    from llama_nb.session.reply import Reply
    from llama_nb.session.runs import compare_runs
    from llama_nb.session.tool_function import tool
    from llama_nb.tuning.run import Run, list_runs, open_run

__version__ = "0.1.0"

_HOMES: Final = {
    "AttentionTrace": "llama_nb.interpret.attention",
    "Chat": "llama_nb.session.chat",
    "LlamaError": "llama_nb.core.errors",
    "Message": "llama_nb.core.messages",
    "Model": "llama_nb.session.model",
    "Reply": "llama_nb.session.reply",
    "RoutingTrace": "llama_nb.interpret.routing",
    "Run": "llama_nb.tuning.run",
    "Sampling": "llama_nb.core.sampling",
    "compare": "llama_nb.session.compare",
    "compare_runs": "llama_nb.session.runs",
    "convert": "llama_nb.session.converting",
    "cost": "llama_nb.planner.cost",
    "compare_quantisations": "llama_nb.session.quantisations",
    "current": "llama_nb.session.registry",
    "doctor": "llama_nb.session.doctor.examine",
    "licence": "llama_nb.catalog.licences",
    "list_runs": "llama_nb.tuning.run",
    "load": "llama_nb.session.registry",
    "loaded": "llama_nb.session.registry",
    "models": "llama_nb.catalog.models",
    "open_run": "llama_nb.tuning.run",
    "plan": "llama_nb.session.planning",
    "providers": "llama_nb.catalog.providers",
    "record": "llama_nb.session.record",
    "select": "llama_nb.planner.selection",
    "tool": "llama_nb.session.tool_function",
    "unload": "llama_nb.session.registry",
    "use": "llama_nb.session.registry",
}

__all__ = [
    "AttentionTrace",
    "Chat",
    "LlamaError",
    "Message",
    "Model",
    "Reply",
    "RoutingTrace",
    "Run",
    "Sampling",
    "__version__",
    "compare",
    "compare_quantisations",
    "compare_runs",
    "convert",
    "cost",
    "current",
    "doctor",
    "licence",
    "list_runs",
    "load",
    "load_ipython_extension",
    "loaded",
    "models",
    "open_run",
    "plan",
    "providers",
    "record",
    "select",
    "tool",
    "unload",
    "unload_ipython_extension",
    "use",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """Register `%llama` and `%%llama` in an IPython shell (`%load_ext llama_nb`)."""
    importlib.import_module("llama_nb.magics.extension").load_ipython_extension(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take back what `load_ipython_extension` registered (`%unload_ext llama_nb`)."""
    importlib.import_module("llama_nb.magics.extension").unload_ipython_extension(shell)
