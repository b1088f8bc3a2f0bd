"""The routers of a mixture of experts: where they stand in a module, what they return, how they choose.

Every architecture chooses and weighs its experts in its own way; the rules stand here once, for those that
look on and for those that change what is chosen. Knows modules and tensors; keeps nothing.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import torch

from llama_nb.core.errors import InterventionError, UnsupportedError
from llama_nb.engines.places import layers_of

Gate = Literal["sigmoid", "softmax"]

_BLOCKS: Final = ("feed_forward", "mlp", "block_sparse_moe")
_ROUTERS: Final = ("router", "gate")
_SHARED: Final = ("shared_expert", "shared_experts")


@dataclass(frozen=True, slots=True)
class Routed:
    """What a router said about N tokens.

    Attributes
    ----------
    logits
        Float32 of shape (N, E).
    chosen
        Numbers of the experts that each token goes through, (N, k), by falling weight.
    weights
        What the layer multiplies with, float32 of shape (N, k).
    """

    logits: torch.Tensor
    chosen: torch.Tensor
    weights: torch.Tensor


class _Rule(Protocol):
    """How one architecture chooses and weighs; logits are float32 of shape (N, E)."""

    gate: Gate

    def read(self, output: Any, count: int | None) -> Routed:
        """Take apart what the router returned; see Router.read."""

    def choice(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the scores by which experts are chosen."""

    def order(self, logits: torch.Tensor) -> torch.Tensor:
        """Return that of which the router itself takes the largest: `choice`, or what grows with it."""

    def weigh(self, logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Return the weights of chosen experts, (N, k)."""

    def answer(self, logits: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor, like: Any) -> Any:
        """Return a choice as the block expects it of its router; `like` is what the router returned."""


@dataclass(frozen=True, slots=True)
class Router:
    """The router of one MoE layer in a loaded module.

    Attributes
    ----------
    layer
        Which decoder layer, counted from 0; dense layers count.
    module, block
        The router, on which forward hooks are put, and the block that holds it and its experts.
    experts, top_k
        How many experts there are, and how many each token goes through.
    gate
        "sigmoid" (every expert's score by itself) or "softmax" (one for all of them).
    shared
        The expert that every token goes through besides; None if there is none.
    """

    layer: int
    module: Any
    block: Any
    experts: int
    top_k: int
    gate: Gate
    shared: Any | None
    rule: _Rule

    def read(self, output: Any, count: int | None = None) -> Routed:
        """Return what the router's output says, experts by falling weight.

        `count` is how many experts each token goes through, for who knows; else the output shows it.
        """
        return self.rule.read(output, count)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the gate's value for every expert, (N, E): sigmoids, or a softmax over all."""
        logits = logits.float()
        return logits.sigmoid() if self.gate == "sigmoid" else logits.softmax(dim=-1)

    def choice(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the scores that the choice is made by, (N, E); -inf where an expert cannot be chosen."""
        return self.rule.choice(logits.float())

    def choose(
        self,
        logits: torch.Tensor,
        *,
        banned: Collection[int] = (),
        forced: Collection[int] = (),
        top_k: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return which experts are chosen, (N, k), and their weights, as the architecture does it.

        Parameters
        ----------
        banned
            Experts that are not chosen: their logits count as -inf.
        forced
            Experts that are chosen in place of the last chosen ones, with the gate's own values.
        top_k
            How many are chosen; default the model's number. Where a router looks into some groups of experts
            only, the best of the others come after all that these have.

        Raises
        ------
        InterventionError
            If there is no such expert, a forced one is banned, more than k are forced, or fewer are left.
        """
        logits, count = logits.float(), self.top_k if top_k is None else top_k
        self._check(banned, forced, count)
        if banned:
            logits = logits.clone()
            logits[:, list(banned)] = -torch.inf
        order = self.rule.order(logits)
        if banned or count > self.top_k:
            order = _allowed(order, logits)
        if forced:
            order = order.clone()
            order[:, list(forced)] = torch.inf
        chosen = order.topk(count, dim=-1).indices
        return _by_weight(chosen, self.rule.weigh(logits, chosen))

    def answer(self, logits: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor, like: Any) -> Any:
        """Return a choice in the form that the block expects, with the types of `like`, the router's own."""
        return self.rule.answer(logits, chosen, weights, like)

    def _check(self, banned: Collection[int], forced: Collection[int], count: int) -> None:
        wrong = [each for each in (*banned, *forced) if not self._has(each)]
        if wrong:
            raise InterventionError(
                f"Layer {self.layer} has no expert {wrong[0]!r}: there are {self.experts}, from 0."
            )
        both = [each for each in forced if each in banned]
        if both:
            raise InterventionError(
                f"L{self.layer} E{both[0]} is forbidden and forced.", "Do one of the two."
            )
        left = self.experts - len(set(banned))
        if not 1 <= count <= left:
            raise InterventionError(
                f"Layer {self.layer} cannot choose {count} of {left} experts.", f"It has {self.experts}."
            )
        if len(set(forced)) > count:
            raise InterventionError(
                f"{len(set(forced))} experts of layer {self.layer} are forced, and {count} are chosen."
            )

    def _has(self, expert: object) -> bool:
        return isinstance(expert, int) and not isinstance(expert, bool) and 0 <= expert < self.experts


def find_routers(module: Any) -> tuple[Router, ...]:
    """Return the routers of a model, in the order of its layers; none if every layer is dense.

    Raises
    ------
    UnsupportedError
        If a layer has experts and a router that chooses in a way that is not known here.
    """
    found = []
    for number, layer in enumerate(layers_of(module)):
        for name in _BLOCKS:
            block = getattr(layer, name, None)
            if getattr(block, "experts", None) is not None:
                found.append(_router(number, block))
    return tuple(found)


def expert_weights(router: Router) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield each expert's matrices, (gate and up in one, down), as views of what the layer computes with.

    Raises
    ------
    UnsupportedError
        If the experts do not stand in one tensor, as those of a quantised layer may not.
    """
    experts = router.block.experts
    stacks: list[Any] = [getattr(experts, name, None) for name in ("gate_up_proj", "down_proj")]
    if not all(isinstance(each, torch.Tensor) and each.dim() == 3 for each in stacks):
        raise UnsupportedError(
            f"The weights of the experts of a {type(experts).__name__} cannot be looked at one by one."
        )
    yield from zip(*stacks, strict=True)


def _router(layer: int, block: Any) -> Router:
    module: Any = next((part for name in _ROUTERS if (part := getattr(block, name, None)) is not None), None)
    make = _RULES.get(type(module).__name__)
    if make is None:
        raise UnsupportedError(
            f"Layer {layer} has experts that a {type(module).__name__} chooses among; how is not known here.",
            "Known are the mixtures of Llama 4, Mixtral, Qwen 3, OLMoE, GPT-OSS and DeepSeek V3.",
        )
    rule = make(module)
    return Router(
        layer=layer,
        module=module,
        block=block,
        experts=int(module.num_experts),
        top_k=int(module.top_k),
        gate=rule.gate,
        shared=next((part for name in _SHARED if (part := getattr(block, name, None)) is not None), None),
        rule=rule,
    )


def _allowed(order: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Put the banned experts, whose logits are -inf, behind all; others that are ruled out just before."""
    banned = logits == -torch.inf
    reserve = (order == -torch.inf) & ~banned
    if bool(reserve.any()):  # the groups that were chosen may have too few experts
        least = order.masked_fill(order == -torch.inf, torch.inf).amin()
        least = least if bool(least.isfinite()) else torch.zeros_like(least)
        order = torch.where(reserve, least - 2 + logits.sigmoid(), order)
    return order.masked_fill(banned, -torch.inf)


def _by_weight(chosen: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both by falling weight; equal ones stay as they stand."""
    weights, order = weights.sort(dim=-1, descending=True, stable=True)
    return chosen.gather(-1, order), weights


class _Llama4Rule:
    """Llama 4: the largest logits, each weighted with its own sigmoid; the block gets (N, E), 0 elsewhere."""

    gate: Gate = "sigmoid"

    def read(self, output: Any, count: int | None) -> Routed:
        """See _Rule.read; the chosen ones are those with a score."""
        scores, logits = (each.float() for each in output)
        taken = scores > 0
        if count is None:
            count = max(1, int(taken.sum(dim=-1).max()))
        # A sigmoid can be 0 in half precision: then the largest logits were chosen, for nothing.
        left = ~taken & taken.any(dim=-1, keepdim=True)
        chosen = logits.masked_fill(left, -torch.inf).topk(count, dim=-1).indices
        return Routed(logits, chosen, scores.gather(-1, chosen))

    def choice(self, logits: torch.Tensor) -> torch.Tensor:
        """See _Rule.choice."""
        return logits.sigmoid()

    def order(self, logits: torch.Tensor) -> torch.Tensor:
        """See _Rule.order; sigmoids of large logits would be equal."""
        return logits

    def weigh(self, logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """See _Rule.weigh."""
        return logits.gather(-1, chosen).sigmoid()

    def answer(self, logits: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor, like: Any) -> Any:
        """See _Rule.answer."""
        scores, own = like
        return torch.zeros_like(scores).scatter_(-1, chosen, weights.to(scores.dtype)), logits.to(own.dtype)


class _ListedRule:
    """Those whose routers return (logits, weights, numbers of the experts)."""

    def read(self, output: Any, _count: int | None) -> Routed:
        """See _Rule.read."""
        logits, weights, chosen = output
        return Routed(logits.float(), *_by_weight(chosen, weights.float()))

    def answer(self, logits: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor, like: Any) -> Any:
        """See _Rule.answer."""
        own, scores, numbers = like
        return logits.to(own.dtype), weights.to(scores.dtype), chosen.to(numbers.dtype)


@dataclass(frozen=True, slots=True)
class _SoftmaxRule(_ListedRule):
    """Mixtral, Qwen 3, OLMoE: the largest of a softmax over all, which may be made to sum to 1 again."""

    normalised: bool
    gate: Gate = "softmax"

    def choice(self, logits: torch.Tensor) -> torch.Tensor:
        """See _Rule.choice."""
        return logits.softmax(dim=-1)

    def order(self, logits: torch.Tensor) -> torch.Tensor:
        """See _Rule.order."""
        return logits.softmax(dim=-1)

    def weigh(self, logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """See _Rule.weigh."""
        weights = logits.softmax(dim=-1).gather(-1, chosen)
        return weights / weights.sum(dim=-1, keepdim=True) if self.normalised else weights


class _GptOssRule(_ListedRule):
    """GPT-OSS: the largest logits, weighted with a softmax over them alone."""

    gate: Gate = "softmax"

    def choice(self, logits: torch.Tensor) -> torch.Tensor:
        """See _Rule.choice."""
        return logits.softmax(dim=-1)

    def order(self, logits: torch.Tensor) -> torch.Tensor:
        """See _Rule.order."""
        return logits

    def weigh(self, logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """See _Rule.weigh."""
        return logits.gather(-1, chosen).softmax(dim=-1)


@dataclass(frozen=True, slots=True)
class _DeepSeekRule(_ListedRule):
    """DeepSeek V3: sigmoids; chosen with a bias, from the best groups; weighted without it, and scaled."""

    router: Any
    gate: Gate = "sigmoid"

    def choice(self, logits: torch.Tensor) -> torch.Tensor:
        """See _Rule.choice."""
        router = self.router
        scores = logits.sigmoid() + router.e_score_correction_bias
        # Banned ones leave their group too: what is worth nothing may still have a bias.
        scores = scores.masked_fill(logits == -torch.inf, -torch.inf)
        groups = scores.view(len(scores), router.num_group, -1)
        best = groups.topk(2, dim=-1).values.sum(dim=-1).topk(router.topk_group, dim=-1).indices
        out = torch.ones(groups.shape[:2], dtype=torch.bool, device=scores.device).scatter_(
            1, best, value=False
        )
        return groups.masked_fill(out[..., None], -torch.inf).reshape(scores.shape)

    def order(self, logits: torch.Tensor) -> torch.Tensor:
        """See _Rule.order."""
        return self.choice(logits)

    def weigh(self, logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """See _Rule.weigh."""
        weights = logits.sigmoid().gather(-1, chosen)
        if self.router.norm_topk_prob:
            weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
        return weights * self.router.routed_scaling_factor


# By the name of a router's class; another architecture is one more line, and a rule if it has its own.
_RULES: Final[Mapping[str, Any]] = {
    "Llama4Router": lambda _router: _Llama4Rule(),
    "MixtralTopKRouter": lambda _router: _SoftmaxRule(normalised=True),
    "Qwen3MoeTopKRouter": lambda router: _SoftmaxRule(normalised=bool(router.norm_topk_prob)),
    "OlmoeTopKRouter": lambda router: _SoftmaxRule(normalised=bool(router.norm_topk_prob)),
    "GptOssTopKRouter": lambda _router: _GptOssRule(),
    "DeepseekV3TopkRouter": _DeepSeekRule,
}
