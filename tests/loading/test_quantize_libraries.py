"""Models quantised by optimum-quanto and torchao: close to their floats, smaller by the right bytes."""

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import llama_nb as llama
from llama_nb import bundled
from llama_nb.core.errors import LoadError
from llama_nb.core.events import ReplyAdvanced, subscribe
from llama_nb.loading import quantize
from llama_nb.loading.open import load_checked
from llama_nb.loading.weights import Loaded, release
from llama_nb.planner import memory
from llama_nb.planner.formats import FORMATS
from llama_nb.planner.shape import Shape
from tests.models import write_random_llama

METHODS = ("int4-quanto", "int8-quanto", "int8-torchao")
TEXT = "What is a token? A token is a small piece of text: a word, a part of a word, or a sign."
# Mean KL divergence in nats a token from float32, on cria and on stories260K: some twice what was measured.
CLOSE = {"int4-quanto": (0.3, 0.03), "int8-quanto": (0.005, 0.002), "int8-torchao": (0.005, 0.002)}


def divergence(loaded: Loaded, text: str = TEXT) -> float:
    original = load_checked(loaded.checked.folder, dtype="float32")
    ids = torch.tensor([loaded.tokenizer(text).input_ids])
    with torch.inference_mode():
        theirs = original.module(ids).logits.log_softmax(-1)
        ours = loaded.module(ids).logits.float().log_softmax(-1)
    release(original)
    return float((theirs.exp() * (theirs - ours)).sum(-1).mean())


@pytest.mark.parametrize("quant", METHODS)
def test_it_is_close_to_the_floats(quant: str, stories260k: Path) -> None:
    cria, stories = load_checked("cria", quant=quant), load_checked(stories260k, quant=quant)
    found = divergence(cria), divergence(stories, "Once upon a time, there was a little girl named Lily.")
    assert all(0 < value < limit for value, limit in zip(found, CLOSE[quant], strict=True)), found
    assert (cria.quant, cria.dtype) == (quant, "bfloat16")
    assert not any(parameter.requires_grad for parameter in cria.module.parameters())


@pytest.mark.parametrize("quant", METHODS)
def test_its_bytes_are_those_of_its_tensors_and_of_the_plan(quant: str) -> None:
    loaded = load_checked("cria", quant=quant)
    config = loaded.checked.config
    matrices = sum(
        FORMATS[quant].matrix_bytes(rows, columns)
        for name, (rows, columns) in loaded.checked.linear.items()
        if name != "lm_head"
    )
    rest = config["vocab_size"] * config["hidden_size"] + (2 * 6 + 1) * config["hidden_size"]
    assert loaded.bytes == pytest.approx(matrices + 2 * rest, rel=0.005)
    planned = memory.quantised_bytes(Shape.from_config(config), quant, "bfloat16")
    assert loaded.bytes == pytest.approx(planned, rel=0.01)


@pytest.mark.parametrize("quant", METHODS)
def test_the_plan_knows_which_layers_stay(quant: str, stories260k: Path) -> None:
    loaded = load_checked(stories260k, quant=quant)
    planned = memory.quantised_bytes(Shape.from_config(loaded.checked.config), quant, "bfloat16")
    assert loaded.bytes == pytest.approx(planned, rel=0.01)


TOO_TALL = tuple(
    f"{name} stayed in bfloat16 in 5 layers: int4-quanto cannot take 64 inputs x 172 outputs."
    for name in ("gate_proj", "up_proj")
)


@pytest.mark.parametrize(("quant", "also"), [("int4-quanto", TOO_TALL), ("int8-quanto", ())])
def test_layers_that_quanto_cannot_take_stay_and_are_named(
    quant: str, also: tuple[str, ...], stories260k: Path
) -> None:
    loaded = load_checked(stories260k, quant=quant)
    wide = f"down_proj stayed in bfloat16 in 5 layers: {quant} cannot take 172 inputs x 64 outputs."
    assert loaded.quant_notes == (*also, wide)
    kinds = {type(layer.mlp.down_proj.weight) for layer in loaded.module.model.layers}
    assert kinds == {torch.nn.Parameter}
    assert load_checked("cria", quant=quant).quant_notes == ()


def test_torchao_takes_every_width(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "odd", tokenizer_from=stories260k, hidden=60, heads=2, ffn=67)
    loaded = load_checked(folder, quant="int8-torchao")
    assert loaded.quant_notes == ()
    assert 0 <= divergence(loaded, "Once upon a time") < 0.01


def test_no_width_that_quanto_takes_ends_the_process() -> None:
    """In bfloat16 torch's kernel behind int8-quanto reads past rows of other widths: a segmentation fault."""
    code = """
import torch
from optimum.quanto import QLinear, qint8
from llama_nb.loading.quantize import quanto_layers
for width in (32, 64, 96, 160, 352):
    assert quanto_layers.takes(24, width)
    layer = QLinear(width, 24, bias=False, dtype=torch.bfloat16, weights=qint8)
    layer.freeze()
    values = torch.randn(50, width, dtype=torch.bfloat16)
    exact = values.float() @ layer.weight.dequantize().float().T
    assert (layer(values).float() - exact).norm() < 0.01 * exact.norm()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert not quantize.find("int8-quanto").takes(64, 172)


@pytest.mark.parametrize("quant", METHODS)
def test_a_chat_and_its_stop(quant: str) -> None:
    model = llama.load("cria", name=quant, quant=quant)
    first = model.chat("What is a token?", max_tokens=24, temperature=0)
    again = model.chat("What is a token?", chat="other", max_tokens=24, temperature=0)
    assert first.text == again.text
    assert "token" in first.text
    end = subscribe(lambda event: model.stop("enough") if isinstance(event, ReplyAdvanced) else None)
    stopped = model.chat("What is a token?", chat="third", max_tokens=24, temperature=0)
    end()
    assert stopped.finish is not None
    assert stopped.finish.reason == "stopped"
    assert first.text.startswith(stopped.text)
    assert model.chat("And in one word?", max_tokens=8, temperature=0).text
    assert model.quant == quant
    model.unload()


@pytest.mark.parametrize("quant", METHODS)
def test_unloading_gives_the_memory_back(quant: str, tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(
        tmp_path / "m", tokenizer_from=stories260k, layers=4, hidden=512, heads=8, ffn=2048, dtype="bfloat16"
    )
    release(load_checked(folder, quant=quant))  # what the libraries keep for good is here now
    gc.collect()
    before = psutil.Process().memory_info().rss
    loaded = load_checked(folder, quant=quant)
    held = psutil.Process().memory_info().rss - before
    assert release(loaded) == loaded.bytes
    assert release(loaded) == 0
    left = psutil.Process().memory_info().rss - before
    assert left < 0.2 * loaded.bytes, (held, left)
    assert isinstance(loaded.module.model.layers[0].mlp.up_proj, torch.nn.Module)


def test_torchao_changes_nothing_else() -> None:
    before = torch.get_float32_matmul_precision()
    load_checked("cria", quant="int8-torchao")
    assert torch.get_float32_matmul_precision() == before


def test_gradients_through_quanto_are_those_of_its_weights() -> None:
    """LoRA trains through the base: the gradient of the input is that of the de-quantised matrix."""
    loaded = load_checked("cria", quant="int4-quanto")
    layer: Any = loaded.module.model.layers[0].mlp.up_proj
    values = torch.randn(3, layer.in_features, dtype=torch.bfloat16, requires_grad=True)
    layer(values).float().sum().backward()
    exact = layer.weight.dequantize().float().sum(0)
    assert values.grad is not None
    assert torch.nn.functional.cosine_similarity(values.grad[0].float(), exact, dim=0) > 0.999


def test_int4_torchao_is_refused_before_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_nb.loading.open.read", lambda *args, **options: pytest.fail("it was read"))
    with pytest.raises(LoadError) as caught:
        load_checked("cria", quant="int4-torchao")
    assert caught.value.message == "quant int4-torchao has kernels for CUDA only, none for cpu."
    assert "int4-quanto" in caught.value.hint
    assert "int8-torchao" in caught.value.hint


@pytest.mark.parametrize(
    ("quant", "device", "says"),
    [
        ("int8-quanto", "xpu", "runs on cpu, cuda, mps, not on xpu"),
        ("int8-torchao", "mps", "runs on cpu and cuda, not on mps"),
        ("int4-torchao", "cuda", "torch finds none here"),
    ],
)
def test_devices_that_a_method_does_not_run_on(quant: str, device: str, says: str) -> None:
    assert says in str(quantize.refusal(quantize.find(quant), device))


def test_a_gpu_of_the_wrong_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    method = quantize.find("int4-torchao")
    assert "Ampere GPU or newer (8.0); this one has 7.5" in str(quantize.refusal(method, "cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert quantize.refusal(method, "cuda") is None
    assert (method.takes(4096, 11008), method.takes(4096, 172), method.takes(4095, 4096)) == (
        True,
        False,
        False,
    )
    settings = method.config(["lm_head"])
    assert settings.modules_to_not_convert == ["lm_head"]
    assert not settings.quant_type.set_inductor_config


def test_looking_at_methods_imports_no_library() -> None:
    code = (
        "import sys\nfrom llama_nb.loading import quantize, stored\n"
        "[(m.SUMMARY, quantize.refusal(m, 'cpu')) for m in map(quantize.find, quantize.names())]\n"
        "stored.find({'quantization_config': {'quant_method': 'gptq', 'bits': 4}})\n"
        "print({'torch', 'transformers', 'torchao', 'optimum.quanto', 'gguf'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_the_bundled_model_is_left_as_it_is() -> None:
    before = (bundled.folder("cria") / "model.safetensors").stat()
    load_checked("cria", quant="int8-quanto")
    assert (bundled.folder("cria") / "model.safetensors").stat().st_mtime_ns == before.st_mtime_ns
