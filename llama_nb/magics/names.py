"""The names that Tab offers and that verbs look things up by. Nothing here loads a model or imports torch."""

import sys
import types
from collections.abc import Mapping
from typing import Any

from llama_nb.core.sampling import FIELDS
from llama_nb.runtime import presets as stored


def loaded() -> list[str]:
    """Return the names of the loaded models."""
    registry = sys.modules.get("llama_nb.session.registry")
    return list(registry.loaded()) if registry is not None else []


def loadable() -> list[str]:
    """Return what `%llama load` finds without a network: bundled models and the hub cache."""
    from llama_nb.loading import source

    return [*source.bundled(), *(model.name for model in source.cached())]


def quantisations() -> list[str]:
    """Return what `--quant` takes."""
    from llama_nb.loading import quantize

    return ["none", "auto", *quantize.names()]


def cached() -> list[str]:
    """Return the models of the hub cache, whole and half-downloaded."""
    from llama_nb.session import cache

    return cache.names()


def chats() -> list[str]:
    """Return the names of the current model's chats."""
    registry = sys.modules.get("llama_nb.session.registry")
    return list(registry.current().chats) if registry is not None and registry.loaded() else []


def adapters() -> list[str]:
    """Return the names of the current model's adapters."""
    registry = sys.modules.get("llama_nb.session.registry")
    there = registry is not None and registry.loaded()
    return list(registry.current().adapters.names) if registry is not None and there else []


def settings() -> list[str]:
    """Return the names that `%llama set` knows."""
    return list(FIELDS)


def presets() -> list[str]:
    """Return the names of the sampling presets, the user's own ones last."""
    return stored.names()


def functions(namespace: Mapping[str, Any] | None = None) -> list[str]:
    """Return the names of the functions that were written in this notebook (or stand in `namespace`)."""
    if namespace is None:
        main = sys.modules.get("__main__")
        namespace = vars(main) if main is not None else {}
    return [
        name
        for name, value in namespace.items()
        if isinstance(value, types.FunctionType)
        and value.__module__ == "__main__"
        and not name.startswith("_")
    ]
