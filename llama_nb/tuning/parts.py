"""What a run is executed with: the base model in memory, its engine, and the adapters in it.

A kernel hands over what it has loaded; a process of its own loads it by what the run's folder says.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.run_folder import Base

if TYPE_CHECKING:
    from llama_nb.engines.transformers_engine import TransformersEngine
    from llama_nb.loading.weights import Loaded
    from llama_nb.tuning.adapters import AdapterSet


@dataclass(frozen=True, slots=True)
class Parts:
    """A loaded model as training sees it.

    Parameters
    ----------
    engine
        What owns the worker and the caches.
    loaded
        The module, its tokenizer and what was found in its folder.
    adapters
        Those that are in the module.
    source
        What `llama_nb.load` takes to load the same model again.
    name
        What the model is called in messages.
    fingerprint
        Tells its weights from others.
    """

    engine: "TransformersEngine"
    loaded: "Loaded"
    adapters: "AdapterSet"
    source: str
    name: str
    fingerprint: str

    @property
    def module(self) -> Any:
        """The transformers model."""
        return self.loaded.module

    @property
    def base(self) -> Base:
        """What a run's folder keeps of it."""
        return Base(
            _absolute(self.source),
            self.name,
            self.fingerprint,
            self.loaded.quant,
            self.loaded.dtype,
            self.loaded.device,
            self.engine.context,
        )


def _absolute(source: str) -> str:
    """Return the source so that it names the same from another folder; names stay names."""
    path = Path(source).expanduser()
    written_as_path = "/" in source or "\\" in source or path.suffix == ".gguf"
    return str(path.absolute()) if written_as_path and path.exists() else source


def load_parts(base: Base, *, device: str | None = None) -> Parts:
    """Load the model that a run trains, as it was in memory when the run was started.

    Parameters
    ----------
    device
        Where, if not where it was: each of several processes has a GPU of its own.

    Raises
    ------
    LoadError, FitError
        If it cannot be loaded.
    TrainingError
        If what is found there now has other weights.
    """
    from llama_nb.engines.transformers_engine import TransformersEngine
    from llama_nb.loading import quantize
    from llama_nb.loading.open import load_checked
    from llama_nb.tuning.adapters import AdapterSet

    loaded = load_checked(
        base.source,
        dtype=base.dtype,
        device=device or base.device,
        quant=base.quant if base.quant in quantize.names() else None,  # else its files are quantised
        context=base.context,
        name=base.name,
    )
    found = loaded.checked.fingerprint
    if found != base.fingerprint:
        raise TrainingError(
            f"{base.source} has other weights now (fingerprint {found}) than when the run was started "
            f"({base.fingerprint}).",
            "Put the old files back, or start a new run on the new ones.",
        )
    engine = TransformersEngine(loaded)
    adapters = AdapterSet(loaded.module, base_name=base.source, base_fingerprint=found)
    engine.adapters = adapters
    return Parts(engine, loaded, adapters, base.source, base.name, found)
