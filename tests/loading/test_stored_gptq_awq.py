"""Checkpoints by GPTQ and AWQ: recognised, checked against their headers, refused where nothing runs them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llama_nb.core.errors import LoadError
from llama_nb.loading import stored
from llama_nb.loading.check import check
from llama_nb.loading.open import load_checked
from llama_nb.loading.stored import awq, gptq
from tests.models import edit_json, write_random_llama

GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 64, "desc_act": False, "sym": True}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm", "zero_point": True}


def pack(folder: Path, settings: dict[str, Any], skip: tuple[str, ...] = ()) -> Path:
    """Put a quantised checkpoint's tensors in the place of the linear layers: zeros of their shapes."""
    edit_json(folder / "config.json", quantization_config=settings)
    tensors = load_file(folder / "model.safetensors")
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        module = name.removesuffix(".weight")
        if tensor.ndim < 2 or "proj" not in name or any(part in name for part in skip):
            found[name] = tensor.half()
            continue
        rows, columns = tensor.shape
        groups = columns // settings["group_size"] if settings["group_size"] > 0 else 1
        if settings["quant_method"] == "gptq":
            bits = settings["bits"]
            found[f"{module}.qweight"] = torch.zeros(columns * bits // 32, rows, dtype=torch.int32)
            found[f"{module}.qzeros"] = torch.zeros(groups, rows * bits // 32, dtype=torch.int32)
            found[f"{module}.g_idx"] = torch.arange(columns, dtype=torch.int32) // max(columns // groups, 1)
        else:
            found[f"{module}.qweight"] = torch.zeros(columns, rows // 8, dtype=torch.int32)
            found[f"{module}.qzeros"] = torch.zeros(groups, rows // 8, dtype=torch.int32)
        found[f"{module}.scales"] = torch.ones(groups, rows, dtype=torch.float16)
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def folder(tmp_path: Path, stories260k: Path) -> Path:
    return write_random_llama(
        tmp_path / "packed", tokenizer_from=stories260k, hidden=128, heads=4, kv_heads=2, ffn=256
    )


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        (GPTQ, "gptq-4bit"),
        (GPTQ | {"bits": 8, "group_size": 128}, "gptq-8bit"),
        (GPTQ | {"bits": 3, "group_size": -1}, "gptq-3bit"),
        (AWQ, "awq-4bit"),
    ],
)
def test_they_are_recognised_checked_and_refused(folder: Path, settings: dict[str, Any], label: str) -> None:
    plain = check(folder)
    checked = check(pack(folder, settings))
    assert checked.stored is not None
    assert checked.stored.label == label
    assert checked.parameters == plain.parameters
    assert checked.stored_bytes < plain.stored_bytes / 2
    with pytest.raises(LoadError) as caught:
        load_checked(folder)
    assert f"Weights in {label} need a CUDA GPU (here: cpu), and gptqmodel" in caught.value.message
    assert "pip install gptqmodel" in caught.value.message
    assert "--quant" in caught.value.hint


@pytest.mark.parametrize("settings", [GPTQ, AWQ])
def test_they_are_not_quantised_again(folder: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(LoadError, match="quantised already"):
        load_checked(pack(folder, settings), quant="int8-torchao")


@pytest.mark.parametrize(
    ("settings", "changed", "says"),
    [
        (GPTQ, {"group_size": 32}, "qzeros is 2 x 16 in the weights and 4 x 16 by config.json"),
        (GPTQ, {"bits": 8}, "qweight is 16 x 128 in the weights and 32 x 128 by config.json"),
        (AWQ, {"group_size": 128}, "qzeros is 2 x 16 in the weights and 1 x 16"),
        (AWQ, {"quant_method": "gptq"}, "qweight is 128 x 16 in the weights and 16 x 128"),
        (GPTQ, {"bits": 5}, "quantised in 5 bits; known are 2, 3, 4, 8"),
        (AWQ, {"bits": 8}, "quantised in 8 bits; known are 4"),
        (GPTQ, {"bits": "four"}, "in four bits"),
        (GPTQ, {"group_size": 0}, "in groups of 0"),
        (AWQ, {"group_size": "x"}, "in groups of x"),
        (GPTQ, {"quant_method": "hqq"}, r"quantised (hqq); what is read here besides float weights: awq, b"),
    ],
)
def test_settings_that_the_weights_contradict(
    folder: Path, settings: dict[str, Any], changed: dict[str, Any], says: str
) -> None:
    pack(folder, settings)
    edit_json(folder / "config.json", quantization_config=settings | changed)
    with pytest.raises(LoadError) as caught:
        load_checked(folder)
    assert says in caught.value.message
    assert caught.value.hint


def test_layers_that_were_left_out(folder: Path) -> None:
    skipped = AWQ | {"modules_to_not_convert": ["o_proj"]}
    assert check(pack(folder, skipped, skip=("o_proj",))).stored is not None


def test_rules_of_gptqmodel(folder: Path) -> None:
    rules = {r"-:.*down_proj": {}, r"+:.*\.0\.self_attn\.q_proj": {"bits": 8}}
    assert check(pack(folder, GPTQ | {"dynamic": rules}, skip=("down_proj",))).stored is not None
    assert gptq.keeps("lm_head", GPTQ)
    assert not gptq.keeps("lm_head", GPTQ | {"lm_head": True})
    named = GPTQ | {"modules_in_block_to_quantize": [["self_attn.q_proj"], ["mlp.up_proj"]]}
    assert gptq.keeps("model.layers.0.mlp.down_proj", named)
    assert not gptq.keeps("model.layers.0.mlp.up_proj", named)
    assert not gptq.keeps("model.layers.0.mlp.up_proj", GPTQ | {"dynamic": {"-:[": {}}})


def test_layouts_that_only_the_library_knows() -> None:
    shapes = [tensor.shape for tensor in awq.tensors("m", (64, 128), AWQ | {"version": "gemv"}).values()]
    assert shapes == [None, None, None]


def test_what_a_gpu_would_need(monkeypatch: pytest.MonkeyPatch) -> None:
    found = stored.find({"quantization_config": GPTQ})
    assert found is not None
    assert found.reader.refusal(GPTQ, "cuda") == (
        "Weights in gptq-4bit need gptqmodel and optimum.gptq (`pip install gptqmodel optimum`)."
    )
    assert awq.refusal(AWQ, "cuda:0") == "Weights in awq-4bit need gptqmodel (`pip install gptqmodel`)."
    monkeypatch.setattr("llama_nb.loading.stored.gptq_layers._installed", lambda name: True)
    assert gptq.refusal(GPTQ, "cuda") is None
    assert gptq.refusal(GPTQ, "cpu") == "Weights in gptq-4bit need a CUDA GPU (here: cpu)."


def test_an_old_name_of_the_bits_of_awq(folder: Path) -> None:
    old = {"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "version": "GEMM"}
    pack(folder, AWQ)
    edit_json(folder / "config.json", quantization_config=old)
    assert json.loads((folder / "config.json").read_text())["quantization_config"] == old
    assert check(folder).stored is not None
