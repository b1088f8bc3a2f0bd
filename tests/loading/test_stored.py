"""Checkpoints that bitsandbytes wrote: read as they are, and compared with their headers before."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llama_nb.core.errors import LoadError
from llama_nb.loading.check import check
from llama_nb.loading.expected import quiet_transformers
from llama_nb.loading.open import load_checked
from llama_nb.loading.quantize import bitsandbytes_layers
from llama_nb.loading.weights import read
from tests.models import TOKENIZER_FILES, edit_json

KINDS = {
    "int8": "bitsandbytes int8",
    "nf4": "bitsandbytes nf4",
    "fp4": "bitsandbytes fp4",
    "nf4-double": "bitsandbytes nf4 double",
}
LAYER = "model.layers.1.self_attn.q_proj"
STATE = "quant_state.bitsandbytes__nf4"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, stories260k: Path) -> Callable[[str], Path]:
    """Return a folder that transformers wrote from a quantised stories260K; each is made once."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("saved") / name
            with quiet_transformers():
                read(check(stories260k), quant=name).module.save_pretrained(made[name])
            for file in TOKENIZER_FILES:
                if (stories260k / file).exists():
                    shutil.copyfile(stories260k / file, made[name] / file)
        return made[name]

    return make


@pytest.mark.parametrize("name", KINDS)
def test_it_is_what_was_saved(name: str, saved: Callable[[str], Path], stories260k: Path) -> None:
    before = read(check(stories260k), quant=name)
    loaded = load_checked(saved(name), quant="auto")
    assert loaded.quant == KINDS[name]
    assert loaded.bytes == before.bytes
    assert loaded.checked.parameters == before.checked.parameters == 260_032
    ids = torch.arange(12)[None]
    with torch.inference_mode():
        assert torch.equal(loaded.module(ids).logits, before.module(ids).logits)
    if name != "int8":
        layers = list(bitsandbytes_layers.four_bit_layers(loaded.module))
        assert len(layers) == 30
        assert not any(layer.support_avx512bf16_for_cpu for layer in layers)


def test_it_is_not_quantised_again(saved: Callable[[str], Path]) -> None:
    with pytest.raises(LoadError, match=r"is quantised already \(bitsandbytes nf4\)"):
        load_checked(saved("nf4"), quant="int8")


def changed(folder: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    shutil.copytree(folder, target)
    tensors = load_file(target / "model.safetensors")
    change(tensors)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.pop(f"{LAYER}.{name}")


def put(name: str, value: torch.Tensor) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.__setitem__(f"{LAYER}.{name}", value)


def state(**values: Any) -> Callable[[dict[str, Any]], None]:
    """Change entries of the JSON that says how a layer was quantised."""

    def change(tensors: dict[str, Any]) -> None:
        name = f"{LAYER}.weight.{STATE}"
        text = json.dumps({**json.loads(bytes(tensors[name].tolist())), **values})
        tensors[name] = torch.tensor(list(text.encode()), dtype=torch.uint8)

    return change


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("nf4", drop("weight.absmax"), "1 tensor missing in layer 1"),
        ("nf4", drop("weight.quant_state.bitsandbytes__nf4"), "1 tensor missing in layer 1"),
        ("int8", drop("SCB"), "1 tensor missing in layer 1"),
        ("nf4", put("weight", torch.zeros(9, 1, dtype=torch.uint8)), "9 x 1 in the weights and 2048 x 1"),
        ("nf4", put("weight.absmax", torch.zeros(9)), "9 in the weights and 64"),
        ("nf4", state(shape=[64, 6400]), "says shape [64, 6400], but the layer has [64, 64]"),
        ("nf4", state(blocksize=4096), "says blocksize 4096"),
        ("nf4", state(quant_type="fp4"), "says quant_type fp4"),
        ("nf4", state(dtype="Tensor"), "says no dtype"),
        ("nf4-double", state(nested_blocksize=1), "says nested_blocksize 1"),
        ("nf4", put(f"weight.{STATE}", torch.ones(9, dtype=torch.uint8)), "is not readable"),
        ("nf4-double", put("weight.absmax", torch.zeros(64)), "is stored as F32, where config.json"),
        ("int8", put("weight", torch.zeros(64, 64)), "is stored as F32, where config.json"),
        ("int8", put("SCB", torch.zeros(7)), "7 in the weights and 64"),
    ],
)
def test_headers_that_contradict_the_config(
    name: str, change: Any, says: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(LoadError) as caught:
        check(changed(saved(name), tmp_path / "model", change))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"quant_method": "hqq"}, "quantised (hqq)"),
        ({"quant_method": None}, "quantised (unknown method)"),
        ("nf4", "unknown method"),
        (["x"], "unknown method"),
        ({"quant_method": "bitsandbytes"}, "neither in 8 bits nor as nf4 or fp4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "q4"}, "'q4'"),
    ],
)
def test_a_config_that_makes_no_sense(settings: Any, says: str, tmp_path: Path, stories260k: Path) -> None:
    shutil.copytree(stories260k, tmp_path / "model")
    (tmp_path / "model").chmod(0o755)
    (tmp_path / "model" / "config.json").chmod(0o644)
    edit_json(tmp_path / "model" / "config.json", quantization_config=settings)
    with pytest.raises(LoadError) as caught:
        check(tmp_path / "model")
    assert says in str(caught.value)


def test_float_weights_under_a_quantised_config(tmp_path: Path, stories260k: Path) -> None:
    shutil.copytree(stories260k, tmp_path / "model")
    (tmp_path / "model").chmod(0o755)
    (tmp_path / "model" / "config.json").chmod(0o644)
    edit_json(
        tmp_path / "model" / "config.json",
        quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True},
    )
    with pytest.raises(LoadError, match="quantization_config means I8"):
        check(tmp_path / "model")


def test_an_old_config_without_quant_method(saved: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(saved("nf4"), tmp_path / "model")
    edit_json(
        tmp_path / "model" / "config.json",
        quantization_config={
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "llm_int8_skip_modules": ["lm_head", *(f"model.layers.{n}.mlp.down_proj" for n in range(5))],
        },
    )
    assert check(tmp_path / "model").stored is not None
