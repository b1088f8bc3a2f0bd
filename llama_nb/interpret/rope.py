"""By which angles a model turns its queries and keys: rotary position embeddings as they really are in it.

Reads the frequencies of a transformers module, scaled ones too. Knows torch; computes no forward pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from llama_nb.interpret.anatomy import decoder


@dataclass(frozen=True, slots=True)
class Rope:
    """The angles of rotary position embeddings (Su et al. 2021, https://arxiv.org/abs/2104.09864).

    Attributes
    ----------
    frequencies
        By how many radians each pair of dimensions turns from one position to the next.
    unscaled
        What they would be without scaling: base ** (-2 i / dimensions).
    base
        The base ("rope_theta").
    kind, scaling
        The kind of scaling ("default" for none, "llama3") and its numbers.
    adjacent
        Whether pair i are the dimensions 2 i and 2 i + 1, as in Llama 4; else i and i + pairs, as
        transformers stores the other Llamas.
    """

    frequencies: tuple[float, ...]
    unscaled: tuple[float, ...]
    base: float
    kind: str
    scaling: Mapping[str, float]
    adjacent: bool


def rope(module: Any) -> Rope | None:
    """Return the angles by which a model's queries and keys are turned; None where it turns none."""
    turner = getattr(decoder(module), "rotary_emb", None)
    found = getattr(turner, "inv_freq", None)
    if not isinstance(found, torch.Tensor):
        return None
    says = dict(getattr(module.config, "rope_parameters", None) or {})
    base, pairs = float(says.pop("rope_theta", 10_000.0)), found.numel()
    return Rope(
        frequencies=tuple(found.double().tolist()),
        unscaled=tuple(base ** (-2 * pair / (2 * pairs)) for pair in range(pairs)),
        base=base,
        kind=str(says.pop("rope_type", "default")),
        scaling={key: float(value) for key, value in says.items() if isinstance(value, int | float)},
        adjacent=str(module.config.model_type).startswith("llama4"),
    )
