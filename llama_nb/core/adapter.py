"""How adapters are named where somebody asks for them: one, none, or several with weights."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from llama_nb.core.errors import AdapterError

NO_ADAPTER: Final = "off"  # in the place of an adapter's name: the base model alone


def mix_label(weights: Mapping[str, float]) -> str:
    """Return adapters as one writes them: "persona", "a:0.7 b:0.3"; "" for the base alone."""
    if len(weights) == 1 and set(weights.values()) == {1.0}:
        return next(iter(weights))
    return " ".join(f"{name}:{weight:g}" for name, weight in weights.items())


def read_mix(words: Iterable[str]) -> dict[str, float]:
    """Read "a:0.7", "b:0.3"; a name alone has the weight 1.

    Raises
    ------
    AdapterError
        If a weight is no number, a name comes twice, or there is none.
    """
    weights: dict[str, float] = {}
    for word in words:
        name, colon, said = word.partition(":")
        try:
            weight = float(said) if colon else 1.0
        except ValueError:
            weight = math.nan
        if not name or not math.isfinite(weight):
            raise AdapterError(
                f"{word!r} is no adapter with a weight.",
                "Write name:weight, as in: %llama adapter mix a:0.7 b:0.3",
            )
        if name in weights:
            raise AdapterError(f"{name} is there twice.", "Give each adapter one weight.")
        weights[name] = weight
    if not weights:
        raise AdapterError("There is nothing to mix.", "%llama adapter mix a:0.7 b:0.3")
    return weights
