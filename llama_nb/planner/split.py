"""A model on several equal GPUs: what tensor parallelism cuts, and what every GPU holds whole.

Queries, feed-forward, experts, embedding and head are cut (arXiv:1909.08053, section 3). Key and value heads
are cut where their number allows; with more GPUs than heads each GPU holds one, else all of them. Norms,
routers and the hidden states are on every GPU. Where query heads cannot be shared out, whole layers are.
"""

import math
from dataclasses import dataclass

from llama_nb.planner.shape import Shape, TensorGroup


@dataclass(frozen=True, slots=True)
class Split:
    """How `count` GPUs share a model; factors say how often a thing is held by all of them together."""

    shape: Shape
    count: int = 1

    @property
    def by_layers(self) -> bool:
        """Whether whole layers are shared out, because heads cannot be."""
        return self.shape.heads % self.count != 0

    def factor(self, group: TensorGroup) -> float:
        """Return how often the GPUs hold a group of tensors."""
        if self.by_layers:
            return 1.0 if group.part in ("embedding", "head") else self._uneven
        if group.name in ("k_proj", "v_proj"):
            return self.keys
        cut = group.part in ("embedding", "head") or group.quantised
        return 1.0 if cut else float(self.count)

    @property
    def keys(self) -> float:
        """How often keys and values are held, in the weights and in the cache."""
        if self.by_layers:
            return self._uneven
        heads = self.shape.kv_heads
        if heads % self.count == 0:
            return 1.0
        return self.count / heads if self.count % heads == 0 else float(self.count)

    @property
    def sentence(self) -> str:
        """What is cut and what is not, for a note."""
        heads, keys = self.shape.heads, self.shape.kv_heads
        if self.by_layers:
            return (
                f"{heads} heads cannot be shared out to {self.count} GPUs: each takes whole layers instead."
            )
        rest = "norms, routers and hidden states are on each"
        if self.keys == 1:
            return f"Each of {self.count} GPUs holds {heads // self.count} query heads; {rest}."
        times = f"{self.keys:.3g} times"
        return f"{keys} key/value heads do not divide among {self.count} GPUs: they are held {times}; {rest}."

    @property
    def _uneven(self) -> float:
        return math.ceil(self.shape.layers / self.count) * self.count / self.shape.layers
