"""Traces without a model: random queries and keys, for tests of what is computed and shown of attention."""

from collections.abc import Sequence

import torch

from llama_nb.interpret.attention import AttentionTrace
from llama_nb.interpret.attention_layer import AttentionLayer, CapturedAttention
from llama_nb.interpret.attention_mask import causal

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def random_trace(
    length: int,
    *,
    layers: Sequence[int] = (0, 1, 2),
    heads: int = 4,
    kv_heads: int = 2,
    width: int = 8,
    prompt: int | None = None,
    texts: Sequence[str] | None = None,
    seed: int = 0,
    fingerprint: str = "f" * 8,
) -> AttentionTrace:
    """Return a causal trace of `length` tokens, of which the model was given `prompt`."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(count: int) -> torch.Tensor:
        return 2 * torch.randn(count, length, width, generator=generator)

    captured = CapturedAttention(
        layers={
            layer: AttentionLayer(drawn(heads), drawn(kv_heads), causal(length), width**-0.5)
            for layer in layers
        },
        kinds=dict.fromkeys(layers, "full"),
        heads=heads,
        kv_heads=kv_heads,
        length=length,
        dtype="float32",
    )
    return AttentionTrace(
        captured,
        model="tiny",
        fingerprint=fingerprint,
        title="text",
        ids=range(length),
        texts=list(texts) if texts is not None else [f" w{at}" for at in range(length)],
        special=[at == 0 for at in range(length)],
        prompt=length if prompt is None else prompt,
    )
