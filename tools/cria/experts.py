"""The model with experts in training: a lean forward in which each token costs one expert, and balanced loads.

transformers computes every expert for every token. Here tokens are sorted by their expert. What each expert got
over many steps is a part of the loss: a batch of one domain may use few experts, a whole training uses all alike.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from transformers import Llama4ForCausalLM

MEMORY = 0.98  # of the running load, a step


class Loads:
    """What the experts of one forward got, and what that costs.

    `running` is the share of each expert over the last steps, [MoE layers, experts]; `counts` the tokens of the last
    forward, and `imbalance` its balance loss (Fedus et al. 2021, equation 4), in which the shares are the running
    ones: one where all experts are used alike.
    """

    def __init__(self, running: torch.Tensor) -> None:
        self.running = running
        self.begin()

    def begin(self) -> None:
        """Forget the last forward."""
        self.counts: list[torch.Tensor] = []
        self.imbalance = torch.zeros(())

    def add(self, logits: torch.Tensor, chosen: torch.Tensor) -> None:
        """Take the router's logits [N, experts] of the next layer, and the experts [N] that it chose."""
        experts = logits.shape[1]
        shares = self.running[len(self.counts)]
        self.counts.append(torch.bincount(chosen, minlength=experts).float())
        self.imbalance = self.imbalance + experts * (shares * logits.softmax(-1).mean(0)).sum()


def fresh_loads(model: Llama4ForCausalLM) -> torch.Tensor:
    """Return even shares, [MoE layers, experts]."""
    config = model.config
    return torch.full((len(config.moe_layers), config.num_local_experts), 1 / config.num_local_experts)


def update(running: torch.Tensor, counts: torch.Tensor) -> None:
    """Let the running shares follow the counts of a step, in place."""
    running.mul_(MEMORY).add_(counts / counts.sum(-1, keepdim=True), alpha=1 - MEMORY)


def mixture(layer: Any, x: torch.Tensor, loads: Loads) -> torch.Tensor:
    """Return what a MoE layer makes of x [N, width], as Llama4TextMoe does: top-1, the input scaled by a sigmoid."""
    logits = layer.router(x)[1]
    best, chosen = logits.max(-1)
    loads.add(logits, chosen)
    order = chosen.argsort(stable=True)
    scaled = (x * best.sigmoid()[:, None])[order]
    sizes = torch.bincount(chosen, minlength=logits.shape[1]).tolist()
    made = []
    for expert, rows in enumerate(scaled.split(sizes)):
        gate, up = (rows @ layer.experts.gate_up_proj[expert]).chunk(2, -1)
        made.append((F.silu(gate) * up) @ layer.experts.down_proj[expert])
    routed: torch.Tensor = torch.cat(made)[order.argsort()]
    return layer.shared_expert(x) + routed


def forward_of(model: Llama4ForCausalLM, loads: Loads) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return ids [B, T] -> logits [B, T, V], equal to the model's own forward (a test compares them)."""
    tables: dict[int, torch.Tensor] = {}

    def forward(ids: torch.Tensor) -> torch.Tensor:
        loads.begin()
        length = ids.shape[1]
        if length not in tables:
            tables[length] = model.model.rotary_emb(torch.zeros(1, 1), torch.arange(length)[None])
        core = model.model
        x = core.embed_tokens(ids)
        for layer in core.layers:
            x = x + _attend(layer.self_attn, layer.input_layernorm(x), tables[length], model.config)
            h = layer.post_attention_layernorm(x)
            if layer.is_moe_layer:
                x = x + mixture(layer.feed_forward, h.flatten(0, 1), loads).view_as(x)
            else:
                x = x + layer.feed_forward(h)
        logits: torch.Tensor = model.lm_head(core.norm(x))
        return logits

    return forward


def _attend(attention: Any, h: torch.Tensor, table: torch.Tensor, config: Any) -> torch.Tensor:
    rows, length, _ = h.shape
    heads, shared, dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    weight = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
    qkv = F.linear(h, weight).view(rows, length, heads + 2 * shared, dim)
    qk, v = qkv[:, :, : heads + shared], qkv[:, :, heads + shared :].transpose(1, 2)
    if attention.use_rope:
        pairs = torch.view_as_complex(qk.reshape(*qk.shape[:-1], -1, 2))
        qk = torch.view_as_real(pairs * table[:, :, None]).flatten(3)
        if config.use_qk_norm:
            qk = qk * torch.rsqrt(qk.pow(2).mean(-1, keepdim=True) + config.rms_norm_eps)
    qk = qk.transpose(1, 2)
    k = qk[:, heads:].repeat_interleave(heads // shared, 1)
    v = v.repeat_interleave(heads // shared, 1)
    mixed = F.scaled_dot_product_attention(qk[:, :heads], k, v, is_causal=True)
    return F.linear(mixed.transpose(1, 2).reshape(rows, length, heads * dim), attention.o_proj.weight)
