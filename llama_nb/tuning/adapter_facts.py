"""What is known of an adapter beside its numbers: kind, size, where it comes from, what it may be called."""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from llama_nb.core.adapter import NO_ADAPTER
from llama_nb.core.errors import AdapterError, UnsupportedError

_NAME: Final = re.compile(r"[^\W_][\w .+=@-]{0,79}")
_RESERVED: Final = (NO_ADAPTER, "none", "base")


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What an adapter is.

    Attributes
    ----------
    method
        "lora", "dora" or "rslora".
    rank, alpha
        Of B·A, which is scaled by alpha / rank (rslora: by alpha / sqrt(rank)).
    target
        Ends of the names of the layers that it sits on.
    layers
        How many layers these are.
    parameters
        How many numbers it has.
    """

    name: str
    method: str
    rank: int
    alpha: float
    target: tuple[str, ...]
    layers: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an adapter comes from.

    Attributes
    ----------
    run
        Name of the run that trained it; "" where that is not known.
    recipe
        What it was trained with, as JSON values.
    folder
        Where it was loaded from or saved to last; "" for one that is in memory only.
    """

    run: str = ""
    recipe: Mapping[str, Any] | None = None
    folder: str = ""


def is_adapter_name(name: object) -> bool:
    """Whether `name` can be an adapter's: it becomes a folder's name and stands in commands."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and name.lower() not in _RESERVED


def check_adapter_name(name: str) -> None:
    """Raise AdapterError if `name` cannot be an adapter's."""
    if not is_adapter_name(name):
        raise AdapterError(
            f"An adapter cannot be called {name!r}.",
            "A name has up to 80 letters, digits, spaces and . - _ + = @, and begins with a letter or digit; "
            f"{', '.join(_RESERVED)} stand for no adapter.",
        )


def require_peft() -> None:
    """Raise UnsupportedError if peft is not installed; it is looked for, not imported."""
    if importlib.util.find_spec("peft") is None:
        raise UnsupportedError("Adapters need peft: it is not installed.", "pip install 'llama-nb[train]'")
