"""Which engine runs what was loaded. An engine is a file here that exports `open_engine`."""

from importlib import import_module
from typing import Final

from llama_nb.engines.base import Engine, LoadedModel

# The kind of what was loaded, and the module that runs it; imported when the first model of the kind opens.
_ENGINES: Final = {
    "transformers": "llama_nb.engines.transformers_engine",
    "replay": "llama_nb.engines.replay_engine",
}


def open_engine(loaded: LoadedModel) -> Engine:
    """Return an engine over weights in memory."""
    module = import_module(_ENGINES[getattr(loaded, "kind", "transformers")])
    engine: Engine = module.open_engine(loaded)
    return engine
