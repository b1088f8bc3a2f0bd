"""The lens against a direct computation on models of several families, what it refuses, what it leaves."""

import numpy as np
import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from llama_nb.core.errors import EngineError, Stopped, UnsupportedError
from llama_nb.interpret import logit_lens
from llama_nb.interpret.logit_lens import lens_cost, read_depths

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.4,
}
FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "tied": (LlamaForCausalLM, LlamaConfig, {"tie_word_embeddings": True}),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": 8}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 8}),
    "llama4": (
        Llama4ForCausalLM,
        Llama4TextConfig,
        {
            "head_dim": 8,
            "intermediate_size_mlp": 48,
            "num_local_experts": 2,
            "attention_chunk_size": 16,
            "no_rope_layers": [1, 1, 0],
            "pad_token_id": 0,
        },
    ),
}
IDS = [(7 * n * n + 3) % 97 for n in range(50)]


def tiny(family="llama", **changes):
    kind, config, more = FAMILIES[family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return kind(config(**SIZES, **more, **changes)).eval()


@torch.inference_mode()
def by_hand(module, ids):
    """Log-probabilities of every depth, shape (depths, tokens, V), from transformers' own hidden states."""
    output = module(torch.tensor([ids]), output_hidden_states=True)
    *between, last = output.hidden_states  # the last one went through the norm already
    states = [module.model.norm(state) for state in between] + [last]
    return torch.stack([module.lm_head(state)[0].log_softmax(-1) for state in states]), output.logits[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_what_each_layers_state_says_through_norm_and_unembedding(family):
    module = tiny(family)
    hand, logits = by_hand(module, IDS)
    found = read_depths(module, IDS, range(len(IDS)), top=4, tracked=[11, 60])
    chances = hand.exp().numpy()
    assert found.ids.shape == found.chances.shape == (4, 50, 4)
    want, order = hand.exp().topk(4)
    np.testing.assert_allclose(found.chances, want.numpy(), atol=1e-5)
    assert (found.ids == order.numpy()).mean() > 0.99  # equal but for ties
    np.testing.assert_allclose(found.tracked, chances[:, :, [11, 60]], atol=1e-5)
    np.testing.assert_allclose(found.entropy, -(chances * hand.numpy()).sum(2), atol=1e-5)
    kl = (chances[-1] * (hand[-1] - hand).numpy()).sum(2)
    np.testing.assert_allclose(found.kl, kl, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(found.chances[-1], logits.softmax(-1).topk(4).values.numpy(), atol=1e-5)
    assert not found.kl[-1].any()


def test_the_final_and_the_next_token_with_their_ranks():
    module = tiny()
    hand, _ = by_hand(module, IDS)
    found = read_depths(module, IDS, range(len(IDS)), top=1)
    final = hand[-1].argmax(1)
    for at in (0, 20, 48):
        for tokens, chance, rank in (
            (int(final[at]), found.final, found.final_rank),
            (IDS[at + 1], found.next, found.next_rank),
        ):
            row = hand[:, at]
            np.testing.assert_allclose(chance[:, at], row[:, tokens].exp().numpy(), atol=1e-5)
            assert rank[:, at].tolist() == ((row > row[:, tokens : tokens + 1]).sum(1) + 1).tolist()
    assert np.isnan(found.next[:, -1]).all()
    assert not found.next_rank[:, -1].any()
    assert (found.final_rank[-1] == 1).all()


@pytest.mark.parametrize("family", ["llama", "mistral", "llama4"])
def test_some_positions_slices_and_pieces_are_the_same_figures(monkeypatch, family):
    module = tiny(family)
    whole = read_depths(module, IDS, range(len(IDS)))
    told = []
    monkeypatch.setattr(logit_lens, "_SLICE", 3)
    monkeypatch.setattr(logit_lens, "_PIECE", 16)
    places = [2, 15, 16, 17, 31, 40, 41]
    some = read_depths(module, IDS, places, told=lambda done, total: told.append((done, total)))
    for name in whole.__slots__:
        np.testing.assert_allclose(
            getattr(some, name), getattr(whole, name)[:, places], atol=2e-5, err_msg=name
        )
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_it_stops_before_the_next_layer_and_leaves_no_hook():
    module = tiny()
    before = {name: len(part._forward_pre_hooks) for name, part in module.named_modules()}
    asked = []

    def stopped():
        asked.append(None)
        return "enough" if len(asked) > 2 else None

    with pytest.raises(Stopped, match="enough"):
        read_depths(module, IDS, [3], stopped=stopped)
    assert len(asked) == 3
    read_depths(module, IDS, [3])
    assert {name: len(part._forward_pre_hooks) for name, part in module.named_modules()} == before


def test_damaged_states_are_named_with_their_layer():
    module = tiny()
    with torch.no_grad():
        module.model.layers[1].mlp.down_proj.weight[0, 0] = torch.inf
    with pytest.raises(EngineError, match="layer 1 leaves is NaN or infinite"):
        read_depths(module, IDS, [10])


def test_a_head_that_does_more_is_refused():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=2.0)
        module = Gemma2ForCausalLM(config).eval()
    with pytest.raises(UnsupportedError, match="more behind its last layer"):
        read_depths(module, IDS, [10])


def test_the_estimate_covers_the_states_and_a_slice_of_logits():
    module = tiny()
    states, logits = 4 * 20 * 32 * 4, 20 * 97 * 4
    assert states + logits < lens_cost(module, 50, 20) < 10 * (states + logits)
    assert lens_cost(module, 5000, 20) > lens_cost(module, 1000, 20)
