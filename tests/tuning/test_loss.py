"""The loss: equal to the plain one over all logits, whatever the head, the mask, the dtype or the CPU."""

import contextlib

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from llama_nb.tuning import head_loss, wide_linear
from llama_nb.tuning.head_loss import token_losses
from llama_nb.tuning.loss import row_losses, trained_loss, validation_loss
from llama_nb.tuning.packing import BatchPlan, MicroBatch, collate
from llama_nb.tuning.wide_linear import WideLinears
from tests.tuning.adapted import tiny_llama
from tests.tuning.loops import RECIPE, adapted, rows


def by_hand(module, batch: MicroBatch) -> torch.Tensor:
    """The sum of cross entropies row by row, each alone, over all logits."""
    total = torch.zeros(())
    for line in range(batch.ids.shape[0]):
        for segment in range(int(batch.segments[line].max()) + 1):
            here = batch.segments[line] == segment
            ids, trained = batch.ids[line][here], batch.trained[line][here]
            logits = module(input_ids=ids[None]).logits[0].float()
            total = total + F.cross_entropy(logits[:-1][trained[1:]], ids[1:][trained[1:]], reduction="sum")
    return total


def packed(count: int = 6, vocabulary: int = 64) -> MicroBatch:
    return BatchPlan(rows(count, vocabulary), batch=2, packing=True, max_tokens=40).micro_batch(0)


def gradient_of(loss: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    (found,) = torch.autograd.grad(loss, weight)
    return found


@pytest.mark.parametrize("tied", [False, True])
def test_packed_rows_lose_what_each_loses_alone_and_with_the_same_gradient(tied):
    module = tiny_llama()
    if tied:
        module.lm_head.weight = module.model.embed_tokens.weight
    weight = module.model.layers[0].self_attn.q_proj.weight.requires_grad_()
    batch = packed()
    assert int(batch.segments.max()) > 0
    ours, plain = trained_loss(module, batch), by_hand(module, batch)
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(gradient_of(ours, weight), gradient_of(plain, weight), atol=1e-5, rtol=1e-4)


def test_a_head_that_is_trained_gets_its_gradient():
    module = tiny_llama()
    head = module.lm_head.weight.requires_grad_()
    batch = packed()
    torch.testing.assert_close(
        gradient_of(trained_loss(module, batch), head), gradient_of(by_hand(module, batch), head),
        atol=1e-5, rtol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("slice_", [2**24, 3 * 50, 1])
def test_slices_do_not_matter(slice_, monkeypatch):
    monkeypatch.setattr(head_loss, "_SLICE", slice_)
    torch.manual_seed(0)
    head = nn.Linear(8, 50, bias=False).requires_grad_(False)
    hidden = torch.randn(7, 8, requires_grad=True)
    targets = torch.randint(0, 50, (7,))
    weights = torch.rand(7)
    plain = F.cross_entropy(head(hidden), targets, reduction="none")
    ours = token_losses(hidden, targets, head)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(
        gradient_of((ours * weights).sum(), hidden), gradient_of((plain * weights).sum(), hidden)
    )


def test_a_sure_model_loses_little_and_a_surely_wrong_one_much():
    head = nn.Linear(2, 3, bias=False).requires_grad_(False)
    head.weight.copy_(torch.tensor([[1000.0, 0.0], [0.0, 1000.0], [0.0, 0.0]]))
    losses = token_losses(torch.eye(2), torch.tensor([0, 0]), head)
    assert losses.tolist() == [0.0, 1000.0]


def test_capped_logits_a_bias_and_hooks_take_the_plain_way():
    torch.manual_seed(0)
    hidden, targets = torch.randn(4, 8, requires_grad=True), torch.randint(0, 50, (4,))
    biased = nn.Linear(8, 50).requires_grad_(False)
    torch.testing.assert_close(
        token_losses(hidden, targets, biased), F.cross_entropy(biased(hidden), targets, reduction="none")
    )
    head = nn.Linear(8, 50, bias=False).requires_grad_(False)
    capped = 2.0 * torch.tanh(head(hidden) / 2.0)
    torch.testing.assert_close(
        token_losses(hidden, targets, head, 2.0), F.cross_entropy(capped, targets, reduction="none")
    )
    seen = []
    head.register_forward_hook(lambda *_: seen.append(1))
    token_losses(hidden, targets, head)
    assert seen


def test_nothing_to_learn_in_a_batch_is_no_loss():
    module = tiny_llama()
    weight = module.model.layers[0].self_attn.q_proj.weight.requires_grad_()
    batch = packed()
    empty = MicroBatch(batch.ids, batch.positions, batch.segments, torch.zeros_like(batch.trained))
    loss = trained_loss(module, empty)
    assert float(loss.detach()) == 0
    assert not gradient_of(loss, weight).any()


def test_lines_lose_what_they_lose_alone():
    module = tiny_llama()
    data = rows(3)
    together = row_losses(module, collate([[row] for row in data]))
    for row, loss in zip(data, together, strict=True):
        torch.testing.assert_close(trained_loss(module, collate([[row]])), loss)


def test_validation_is_a_mean_over_tokens_and_leaves_the_mode():
    module = tiny_llama().train()
    batches = [collate([[row] for row in rows(4)[:2]]), collate([[rows(4)[3]]])]
    calls = []
    loss = validation_loss(module, batches, lambda: calls.append(module.training))
    assert module.training
    assert calls == [True, True]
    module.eval()
    tokens = sum(batch.trained_tokens for batch in batches)
    assert loss == pytest.approx(float(sum(by_hand(module, batch) for batch in batches)) / tokens, abs=1e-5)


@pytest.mark.parametrize("kind", ["llama4_text", "mixtral", "gpt_oss", "mistral"])
def test_mixtures_and_windows_see_no_other_row_in_a_packed_line(kind):
    sizes = {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
    }  # fmt: skip
    more = {
        "llama4_text": {"num_local_experts": 2, "intermediate_size_mlp": 32, "attention_chunk_size": 8},
        "mixtral": {"num_local_experts": 2, "num_experts_per_tok": 2},
        "gpt_oss": {"num_local_experts": 2, "num_experts_per_tok": 2, "sliding_window": 6},
        "mistral": {"sliding_window": 6},
    }
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes, **more[kind])).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    batch = packed()
    with torch.no_grad():
        torch.testing.assert_close(trained_loss(module, batch), by_hand(module, batch), atol=1e-3, rtol=1e-4)


def test_frozen_half_precision_layers_are_multiplied_in_float32_where_the_cpu_is_slow(monkeypatch):
    monkeypatch.setattr(wide_linear, "slow_in_half_precision", lambda dtype: dtype == torch.bfloat16)
    monkeypatch.setattr(head_loss, "slow_in_half_precision", lambda dtype: dtype == torch.bfloat16)
    monkeypatch.setattr(head_loss, "_PIECE", 20)
    module = tiny_llama(dtype=torch.bfloat16)
    reference = tiny_llama()
    scale = [model.model.layers[0].input_layernorm.weight.requires_grad_() for model in (module, reference)]
    batch = packed()
    with WideLinears(module):
        loss = trained_loss(module, batch)
        gradient = gradient_of(loss, scale[0])
        with torch.inference_mode():
            assert module.model.layers[0].mlp.up_proj(torch.ones(1, 32).bfloat16()).dtype == torch.bfloat16
    assert all("forward" not in vars(part) for part in module.modules())
    exact = trained_loss(reference, batch)
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), rel=5e-3)
    assert F.cosine_similarity(gradient.float(), gradient_of(exact, scale[1]), 0) > 0.99


def test_full_precision_layers_are_left_alone():
    module = tiny_llama()
    with WideLinears(module):
        assert all("forward" not in vars(part) for part in module.modules())


@pytest.mark.full
@pytest.mark.parametrize("method", ["nf4", "int8"])
def test_quantised_layers_too(method, monkeypatch, tmp_path):
    from transformers import BitsAndBytesConfig

    from llama_nb.loading.quantize.bitsandbytes_layers import finish

    monkeypatch.setattr(wide_linear, "slow_in_half_precision", lambda dtype: dtype == torch.bfloat16)
    options = (
        {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"} if method == "nf4" else {"load_in_8bit": True}
    )
    config = BitsAndBytesConfig(**options, llm_int8_skip_modules=["lm_head"])
    tiny_llama(dtype=torch.bfloat16, hidden=64).save_pretrained(tmp_path)
    module = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.bfloat16, quantization_config=config
    ).requires_grad_(False)
    finish(module)
    adapters = adapted(RECIPE.replace(dropout=0.0), module)
    batch = packed()
    with adapters.training("a"):
        module.train()
        found = []
        for wide in (contextlib.nullcontext(), WideLinears(module)):
            with wide:
                loss = trained_loss(module, batch)
                loss.backward()
                taken = [name for part in module.modules() for name in vars(part)].count("forward")
            gradients = [each.grad for each in module.parameters() if each.requires_grad and each.grad.any()]
            found.append((float(loss.detach()), torch.cat([each.flatten() for each in gradients])))
            module.zero_grad()
        assert taken == 15
    assert found[0][0] == pytest.approx(found[1][0], rel=2e-3)
    assert F.cosine_similarity(found[0][1], found[1][1], 0) > 0.999
