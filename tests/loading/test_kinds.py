"""Llama's relatives: mixtures of experts and others load as transformers saves them, and as it reads them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Llama4Config, Llama4ForConditionalGeneration

from llama_nb.core.errors import LoadError
from llama_nb.core.events import Note, subscribe
from llama_nb.loading import quantize
from llama_nb.loading.check import check
from llama_nb.loading.config import KINDS
from llama_nb.loading.expected import expected_tensors, quiet_transformers
from llama_nb.loading.open import load_checked
from llama_nb.loading.quantize.accounting import tensor_bytes
from llama_nb.loading.weights import read, release
from llama_nb.planner.memory import quantised_bytes
from llama_nb.planner.shape import Shape
from tests.models import MIXTURES, edit_json, write_random_mixture

EVERY = sorted(KINDS)
HERE = [name for name in quantize.names() if quantize.refusal(quantize.find(name), "cpu") is None]
IDS = torch.tensor([[1, 40, 41, 42, 300, 7, 9]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, stories260k: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("kinds")
    return {kind: write_random_mixture(root / kind, kind, tokenizer_from=stories260k) for kind in EVERY}


@pytest.mark.parametrize("kind", EVERY)
def test_it_is_what_transformers_reads(kind: str, folders: dict[str, Path]) -> None:
    checked = check(folders[kind])
    assert checked.model_type == kind
    loaded = read(checked)
    with quiet_transformers():
        reference = AutoModelForCausalLM.from_pretrained(folders[kind], dtype=torch.float32).eval()
    assert type(loaded.module).__name__ == type(reference).__name__ == KINDS[kind]
    with torch.inference_mode():
        torch.testing.assert_close(loaded.module(IDS).logits, reference(IDS).logits)
    assert checked.parameters == sum(each.numel() for each in reference.parameters())
    assert release(loaded) > 0.99 * 4 * checked.parameters
    assert tensor_bytes(loaded.module) == 0


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("quant", [None, *HERE])
def test_the_plan_knows_what_a_method_takes(quant: str | None, kind: str, folders: dict[str, Path]) -> None:
    checked = check(folders[kind])
    loaded = read(checked, quant=quant, dtype="bfloat16")
    planned = quantised_bytes(Shape.from_config(checked.config), quant or "none", "bfloat16")
    # Code books lie beside each matrix in the plan; quanto's own buffers and the rotary ones in the model.
    assert planned == pytest.approx(loaded.bytes, abs=1100 * len(checked.linear) + 2000)
    with torch.inference_mode():
        assert bool(torch.isfinite(loaded.module(IDS).logits).all())
    whole = [part for name, part in loaded.module.named_parameters() if part.ndim == 3 and "expert" in name]
    assert {part.dtype for part in whole} <= {torch.bfloat16}
    assert checked.experts == sum(part.numel() for part in whole)
    if quant is not None and kind in MIXTURES:
        share = f"{checked.experts / checked.parameters:.0%} of the parameters"
        assert share in loaded.quant_notes[0]
        assert "linear layers only" in loaded.quant_notes[0]
    elif quant is None:
        assert loaded.quant_notes == ()
        assert loaded.bytes == tensor_bytes(loaded.module)


@pytest.mark.parametrize("quant", HERE)
def test_routers_go_on_choosing(quant: str, folders: dict[str, Path]) -> None:
    """A router of Llama 4 is a linear layer of its own kind: quanto would put a plain one in its place."""
    loaded = read(check(folders["llama4_text"]), quant=quant)
    routers = [part for name, part in loaded.module.named_modules() if name.endswith("router")]
    assert {type(part).__name__ for part in routers} == {"Llama4Router"}
    assert {type(part.weight) for part in routers} == {torch.nn.Parameter}
    assert set(loaded.checked.routers) == {
        name for name, part in loaded.module.named_modules() if name.endswith("router")
    }


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind in MIXTURES])
def test_an_expert_that_is_missing_is_named(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = _copy(folders[kind], tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if "experts" in name)
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LoadError, match=r"1 tensor missing in layer \d"):
        check(folder)


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "no experts": ("llama4_text", {"num_local_experts": 0}, "num_local_experts 0"),
    "too many chosen": ("mixtral", {"num_experts_per_tok": 5}, "5 experts for each token, of 4"),
    "layers that are not there": ("llama4_text", {"moe_layers": [1, 4]}, "layers from 0 to 3"),
    "layers that are no list": ("llama4_text", {"moe_layers": "all"}, "'all'"),
    "dense layers that are no numbers": ("qwen3_moe", {"mlp_only_layers": ["1"]}, "mlp_only_layers"),
    "a chunk of nothing": ("llama4_text", {"attention_chunk_size": 0}, "attention_chunk_size 0"),
    "half a window": ("gpt_oss", {"sliding_window": 0.5}, "sliding_window 0.5"),
    "experts of another width": ("olmoe", {"intermediate_size": 32}, "down_proj"),
    "another number of experts": (
        "qwen3_moe",
        {"num_experts": 3, "num_local_experts": 3},
        "more than config",
    ),
    "another architecture": (
        "mixtral",
        {"architectures": ["MixtralForTokenClassification"]},
        "no model that",
    ),
    "4-bit floats": ("gpt_oss", {"quantization_config": {"quant_method": "mxfp4"}}, "quantised (mxfp4)"),
    "quantised already": (
        "mixtral",
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        "a mixture of experts that is quantised already",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_before_weights_are_read(
    case: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    kind, changes, says = BAD[case]
    folder = _copy(folders[kind], tmp_path)
    edit_json(folder / "config.json", **changes)
    with pytest.raises(LoadError) as caught:
        check(folder)
    assert says in caught.value.message
    assert caught.value.hint


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Path:
    """A Llama 4 as it is published: the model that writes text inside of one that sees, too."""
    folder = _copy(folders["llama4_text"], tmp_path_factory.mktemp("seeing"))
    text = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "model.safetensors").unlink()
    vision = {
        "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14, "vision_output_dim": 32, "projector_input_dim": 32,
        "projector_output_dim": 32, "pixel_shuffle_ratio": 0.5,
    }  # fmt: skip
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Llama4ForConditionalGeneration(Llama4Config(text_config=text, vision_config=vision))
        model.save_pretrained(folder)
    return folder


def test_the_model_that_writes_is_read_out_of_one_that_sees(seeing: Path) -> None:
    notes: list[str] = []
    unsubscribe = subscribe(lambda event: notes.append(event.text) if isinstance(event, Note) else None)
    loaded = load_checked(seeing)
    unsubscribe()
    checked = loaded.checked
    assert checked.model_type == "llama4_text"
    assert checked.unread > 0
    assert any("of what it sees with are not read" in note for note in notes)
    assert type(loaded.module).__name__ == "Llama4ForCausalLM"
    assert checked.parameters == sum(each.numel() for each in loaded.module.parameters())
    with quiet_transformers():
        whole = Llama4ForConditionalGeneration.from_pretrained(seeing, dtype=torch.float32).eval()
    with torch.inference_mode():
        torch.testing.assert_close(loaded.module(IDS).logits, whole(IDS).logits)


def test_one_that_sees_without_its_text_model_is_refused(seeing: Path, tmp_path: Path) -> None:
    folder = _copy(seeing, tmp_path)
    edit_json(folder / "config.json", text_config=None)
    with pytest.raises(LoadError, match="has no text_config"):
        check(folder)
    folder = _copy(seeing, tmp_path / "another")
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensors[name] for name in tensors if "layers.3.feed" not in name},
              folder / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    with pytest.raises(LoadError, match="missing in layer 3"):
        check(folder)


def test_names_of_the_largest_mixtures_are_made_without_their_weights() -> None:
    shape: dict[str, Any] = {
        "model_type": "qwen3_moe", "num_hidden_layers": 48, "hidden_size": 2048, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144, "moe_intermediate_size": 768,
        "num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151_936, "tie_word_embeddings": False,
    }  # fmt: skip
    expected = expected_tensors(shape)
    assert len(expected.shapes) == 48 * (9 + 3 * 128) + 3
    assert expected.shapes["model.layers.47.mlp.experts.127.down_proj.weight"] == (2048, 768)


def _copy(folder: Path, to: Path) -> Path:
    to.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to
