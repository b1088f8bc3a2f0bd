"""The MoE blocks of each architecture computed token by token from their weights alone, with changes.

It shares no code with the package: formulas are those of the architectures' papers and model cards.
"""

import contextlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Change:
    """What is changed in one layer."""

    banned: tuple[int, ...] = ()
    forced: tuple[int, ...] = ()
    top_k: int | None = None
    dropped: bool = False


@contextlib.contextmanager
def mixed_by_hand(module, changes):
    """Have blocks compute by hand inside: `changes` maps layers to a Change."""
    handles = []
    for layer, change in changes.items():
        part = module.model.layers[layer]
        block = part.feed_forward if hasattr(part, "feed_forward") else part.mlp

        def hook(block, given, output, change=change):
            hidden = given[0].reshape(-1, given[0].shape[-1])
            mixed = torch.stack([_token(block, each, change) for each in hidden])
            if isinstance(output, tuple):
                return (mixed.reshape(output[0].shape), *output[1:])
            return mixed.reshape(output.shape)

        handles.append(block.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _token(block, x, change):
    kind = type(block).__name__
    router = block.router if hasattr(block, "router") else block.gate
    logits = router.weight @ x + (router.bias if kind == "GptOssMLP" else 0)
    chosen, weights = WEIGHTS[kind](router, logits.tolist(), change)
    if kind == "Llama4TextMoe":  # the weight scales what goes into the expert
        parts = [_expert(block, number, x * weight) for number, weight in zip(chosen, weights, strict=True)]
    else:
        parts = [_expert(block, number, x) * weight for number, weight in zip(chosen, weights, strict=True)]
    total = torch.stack(parts).sum(0)
    shared = getattr(block, "shared_expert", getattr(block, "shared_experts", None))
    return total if shared is None or change.dropped else total + shared(x[None])[0]


def _expert(block, number, x):
    experts = block.experts
    up, down = experts.gate_up_proj[number], experts.down_proj[number]
    if type(block).__name__ == "GptOssMLP":
        both = x @ up + experts.gate_up_proj_bias[number]
        gate, linear = both[::2].clamp(max=7.0), both[1::2].clamp(-7.0, 7.0)
        return ((linear + 1) * gate * torch.sigmoid(1.702 * gate)) @ down + experts.down_proj_bias[number]
    if type(block).__name__ == "Llama4TextMoe":
        up, down = up.T, down.T
    gate, linear = (up @ x).chunk(2)
    return down @ (torch.nn.functional.silu(gate) * linear)


def _choose(values, change, top_k):
    """The forced ones, then the best of the rest that are allowed, by Python's own sort."""
    k = change.top_k or top_k
    rest = [each for each in values if each not in change.forced and each not in change.banned]
    best = sorted(rest, key=lambda each: -values[each])[: k - len(change.forced)]
    return [*change.forced, *best]


def _softmax(values):
    exponents = {number: torch.tensor(value).double().exp().item() for number, value in values.items()}
    total = sum(exponents.values())
    return {number: value / total for number, value in exponents.items()}


def _sigmoid(value):
    return torch.tensor(value).double().sigmoid().item()


def _llama4(router, logits, change):
    chosen = _choose(dict(enumerate(logits)), change, router.top_k)
    return chosen, [_sigmoid(logits[each]) for each in chosen]


def _over_all(router, logits, change):
    """Softmax over all that are allowed, made to sum to 1 over the chosen ones where the model does."""
    chances = _softmax({each: value for each, value in enumerate(logits) if each not in change.banned})
    chosen = _choose(chances, change, router.top_k)
    weights = [chances[each] for each in chosen]
    normalised = getattr(router, "norm_topk_prob", True)  # Mixtral always does
    return chosen, [weight / sum(weights) for weight in weights] if normalised else weights


def _over_chosen(router, logits, change):
    chosen = _choose(dict(enumerate(logits)), change, router.top_k)
    chances = _softmax({each: logits[each] for each in chosen})
    return chosen, [chances[each] for each in chosen]


def _deepseek(router, logits, change):
    scores = [_sigmoid(value) for value in logits]
    biased = [
        score + bias for score, bias in zip(scores, router.e_score_correction_bias.tolist(), strict=True)
    ]
    size = len(scores) // router.num_group
    groups = [range(first, first + size) for first in range(0, len(scores), size)]

    def worth(group):
        values = [float("-inf") if each in change.banned else biased[each] for each in group]
        return sum(sorted(values)[-2:])

    best = sorted(groups, key=worth)[-router.topk_group :]
    chosen = _choose({each: biased[each] for group in best for each in group}, change, router.top_k)
    weights = [scores[each] for each in chosen]
    if router.norm_topk_prob:
        weights = [weight / sum(weights) for weight in weights]
    return chosen, [weight * router.routed_scaling_factor for weight in weights]


WEIGHTS = {
    "Llama4TextMoe": _llama4,
    "MixtralSparseMoeBlock": _over_all,
    "Qwen3MoeSparseMoeBlock": _over_all,
    "OlmoeSparseMoeBlock": _over_all,
    "GptOssMLP": _over_chosen,
    "DeepseekV3MoE": _deepseek,
}
