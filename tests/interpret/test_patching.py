"""Activation patching against runs that are patched one by one, by hooks of this test's own."""

import itertools

import pytest
import torch
from transformers import (
    Llama4ForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from llama_nb.core.errors import Stopped
from llama_nb.interpret import patching
from llama_nb.interpret.patching import last_logits, patch

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MOE = {
    "intermediate_size_mlp": 48,
    "num_local_experts": 4,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 2,
    "attention_chunk_size": 64,
}
KINDS = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "llama 4": (Llama4ForCausalLM, Llama4TextConfig, MOE),
    "qwen 3": (Qwen3ForCausalLM, Qwen3Config, {}),
}
CLEAN = [5, 9, 23, 41, 8, 77, 30, 12, 66, 3, 18, 50]
CORRUPT = [5, 9, 61, 41, 8, 77, 30, 90, 66, 3, 18, 50]
BOTH = (14, 40)


@pytest.fixture(scope="module", params=KINDS)
def module(request):
    kind, config, more = KINDS[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return kind(config(**SIZES, **more)).eval()


def block(module, site, layer):
    part = module.model.layers[layer]
    if site == "layer":
        return part
    if site == "mlp":
        return part.mlp if hasattr(part, "mlp") else part.feed_forward
    return part.self_attn if site == "attention" else part.self_attn.o_proj


def first_of(output):
    return output[0] if isinstance(output, tuple) else output


@torch.inference_mode()
def difference(module, ids):
    logits = module(torch.tensor([ids]), use_cache=False).logits[0, -1]
    return float(logits[BOTH[0]] - logits[BOTH[1]])


def by_hand(module, site, layer, where):
    """Patch one place: a position, or with the site "head" a head from the positions `where[1]` on."""
    seen = []
    part = block(module, site, layer)
    if site == "head":
        handle = part.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    else:
        handle = part.register_forward_hook(lambda _, __, output: seen.append(first_of(output).clone()))
    difference(module, CLEAN)
    handle.remove()
    known = seen[0].reshape(len(CLEAN), -1)

    def put(_module, _given, output):
        changed = first_of(output).clone().reshape(len(CLEAN), -1)
        changed[where] = known[where]
        changed = changed.reshape(first_of(output).shape)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    def put_head(_module, given):
        head, positions = where
        changed = given[0].clone()
        for at in positions:
            changed[0, at, 8 * head : 8 * head + 8] = known[at, 8 * head : 8 * head + 8]
        return (changed,)

    handle = part.register_forward_pre_hook(put_head) if site == "head" else part.register_forward_hook(put)
    found = difference(module, CORRUPT)
    handle.remove()
    return found


@pytest.mark.parametrize("site", ["layer", "attention", "mlp"])
def test_every_value_is_that_of_a_run_patched_by_hand(module, site):
    found = patch(module, CLEAN, CORRUPT, *BOTH, site=site, positions=range(12))
    assert found.clean == pytest.approx(difference(module, CLEAN), abs=1e-5)
    assert found.corrupt == pytest.approx(difference(module, CORRUPT), abs=1e-5)
    hand = [[by_hand(module, site, layer, at) for at in range(12)] for layer in range(3)]
    torch.testing.assert_close(found.differences, torch.tensor(hand), atol=1e-5, rtol=0)
    assert (found.differences - found.corrupt).abs().max() > 1e-3
    if site == "layer":
        # Behind the last layer the last position says all, and the others nothing.
        expected = [found.corrupt] * 11 + [found.clean]
        torch.testing.assert_close(found.differences[-1], torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("positions", [range(12), [2, 7], [11]])
def test_heads_are_patched_at_all_positions_at_once(module, positions):
    found = patch(module, CLEAN, CORRUPT, *BOTH, site="head", positions=positions)
    hand = [[by_hand(module, "head", layer, (head, positions)) for head in range(4)] for layer in range(3)]
    torch.testing.assert_close(found.differences, torch.tensor(hand), atol=1e-5, rtol=0)


def test_chosen_positions_are_the_columns(module):
    whole = patch(module, CLEAN, CORRUPT, *BOTH, site="layer", positions=range(12))
    some = patch(module, CLEAN, CORRUPT, *BOTH, site="layer", positions=[0, 3, 7, 11])
    torch.testing.assert_close(some.differences, whole.differences[:, [0, 3, 7, 11]], atol=1e-5, rtol=0)


def test_what_is_equal_in_both_runs_is_not_computed(module):
    done = []
    found = patch(
        module, CLEAN, CORRUPT, *BOTH, site="layer", positions=range(12), told=lambda *two: done.append(two)
    )
    assert done[-1] == (30, 30)  # three layers, and ten positions from the first that differs on
    assert sorted(done) == done
    assert (found.differences[:, :2] == torch.tensor(found.corrupt)).all()
    nothing = patch(module, CLEAN, CORRUPT, *BOTH, site="head", positions=[0, 1])
    assert (nothing.differences == torch.tensor(found.corrupt)).all()


@pytest.mark.parametrize("after", [0, 3, 7, 20])
def test_it_is_stopped_before_any_layer_and_leaves_nothing(module, after):
    before = last_logits(module, CLEAN)
    asked = iter([*[None] * after, "enough"])  # it is not asked again
    with pytest.raises(Stopped, match="enough"):
        patch(module, CLEAN, CORRUPT, *BOTH, site="layer", positions=range(12), stopped=lambda: next(asked))
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())
    assert torch.equal(last_logits(module, CLEAN), before)


@pytest.mark.parametrize(("rows", "tokens"), [(1, 16_384), (3, 16_384), (64, 12), (64, 30)])
def test_however_many_rows_go_side_by_side_the_values_are_the_same(module, monkeypatch, rows, tokens):
    whole = patch(module, CLEAN, CORRUPT, *BOTH, site="mlp", positions=range(12))
    monkeypatch.setattr(patching, "_MOST_ROWS", rows)
    monkeypatch.setattr(patching, "_MOST_TOKENS", tokens)
    told = []
    found = patch(
        module, CLEAN, CORRUPT, *BOTH, site="mlp", positions=range(12), told=lambda done, _: told.append(done)
    )
    torch.testing.assert_close(found.differences, whole.differences, atol=1e-5, rtol=0)
    steps = [later - earlier for earlier, later in itertools.pairwise([0, *told])]
    assert max(steps) <= min(rows, max(1, tokens // 12))
