"""What a mixture of experts costs on the tokens that were read: what works, is read, and is worth keeping.

Arithmetic on a trace's chosen experts and the model's sizes; measures no time and needs no model.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from llama_nb.core.errors import TraceError
from llama_nb.interpret.expert_cache import CacheSize, simulate, stretches
from llama_nb.interpret.expert_sizes import ExpertSizes
from llama_nb.interpret.routing_load import load_of
from llama_nb.planner.options import quoted
from llama_nb.render.routing_cost import bundle
from llama_nb.render.units import number, size

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.interpret.routing import RoutingTrace

_AT_ONCE: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SPOKEN_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class RoutingCost:
    """What the experts of a text cost.

    Attributes
    ----------
    model, title
        Which model it was, and what was read.
    sizes
        What the model weighs; its `top_k` is how many experts the tokens of this trace went through.
    tokens, simulated
        How many tokens were read, and how many of them the caches were tried on.
    cache
        Hit rates of a cache of n experts in each layer, n from 1 to all. It begins empty.
    batch
        For n sequences that are decoded at once, the share of the experts that one step of theirs needs: what
        is expected of n tokens drawn from those that were read, each by itself.
    """

    model: str
    title: str
    sizes: ExpertSizes
    tokens: int
    simulated: int
    cache: tuple[CacheSize, ...]
    batch: tuple[tuple[int, float], ...]

    def kept_bytes(self, experts: int) -> int:
        """Return the bytes that stay where they are needed with a cache of so many experts a layer."""
        sizes = self.sizes
        return sizes.total_bytes - sizes.routed_bytes + sizes.layers * experts * sizes.expert_bytes

    def moved_bytes(self, experts: int) -> float:
        """Return the bytes that are brought for a token with a cache (LRU) of so many experts a layer.

        Raises
        ------
        TraceError
            If that size was not tried.
        """
        sizes = self.sizes
        return (1 - self._at(experts).lru) * sizes.layers * sizes.top_k * sizes.expert_bytes

    def tokens_per_s(self, experts: int, bandwidth: float) -> float:
        """Return the most tokens a second, if that is brought at `bandwidth` bytes per second.

        Raises
        ------
        TraceError
            If that size was not tried, or the bandwidth is not above 0.
        """
        if not bandwidth > 0:
            raise TraceError(f"bandwidth is {bandwidth!r}; it must be bytes per second above 0.")
        moved = self.moved_bytes(experts)
        return bandwidth / moved if moved else float("inf")

    @property
    def example(self) -> CacheSize | None:
        """The cache that is spoken of: of a quarter of the experts, at least as many as a token needs."""
        wanted = max(self.sizes.top_k, self.sizes.experts // 4)
        return next((each for each in reversed(self.cache) if each.experts <= wanted), None)

    @property
    def plan(self) -> str:
        """The line that plans this model with that cache."""
        name = quoted(self.model)
        tried = self.example
        if tried is None:
            return f"%llama plan {name}"
        return f"%llama plan {name} --offload {tried.experts} --hit-rate {tried.lru:.2f}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What it comes to, in sentences."""
        return (_working(self.sizes), _reading(self.sizes), *self._caching(), *self._batching())

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each size of the cache.

        Its columns are experts, kept_bytes, lru, optimum, random (hit rates), moved_bytes (for a token).
        """
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "experts": each.experts,
                    "kept_bytes": self.kept_bytes(each.experts),
                    "lru": each.lru,
                    "optimum": each.optimum,
                    "random": each.random,
                    "moved_bytes": self.moved_bytes(each.experts),
                }
                for each in self.cache
            ]
        )

    def _at(self, experts: int) -> CacheSize:
        for each in self.cache:
            if each.experts == experts:
                return each
        tried = ", ".join(str(each.experts) for each in self.cache)
        raise TraceError(f"No cache of {experts!r} experts was tried; there are those of {tried or 'none'}.")

    def _caching(self) -> tuple[str, ...]:
        tried = self.example
        if tried is None:
            return ()
        sizes, on = self.sizes, "" if self.simulated == self.tokens else f" ({self.simulated:,} tokens of it)"
        return (
            f"Where only {tried.experts} of {sizes.experts} experts of each layer are at hand, the last used "
            f"ones, {_percent(tried.lru)} of what this text asks for is there{on}; at best "
            f"{_percent(tried.optimum)}, without any pattern {_percent(tried.random)}. "
            f"{size(self.moved_bytes(tried.experts))} are brought for a token, "
            f"{size(self.kept_bytes(tried.experts))} stay at hand.",
        )

    def _batching(self) -> tuple[str, ...]:
        share = dict(self.batch).get(_SPOKEN_AT_ONCE)
        if share is None:
            return ()
        sizes = self.sizes
        each = (sizes.other_bytes + share * sizes.routed_bytes) / _SPOKEN_AT_ONCE
        return (
            f"{_SPOKEN_AT_ONCE} sequences at once need {_percent(share)} of the experts in each step: "
            f"{size(each)} are read for a token, in place of {size(sizes.token_bytes)}.",
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return bundle(self)

    def __repr__(self) -> str:
        sizes = self.sizes
        return (
            f"<RoutingCost of {self.title} in {self.model}: {number(sizes.active_parameters)} of "
            f"{number(sizes.total_parameters)} parameters a token>"
        )


def cost_of(trace: "RoutingTrace") -> RoutingCost:
    """Return what the experts of a trace cost.

    Of a long corpus the caches are tried on stretches from all over it, one after another.
    """
    trace = trace.now()
    parts = stretches(trace.starts, trace.length, trace.top_k)
    chosen = np.concatenate([np.asarray(trace.chosen[part]) for part in parts])
    return RoutingCost(
        model=trace.model,
        title=trace.title,
        sizes=replace(trace.sizes, top_k=trace.top_k),
        tokens=trace.length,
        simulated=len(chosen),
        cache=simulate(chosen, trace.experts),
        batch=_batch(trace),
    )


def _batch(trace: "RoutingTrace") -> tuple[tuple[int, float], ...]:
    """Return the share of the experts that n tokens need which know nothing of each other."""
    if not trace.length:
        return ()
    chance = load_of(trace).counts / trace.length  # (L, E): that a token goes through it
    return tuple((count, float((1 - (1 - chance) ** count).mean())) for count in _AT_ONCE)


def _working(sizes: ExpertSizes) -> str:
    layers = "the MoE layer" if sizes.layers == 1 else f"each of {sizes.layers} MoE layers"
    return (
        f"{number(sizes.active_parameters)} of {number(sizes.total_parameters)} parameters work for a token: "
        f"{sizes.top_k} of {sizes.experts} routed experts in {layers}, and all that is no routed expert."
    )


def _reading(sizes: ExpertSizes) -> str:
    return (
        f"All experts lie in memory, {size(sizes.total_bytes)} in all; decoding a token reads "
        f"{size(sizes.token_bytes)} of that."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
