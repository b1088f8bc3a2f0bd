"""How alike experts are by their weights: against all weights in a row, for each architecture."""

import numpy as np
import pytest
import torch

from llama_nb.core.errors import Stopped, UnsupportedError
from llama_nb.interpret import expert_weights
from llama_nb.interpret.expert_weights import compare_experts
from tests.interpret.attention_models import make
from tests.interpret.routing_models import MIXTURES, mixture, moe_layers


def cosines(rows):
    rows = np.asarray(rows, dtype=np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


@pytest.mark.parametrize("name", list(MIXTURES))
def test_norms_and_cosines_are_those_of_all_weights_in_a_row(name, monkeypatch):
    monkeypatch.setattr(expert_weights, "_PIECE", 1_000)  # so that there are several pieces
    module = mixture(name)
    found = compare_experts(module)
    assert found.layers == moe_layers(name)
    for at, number in enumerate(found.layers):
        layer = module.model.layers[number]
        block = layer.feed_forward if hasattr(layer, "feed_forward") else layer.mlp
        router = block.router if hasattr(block, "router") else block.gate
        stacks = [block.experts.gate_up_proj, block.experts.down_proj]
        flat = torch.cat([stack.detach().flatten(1) for stack in stacks], dim=1).numpy()
        assert found.norms[at] == pytest.approx(np.linalg.norm(flat.astype(np.float64), axis=1), rel=1e-6)
        assert found.cosine[at] == pytest.approx(cosines(flat), abs=1e-6)
        assert found.router_cosine[at] == pytest.approx(cosines(router.weight.detach().numpy()), abs=1e-6)


def test_a_copy_is_found_whatever_its_size():
    module = mixture("mixtral")
    block = module.model.layers[2].mlp
    with torch.no_grad():
        for stack in (block.experts.gate_up_proj, block.experts.down_proj):
            stack[4] = -2 * stack[1]
            stack[3] = 0
    found = compare_experts(module)
    assert found.cosine[2, 1, 4] == pytest.approx(-1)
    assert found.norms[2, 4] == pytest.approx(2 * found.norms[2, 1])
    assert (found.norms[2, 3], found.cosine[2, 3].tolist()) == (0, [0] * 5)
    assert abs(found.cosine[1, 1, 4]) < 0.2
    assert repr(found) == "<weights of 5 experts in L0, L1, L2, L3, compared>"


def test_half_precision_is_compared_in_float32():
    whole, half = (compare_experts(mixture("llama 4").to(dtype)) for dtype in (torch.float32, torch.bfloat16))
    assert half.norms == pytest.approx(whole.norms, rel=1e-3)


def test_it_can_be_stopped_and_says_what_cannot_be_compared():
    with pytest.raises(Stopped, match="interrupted"):
        compare_experts(mixture("mixtral"), stopped=lambda: "interrupted")
    with pytest.raises(UnsupportedError, match="not in memory"):
        compare_experts(mixture("mixtral").to("meta"))
    with pytest.raises(UnsupportedError, match="no experts"):
        compare_experts(make("mistral"))
