"""The weights of quantised layers as floats are those that the layers compute with."""

import pytest
import torch

from llama_nb.loading.open import load_checked
from llama_nb.loading.quantize import available
from llama_nb.loading.quantize.dequantise import dequantised
from llama_nb.loading.weights import release


@pytest.mark.parametrize("method", available("cpu"))
def test_weights_are_what_the_layer_multiplies_with(method, stories260k):
    loaded = load_checked(stories260k, quant=method, device="cpu", dtype="float32")
    try:
        seen = 0
        for layer in loaded.module.modules():
            weight = dequantised(layer)
            if weight is None:
                continue
            seen += 1
            with torch.inference_mode():
                for _ in range(2):  # int8 moves its codes in the first forward
                    unit = torch.eye(layer.in_features, dtype=loaded.module.dtype)
                    product = layer(unit).T.float()
                    assert torch.allclose(dequantised(layer).float(), product, rtol=0.01, atol=2e-3)
        # Four of seven matrices a layer at least: those of the feed-forward have 172 rows or columns, no
        # multiple of what 4-bit methods ask for.
        assert seen >= 5 * 4
        assert dequantised(loaded.module.get_input_embeddings()) is None
        assert dequantised(loaded.module.model.norm) is None
    finally:
        release(loaded)
