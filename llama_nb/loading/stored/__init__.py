"""Checkpoints that are quantised already: what config.json says of them, and who reads them.

A reader is a file of this package named after config.json's quant_method ("gptq"), with the members of
`Reader`. It says which tensors the files must hold; transformers and the method's own library read them.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from llama_nb.core.errors import LoadError
from llama_nb.loading.quantize import library_missing

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor that must be in the files of a quantised checkpoint.

    Attributes
    ----------
    dtypes
        The safetensors dtypes that it may have.
    shape
        None where only the library knows it.
    optional
        Whether it may be absent.
    wrong
        For a small tensor that says how others are to be read: returns what is wrong with its bytes, or None.
    """

    dtypes: frozenset[str]
    shape: tuple[int, ...] | None
    optional: bool = False
    wrong: Callable[[bytes], str | None] | None = None


class Reader(Protocol):
    """What the file of a reader exports. `settings` is config.json's quantization_config.

    Attributes
    ----------
    LIBRARY
        The import name of what it needs.
    """

    LIBRARY: str

    def label(self, settings: Settings) -> str:
        """Return what to call it: "bitsandbytes nf4". LoadError when the settings make no sense."""

    def refusal(self, settings: Settings, device: str) -> str | None:
        """Return a sentence that says why it does not run on `device`; None when it does."""

    def keeps(self, module_name: str, settings: Settings) -> bool:
        """Whether the linear layer called so is stored as float weights."""

    def tensors(
        self, module_name: str, shape: tuple[int, int], settings: Settings
    ) -> dict[str, StoredTensor]:
        """Return, by name, the tensors that stand for a linear layer's weight of (out, in) features."""

    def finish(self, module: "PreTrainedModel") -> None:
        """Set on a model that was read what makes it safe to use."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How a checkpoint is quantised: its reader, its settings, and what to call it."""

    reader: Reader
    settings: Settings
    label: str


def find(config: Mapping[str, Any]) -> Stored | None:
    """Return how the checkpoint of a config.json is quantised, None when it holds float weights.

    Raises
    ------
    LoadError
        If it is quantised in a way that nothing here reads, or its settings make no sense.
    """
    settings = config.get("quantization_config")
    if not settings:
        return None
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    if method is None and isinstance(settings, dict) and _bitsandbytes(settings):
        method = "bitsandbytes"  # written before transformers 4.33, which began to write quant_method
    reader = _readers().get(str(method))
    if reader is None:
        raise LoadError(
            f"The weights are quantised ({str(method or 'unknown method')[:40]}); what is read here besides "
            f"float weights: {', '.join(_readers())}.",
            "Load the model that it was made from, with --quant.",
        )
    return Stored(reader, settings, reader.label(settings))


def require(stored: Stored, name: str, device: str) -> None:
    """Raise LoadError unless a checkpoint called `name` that is quantised so can run on `device` here."""
    reason = library_missing(stored.reader.LIBRARY, f"{name} ({stored.label})")
    reason = reason or stored.reader.refusal(stored.settings, device)
    if reason is not None:
        raise LoadError(reason, "Load the model that it was made from, with --quant auto.")


def refuse_again(stored: Stored, name: str, quant: str | None) -> None:
    """Raise LoadError if a checkpoint that is quantised already shall be quantised by a method again."""
    if quant not in (None, "auto"):
        raise LoadError(
            f"{name} is quantised already ({stored.label}): quant {quant} would round it a second time.",
            "Leave quant out, or load the model that it was made from.",
        )


def _bitsandbytes(settings: Settings) -> bool:
    return bool(settings.get("load_in_4bit") or settings.get("load_in_8bit"))


@functools.cache
def _readers() -> dict[str, Reader]:
    modules = {
        entry.name: cast("Any", importlib.import_module(f"{__name__}.{entry.name}"))
        for entry in pkgutil.iter_modules(__path__)
    }
    return {name: cast("Reader", module) for name, module in modules.items() if hasattr(module, "LIBRARY")}
