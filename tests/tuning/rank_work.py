"""What each of two processes does in test_ranks.py: sums, words of rank 0, and a sharded base."""

import math
import os

import torch

from llama_nb.tuning.ranks import Ranks, joined, read_place
from llama_nb.tuning.sharding import shard_base


def talk(ranks: Ranks) -> dict[str, object]:
    """Say and sum a little."""
    first = torch.tensor([1.0, 2.0]) * (ranks.rank + 1)
    second = torch.full((2, 1), 10.0 * ranks.rank, dtype=torch.float64)
    ranks.sum_([first, second])
    ranks.meet()
    if ranks.place.first:
        ranks._told = -math.inf  # it has been silent for long
        ranks.beat(2)
    told = ranks.tell(0.25, 7.0 if ranks.place.first else -1.0)
    return {
        "sums": [first.tolist(), second.tolist()],
        "totals": ranks.totals(1.0, float(ranks.rank)),
        "told": told,
    }


def shard(ranks: Ranks, quantised: str) -> dict[str, object]:
    """Return how far a sharded base's answers and its adapter's gradients are from a whole one's."""
    from peft import LoraConfig, inject_adapter_in_model

    module = _model(quantised)
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    module = inject_adapter_in_model(config, module, "adapter1")
    for name, parameter in module.named_parameters():
        parameter.requires_grad_("lora_" in name)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    ids = torch.randint(0, 96, (2 * ranks.world, 12), generator=torch.Generator().manual_seed(3))

    def step(rows: torch.Tensor) -> torch.Tensor:
        hidden = module.model(rows, use_cache=False).last_hidden_state
        module.lm_head(hidden).float().logsumexp(-1).sum().backward()
        return hidden.detach()

    whole = step(ids)
    wanted = [parameter.grad.clone() for parameter in trained]
    before = sum(parameter.numel() for parameter in module.model.layers.parameters())
    spread = shard_base(module, ranks)
    held = sum(
        getattr(parameter, "to_local", lambda each=parameter: each)().numel()
        for parameter in module.model.layers.parameters()
    )
    for parameter in trained:
        parameter.grad = None
    mine = slice(2 * ranks.rank, 2 * ranks.rank + 2)
    part = step(ids[mine])
    ranks.sum_([parameter.grad for parameter in trained])
    return {
        "spread": spread,
        "held": held / before,
        "hidden": float((part - whole[mine]).abs().max()),
        "gradient": max(
            float((each.grad - want).abs().max()) for each, want in zip(trained, wanted, strict=True)
        ),
        "largest": max(float(want.abs().max()) for want in wanted),
    }


def _model(quantised: str) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    module = LlamaForCausalLM(config)
    if quantised:
        from bitsandbytes.nn import Linear4bit, Params4bit

        for layer in module.model.layers:
            for name in ("gate_proj", "up_proj", "down_proj"):
                plain = getattr(layer.mlp, name)
                packed = Linear4bit(
                    plain.in_features, plain.out_features, bias=False, compute_dtype=torch.float32,
                    quant_type="nf4", quant_storage=getattr(torch, quantised),
                )  # fmt: skip
                packed.weight = Params4bit(
                    plain.weight.data, requires_grad=False, quant_type="nf4",
                    quant_storage=getattr(torch, quantised), module=packed,
                )  # fmt: skip
                packed.support_avx512bf16_for_cpu = False
                setattr(layer.mlp, name, packed.to("cpu"))
    return module


def work(*storages: str) -> dict[str, object]:
    """Talk, then shard a base of plain weights ("") and of 4-bit ones in each storage."""
    with joined(read_place(os.environ)) as ranks:
        said: dict[str, object] = {"talk": talk(ranks)}
        return said | {storage or "plain": shard(ranks, storage) for storage in storages}
