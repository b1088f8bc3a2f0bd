"""An adapter for llama.cpp: put upon the base's GGUF as llama.cpp does it, it gives peft's logits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from llama_nb.core.errors import ConvertError
from llama_nb.loading.check import Checked, check
from llama_nb.loading.gguf_file import read_gguf
from llama_nb.loading.gguf_write import write_gguf
from llama_nb.loading.open import load_checked
from llama_nb.tuning.adapter_file import read_adapter
from llama_nb.tuning.gguf_adapter import write_adapter
from tests.models import write_random_llama

IDS = torch.arange(3, 43).unsqueeze(0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, stories260k: Path) -> Checked:
    folder = tmp_path_factory.mktemp("base") / "m"
    return check(write_random_llama(folder, tokenizer_from=stories260k, heads=4, kv_heads=2, hidden=64))


def adapt(base: Checked, folder: Path, **changes: Any) -> torch.Tensor:
    """Save an adapter with random factors and return the logits of the base with it."""
    settings: dict[str, Any] = {
        "r": 4,
        "lora_alpha": 12,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
    }
    module = load_checked(base.folder, dtype="float32").module
    adapted = get_peft_model(module, LoraConfig(**settings | changes))
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapted.save_pretrained(folder)
    adapted.eval()
    with torch.no_grad():
        return adapted(IDS).logits


def upon(base: Path, adapter: Path) -> None:
    """Add the changes of an adapter to the weights of a GGUF in F32, as llama.cpp computes them."""
    reader = GGUFReader(adapter)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    assert (keys["general.type"], keys["adapter.type"], keys["general.architecture"]) == (
        "adapter",
        "lora",
        "llama",
    )
    factors = {one.name: one.data.astype(np.float32) for one in reader.tensors}
    weights = read_gguf(base).tensors
    with base.open("rb+") as file:
        for name in [name.removesuffix(".lora_a") for name in factors if name.endswith(".lora_a")]:
            a, b = factors[f"{name}.lora_a"], factors[f"{name}.lora_b"]
            file.seek(weights[name].offset)
            plain = np.frombuffer(file.read(weights[name].bytes), np.float32).reshape(weights[name].shape)
            file.seek(weights[name].offset)
            file.write(
                (plain + keys["adapter.lora.alpha"] / a.shape[0] * (b @ a)).astype(np.float32).tobytes()
            )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_rslora": True},
        {"target_modules": "all-linear"},
        {"rank_pattern": {"k_proj": 2}, "alpha_pattern": {"layers.1.self_attn.q_proj": 3}},
    ],
)
def test_it_gives_pefts_logits(tmp_path: Path, base: Checked, changes: dict[str, Any]) -> None:
    expected = adapt(base, tmp_path / "persona", **changes)
    write_gguf(base, tmp_path / "base.gguf", "F32")
    written = write_adapter(read_adapter(tmp_path / "persona"), base, tmp_path / "persona.gguf")
    assert written.tensors == 2 * 2 * (7 if changes.get("target_modules") == "all-linear" else 4)
    upon(tmp_path / "base.gguf", tmp_path / "persona.gguf")
    with torch.no_grad():
        found = load_checked(tmp_path / "base.gguf", dtype="float32").module(IDS).logits
        plain = load_checked(base.folder, dtype="float32").module(IDS).logits
    assert float((expected - plain).abs().max()) > 0.1
    assert float((found - expected).abs().max()) < 1e-4


def test_factors_are_the_same_numbers_in_pefts_order(tmp_path: Path, base: Checked) -> None:
    adapt(base, tmp_path / "persona")
    write_adapter(read_adapter(tmp_path / "persona"), base, tmp_path / "a.gguf", name="pirate")
    stored = load_file(tmp_path / "persona" / "adapter_model.safetensors")
    reader = GGUFReader(tmp_path / "a.gguf")
    found = {one.name: one for one in reader.tensors}
    ours = found["blk.1.attn_v.weight.lora_b"].data
    assert np.array_equal(ours, stored["base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"])
    assert found["blk.1.attn_v.weight.lora_b"].shape.tolist() == [4, 32]
    assert reader.fields["general.name"].contents() == "pirate"
    assert reader.fields["adapter.lora.alpha"].contents() == 12
    assert read_gguf(tmp_path / "a.gguf").keys["general.base_model.0.name"] == "m"


def test_half_precision(tmp_path: Path, base: Checked) -> None:
    adapt(base, tmp_path / "persona")
    write_adapter(read_adapter(tmp_path / "persona"), base, tmp_path / "a.gguf", "F16")
    assert {one.type for one in read_gguf(tmp_path / "a.gguf").tensors.values()} == {"F16"}
    with pytest.raises(ConvertError, match="an adapter is stored as one of F32, F16, BF16"):
        write_adapter(read_adapter(tmp_path / "persona"), base, tmp_path / "b.gguf", "Q8_0")


def test_dora_is_refused(tmp_path: Path, base: Checked) -> None:
    adapt(base, tmp_path / "persona", use_dora=True)
    with pytest.raises(ConvertError, match=r"(?s)persona is a DoRA.*adapter merge"):
        write_adapter(read_adapter(tmp_path / "persona"), base, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def rename(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("q_proj", "qkv_proj"): tensor for name, tensor in tensors.items()}


def half(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in tensors.items() if "k_proj.lora_B" not in name}


def wide(tensors: dict[str, Any]) -> dict[str, Any]:
    return {
        name: torch.cat([tensor, tensor]) if "q_proj.lora_B" in name else tensor
        for name, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (rename, "qkv_proj.lora_A.weight, which is no factor of a linear layer of m"),
        (half, "one of two factors of model.layers.0.self_attn.k_proj only"),
        (wide, r"are \(4, 64\) and \(128, 4\); the layer of m has 64 x 64 weights"),
    ],
)
def test_factors_that_do_not_fit_the_base(tmp_path: Path, base: Checked, change: Any, says: str) -> None:
    adapt(base, tmp_path / "persona")
    path = tmp_path / "persona" / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)
    with pytest.raises(ConvertError, match=says):
        write_adapter(read_adapter(tmp_path / "persona"), base, tmp_path / "a.gguf")
