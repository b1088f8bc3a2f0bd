"""What training is measured on: a random Llama, LoRA factors that are the same for all, and rows to learn."""

import tempfile
from typing import Any, Final

SHAPES: Final = {
    "56 M": {
        128_256: {"layers": 12, "hidden": 320, "heads": 5, "ffn": 832},
        8_000: {"layers": 16, "hidden": 512, "heads": 8, "ffn": 1408},
    },
    "110 M": {
        128_256: {"layers": 14, "hidden": 512, "heads": 8, "ffn": 1408},
        32_000: {"layers": 12, "hidden": 768, "heads": 12, "ffn": 2048},
    },
    "tiny": {1_000: {"layers": 1, "hidden": 64, "heads": 1, "ffn": 128}},
}
NF4: Final = "nf4 in "
RANK: Final = 16
LR: Final = 1e-3
TARGETS: Final = ("q_proj", "k_proj", "v_proj", "o_proj")


def random_llama(size: str, vocabulary: int, dtype: str, device: str = "cpu") -> Any:
    """Return a Llama with random weights and a tied head: "bfloat16", "float32", or nf4 in one of these.

    Linear layers of a "nf4 in bfloat16" are bitsandbytes' own; embedding and norms are in bfloat16.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = SHAPES[size][vocabulary]
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape["hidden"],
        intermediate_size=shape["ffn"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["heads"],
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    module = LlamaForCausalLM(config).to(getattr(torch, dtype.removeprefix(NF4)))
    return (_as_nf4(module) if dtype.startswith(NF4) else module).to(device).requires_grad_(False).eval()


def _as_nf4(module: Any) -> Any:
    """Write the model and load it as a user does, with the guard against wrong gradients."""
    from llama_nb.loading import quantize
    from llama_nb.loading.expected import quiet_transformers

    method = quantize.find("nf4")
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        module.save_pretrained(folder)
        settings = method.config(["lm_head"])
        loaded = type(module).from_pretrained(folder, dtype=module.dtype, quantization_config=settings)
    method.finish(loaded)
    return loaded


def same_factors(module: Any) -> None:
    """Give every A of a LoRA the numbers that all peers begin with; B is zero."""
    import torch

    draw = torch.Generator().manual_seed(1)
    for name, parameter in module.named_parameters():
        if "lora_A" in name:
            values = torch.randn(parameter.shape, generator=draw) / parameter.shape[1] ** 0.5
            parameter.data.copy_(values)
        elif "lora_B" in name:
            parameter.data.zero_()


def rows(count: int, length: int, vocabulary: int, share: float) -> list[Any]:
    """Return rows of random tokens whose last `share` is trained, as an answer is behind its prompt."""
    import numpy as np

    from llama_nb.tuning.encoding import Row

    draw = np.random.default_rng(2)
    trained = np.arange(length) >= max(1, round(length * (1 - share)))
    return [Row(draw.integers(3, vocabulary, length).astype(np.int32), trained) for _ in range(count)]
