"""Blocks and tensors of a model: every parameter and byte once, of each architecture, quantised ones too."""

from pathlib import Path

import pytest
import torch
import transformers

import llama_nb as llama
from llama_nb.core.errors import UnsupportedError
from llama_nb.interpret.anatomy import dissect, norm_weights
from llama_nb.interpret.rope import rope
from llama_nb.loading.quantize.accounting import tensor_bytes
from tests.interpret.architectures import KINDS, tiny
from tests.interpret.routing_models import mixture
from tests.models import write_random_llama

QUANTS = ("nf4", "int8", "int8-quanto", "int4-quanto", "int8-torchao")
LLAMA_3_1 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_and_byte_is_counted_once(kind):
    module = tiny(kind, **KINDS[kind])
    found = dissect(module)
    assert found.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert found.bytes == tensor_bytes(module)
    assert found.depth == 8
    assert sorted(number for alike in found.layers for number in alike.numbers) == list(range(8))
    names = {tensor.name for alike in found.layers for block in alike.blocks for tensor in block.tensors}
    inner = {name.split(".", 3)[3] for name, _ in module.named_parameters() if ".layers." in name}
    blocks = {block.name for alike in found.layers for block in alike.blocks}
    assert {f"{block}.{name}" for block in blocks for name in names} >= inner


def test_blocks_stand_in_the_order_of_the_forward_pass():
    found = dissect(tiny("llama"))
    assert [block.kind for block in found.first] == ["embedding", "rope"]
    assert [block.kind for block in found.layers[0].blocks] == ["norm", "attention", "norm", "feed-forward"]
    assert [block.name for block in found.layers[0].blocks][::2] == [
        "input_layernorm",
        "post_attention_layernorm",
    ]
    assert [block.kind for block in found.last] == ["norm", "head"]


def test_layers_that_are_alike_are_folded_and_others_are_not():
    found = dissect(tiny("llama4_text", **KINDS["llama4_text"]))
    kinds = [(alike.numbers, alike.blocks[3].kind, alike.blocks[1].facts["rope"]) for alike in found.layers]
    assert kinds == [
        ((0, 2, 4, 6), "feed-forward", True),
        ((1, 5), "experts", True),
        ((3, 7), "experts", False),
    ]
    module = tiny("llama")
    module.model.layers[5].mlp.up_proj.half()
    assert [alike.numbers for alike in dissect(module).layers] == [(0, 1, 2, 3, 4, 6, 7), (5,)]


def test_what_shapes_do_not_say():
    attention = dissect(tiny("mistral", sliding_window=16)).layers[0].blocks[1].facts
    assert attention == {
        "heads": 4, "kv_heads": 2, "head_dim": 8, "rope": True, "head_norm": False, "reach": "sliding",
        "window": 16,
    }  # fmt: skip
    assert dissect(tiny("qwen3")).layers[0].blocks[1].facts["head_norm"] is True
    experts = dissect(tiny("mixtral", **KINDS["mixtral"])).layers[0].blocks[3].facts
    assert (experts["experts"], experts["per_token"], experts["width"]) == (4, 2, 48)
    assert (experts["shared"], experts["router"]) == (False, "softmax")
    llama4 = dissect(tiny("llama4_text", **KINDS["llama4_text"])).layers[1].blocks[3].facts
    assert (llama4["shared"], llama4["router"], llama4["width"]) == (True, "sigmoid", 48)
    deepseek = dissect(mixture("deepseek")).layers[1].blocks[3].facts
    assert (deepseek["shared"], deepseek["router"], deepseek["width"]) == (True, "sigmoid", 24)


def test_layers_without_positions_are_said_to_be():
    layers = dissect(mixture("llama 4")).layers
    found = [
        (alike.numbers, next(b.facts["rope"] for b in alike.blocks if b.kind == "attention"))
        for alike in layers
    ]
    assert found == [((0, 2), True), ((1,), True), ((3,), False)]


def test_a_tied_head_costs_nothing_and_keeps_its_shape():
    head = dissect(tiny("llama", tie_word_embeddings=True)).last[-1]
    assert (head.tied, head.parameters, head.bytes) == (True, 0, 0)
    assert head.tensors[0].shape == (100, 32)
    assert dissect(tiny("llama", tie_word_embeddings=False)).last[-1].tied is False


@pytest.mark.parametrize("quant", QUANTS)
def test_quantised_matrices_have_the_shape_of_their_weights_and_the_bytes_of_their_codes(
    quant, tmp_path: Path, stories260k: Path
):
    folder = write_random_llama(tmp_path / "tiny", tokenizer_from=stories260k, hidden=128, layers=3)
    model = llama.load(str(folder), quant=quant, name=f"quantised {quant}")
    try:
        before = dissect(model.loaded.module, model.quant)
        model.complete("Once upon a time", max_tokens=3)
        for found in (before, dissect(model.loaded.module, model.quant)):
            assert found.parameters == model.parameters
            assert found.bytes == model.bytes
            assert [alike.numbers for alike in found.layers] == [(0, 1, 2)]
            matrix = found.layers[0].blocks[1].tensors[0]
            assert (matrix.name, matrix.shape, matrix.dtype) == ("q_proj.weight", (128, 128), quant)
            assert 128 * 128 / 2 < matrix.bytes < 128 * 128 * 1.2
    finally:
        model.unload()


def test_angles_are_those_of_transformers_with_their_scaling():
    module = tiny("llama", rope_parameters=LLAMA_3_1, max_position_embeddings=131_072)
    found = rope(module)
    assert found is not None
    assert (found.kind, found.base, found.scaling["factor"]) == ("llama3", 500_000.0, 8.0)
    assert found.unscaled == pytest.approx([500_000 ** (-2 * pair / 8) for pair in range(4)])
    assert found.frequencies[0] == pytest.approx(found.unscaled[0])
    assert found.frequencies[-1] == pytest.approx(found.unscaled[-1] / 8)
    cos, _ = module.model.rotary_emb(torch.zeros(1, 1, 32), torch.tensor([[77]]))
    assert cos[0, 0, :4].tolist() == pytest.approx(
        [float(torch.cos(torch.tensor(77 * angle))) for angle in found.frequencies], abs=1e-5
    )
    assert rope(tiny("llama4_text", **KINDS["llama4_text"])).adjacent is True


def test_weights_of_norms_are_copies_by_layer():
    module = tiny("llama")
    found = norm_weights(module)
    assert {name: table.shape for name, table in found.items()} == {
        "input_layernorm": (8, 32), "post_attention_layernorm": (8, 32), "norm": (1, 32)
    }  # fmt: skip
    module.model.layers[2].input_layernorm.weight.data.fill_(7)
    assert float(found["input_layernorm"][2, 0]) == 1.0


def test_what_is_no_such_model_is_refused():
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=16)
    with pytest.raises(UnsupportedError, match="GPT2LMHeadModel has no decoder layers"):
        dissect(transformers.GPT2LMHeadModel(config))
