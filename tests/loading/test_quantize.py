"""Quantised weights: which layers they are in, that they compute what floats would, and their memory."""

import importlib
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit

from llama_nb.bundled import folder as bundled_folder
from llama_nb.core.errors import LoadError
from llama_nb.loading import quantize
from llama_nb.loading.check import check
from llama_nb.loading.quantize import accounting, bitsandbytes_layers
from llama_nb.loading.weights import Loaded, read, release
from tests.models import write_random_llama

FOUR_BITS = ("nf4", "fp4", "nf4-double")
HERE = ("int8", *FOUR_BITS)
EVERY = [name for name in quantize.names() if quantize.refusal(quantize.find(name), "cpu") is None]
STORY = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """A busy machine takes minutes to share the work of so small a model among its cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, stories260k: Path) -> Path:
    """A Llama that 4-bit layers cannot hold as a whole: its widths are 96 and 256, no and four times 64."""
    folder = tmp_path_factory.mktemp("odd") / "model"
    return write_random_llama(folder, tokenizer_from=stories260k, hidden=96, heads=4, kv_heads=2, ffn=256)


def quantised_layers(module: torch.nn.Module) -> dict[str, str]:
    kinds = ("Linear8bitLt", "Linear4bit")
    return {
        name: type(part).__name__ for name, part in module.named_modules() if type(part).__name__ in kinds
    }


def loss(loaded: Loaded, text: str) -> float:
    ids = torch.tensor([loaded.tokenizer(text).input_ids])
    with torch.inference_mode():
        return float(loaded.module(ids, labels=ids).loss)


def test_methods_are_found_by_their_files() -> None:
    assert set(HERE) <= set(quantize.names())
    for name in quantize.names():
        method = quantize.find(name)
        assert method.__name__.rpartition(".")[2] == name.replace("-", "_")  # type: ignore[attr-defined]
        assert method.SUMMARY
        assert not method.SUMMARY.endswith(".")
        assert method.LIBRARY
    with pytest.raises(LoadError, match="Did you mean 'nf4-double'"):
        quantize.find("nf4 double")


@pytest.mark.parametrize("name", HERE)
def test_every_linear_layer_but_the_head_is_quantised(name: str, cria_folder: Path) -> None:
    loaded = read(check(cria_folder), quant=name)
    layers = quantised_layers(loaded.module)
    assert set(layers) == set(loaded.checked.linear) - {"lm_head"}
    assert len(set(layers.values())) == 1
    assert (loaded.quant, loaded.quant_notes, loaded.dtype) == (name, (), "bfloat16")
    others = {key: tensor for key, tensor in loaded.module.named_parameters() if "_proj" not in key}
    assert {tensor.dtype for tensor in others.values()} == {torch.bfloat16}
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())


@pytest.mark.parametrize("name", HERE)
def test_it_takes_the_memory_that_its_bits_say(name: str, cria_folder: Path) -> None:
    loaded = read(check(cria_folder), quant=name)
    linear = [shape for key, shape in loaded.checked.linear.items() if key != "lm_head"]
    weights = sum(math.prod(shape) for shape in linear)
    rest = 2 * (loaded.checked.parameters - weights)
    scales = {
        "int8": sum(4 * rows for rows, _ in linear),
        "nf4-double": sum(blocks + 4 * math.ceil(blocks / 256) + 4 for blocks in map(_blocks, linear)),
    }.get(name, weights // 64 * 4)
    rotary = sum(buffer.nbytes for buffer in loaded.module.buffers())
    stored = weights if name == "int8" else weights // 2
    assert loaded.bytes == stored + scales + rest + rotary


def _blocks(shape: tuple[int, int]) -> int:
    return math.prod(shape) // 64


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", HERE)
def test_a_story_stays_as_likely(name: str, dtype: str, stories260k: Path) -> None:
    plain = loss(read(check(stories260k)), STORY)
    assert loss(read(check(stories260k), quant=name, dtype=dtype), STORY) == pytest.approx(plain, abs=0.08)


@pytest.mark.parametrize("name", ["nf4", "nf4-double"])
def test_one_token_and_many_give_the_same_logits(name: str, cria_folder: Path) -> None:
    loaded = read(check(cria_folder), quant=name, dtype="float32")
    ids = torch.tensor([loaded.tokenizer(STORY).input_ids[:6]])
    with torch.inference_mode():
        whole = loaded.module(ids).logits[0]
        cache: Any = None
        for place in range(ids.shape[1]):
            step = loaded.module(ids[:, place : place + 1], past_key_values=cache, use_cache=True)
            cache = step.past_key_values
            torch.testing.assert_close(step.logits[0, 0], whole[place], atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", HERE)
def test_widths_that_do_not_fit_stay_as_they_are(name: str, odd: Path) -> None:
    loaded = read(check(odd), quant=name)
    layers = quantised_layers(loaded.module)
    if name == "int8":
        assert len(layers) == 14
        assert loaded.quant_notes == ()
        assert loss(loaded, STORY) > 0
        return
    assert set(layers) == {f"model.layers.{layer}.mlp.down_proj" for layer in (0, 1)}
    assert (
        f"q_proj stayed in bfloat16 in 2 layers: {name} cannot take 96 inputs x 96 outputs."
        in loaded.quant_notes
    )
    assert len(loaded.quant_notes) == 6
    assert type(loaded.module.model.layers[0].self_attn.q_proj) is torch.nn.Linear
    plain = loss(read(check(odd)), STORY)
    assert loss(loaded, STORY) == pytest.approx(plain, abs=0.1)


def test_nothing_that_fits_is_said(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(
        tmp_path / "a", tokenizer_from=stories260k, hidden=96, heads=4, kv_heads=2, ffn=100
    )
    loaded = read(check(folder), quant="nf4")
    assert quantised_layers(loaded.module) == {}
    assert len(loaded.quant_notes) == 1
    assert loaded.quant_notes[0].startswith("No layer is quantised, all stayed in bfloat16: nf4 cannot take")


@pytest.mark.parametrize("name", EVERY)
def test_heights_that_do_not_fit_stay_as_they_are(name: str, tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(
        tmp_path / "a", tokenizer_from=stories260k, layers=1, hidden=128, heads=4, kv_heads=2, ffn=341
    )
    assert loss(read(check(folder), quant=name), STORY) > 0


def float_twin(loaded: Loaded) -> torch.nn.Module:
    """The same model in float32, its weights those that the quantised layers stand for."""
    twin = read(check(loaded.checked.folder), dtype="float32").module
    for name, kind in quantised_layers(loaded.module).items():
        layer = loaded.module.get_submodule(name)
        twin.get_submodule(name).weight.data = floats(layer, kind)
    return twin


def floats(layer: Any, kind: str) -> torch.Tensor:
    if kind == "Linear8bitLt":
        scales = layer.weight.SCB if layer.state.SCB is None else layer.state.SCB
        return layer.weight.data.float() * scales[:, None] / 127
    return dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()


def lora_gradient(module: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Gradients of a LoRA on three layers of each block, its matrices started at fixed small numbers."""
    generator, matrices, hooks = torch.Generator().manual_seed(3), [], []
    for name, layer in module.named_modules():
        if not name.endswith(("q_proj", "v_proj", "down_proj")):
            continue
        down = (0.1 * torch.randn(4, layer.in_features, generator=generator)).requires_grad_()
        up = (0.1 * torch.randn(layer.out_features, 4, generator=generator)).requires_grad_()
        matrices += [down, up]
        hooks.append(
            layer.register_forward_hook(
                lambda _, given, out, down=down, up=up: out + (given[0] @ down.T @ up.T).to(out.dtype)
            )
        )
    module.train()
    module(input_ids=ids, labels=ids).loss.backward()
    module.eval()
    for hook in hooks:
        hook.remove()
    return torch.cat([matrix.grad.flatten() for matrix in matrices if matrix.grad is not None])


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


@pytest.fixture
def ids(cria_folder: Path) -> torch.Tensor:
    return torch.randint(0, 2000, (2, 24), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", HERE)
def test_gradients_of_a_lora_are_those_of_the_floats(name: str, cria_folder: Path, ids: torch.Tensor) -> None:
    loaded = read(check(cria_folder), quant=name, dtype="float32")
    expected = lora_gradient(float_twin(loaded), ids)
    with torch.inference_mode():
        loaded.module(ids)  # the reply that a panel makes in the middle of a training
    assert cosine(lora_gradient(loaded.module, ids), expected) > 0.999
    with torch.inference_mode():
        loaded.module(ids[:, :1])
    assert cosine(lora_gradient(loaded.module, ids), expected) > 0.999


@pytest.mark.parametrize("name", FOUR_BITS)
def test_the_guard_is_on_every_4_bit_layer(name: str, cria_folder: Path) -> None:
    loaded = read(check(cria_folder), quant=name)
    layers = list(bitsandbytes_layers.four_bit_layers(loaded.module))
    assert len(layers) == 42
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    with torch.inference_mode():
        loaded.module(torch.arange(8)[None])
    assert not any(getattr(layer.weight.quant_state, "packing_format_for_cpu", False) for layer in layers)


def test_without_the_guard_gradients_are_wrong(cria_folder: Path, ids: torch.Tensor) -> None:
    """What a CPU with AVX512-BF16 does by itself is asked for here: the re-packing is plain torch.

    On another CPU the product with the re-packed weights is wrong besides; the gradients are in any case.
    """
    loaded = read(check(cria_folder), quant="nf4", dtype="float32")
    expected = lora_gradient(float_twin(loaded), ids)
    for layer in bitsandbytes_layers.four_bit_layers(loaded.module):
        layer.support_avx512bf16_for_cpu = True
    assert (
        cosine(lora_gradient(loaded.module, ids), expected) > 0.999
    )  # nothing was computed in eval mode yet
    with torch.no_grad():
        loaded.module(ids)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, once a process: the packed product has no derivative
        wrong = lora_gradient(loaded.module, ids)
    assert cosine(wrong, expected) < 0.9


def test_new_4_bit_layers_take_the_guard_from_the_processor() -> None:
    """The default that the guard is there to change; True where the effect is real."""
    from bitsandbytes.functional import has_avx512bf16
    from bitsandbytes.nn import Linear4bit

    assert bool(Linear4bit(64, 64).support_avx512bf16_for_cpu) == bool(has_avx512bf16())


def test_nothing_is_printed(stories260k: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    for name in EVERY:
        loaded = read(check(stories260k), quant=name)
        loss(loaded, STORY)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@pytest.mark.parametrize("name", EVERY)
def test_release_empties_every_tensor_in_place(name: str, cria_folder: Path) -> None:
    loaded = read(check(cria_folder), quant=name)
    before = loss(loaded, STORY)  # bitsandbytes moves its scales in the first forward, and notes outliers
    assert loaded.bytes <= release(loaded) <= 1.01 * loaded.bytes
    assert accounting.tensor_bytes(loaded.module) == 0
    assert release(loaded) == 0
    again = read(check(cria_folder), quant=name)  # tables that models share are whole
    assert loss(again, STORY) == pytest.approx(before, abs=1e-4)


def test_random_states_are_untouched(stories260k: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for name in HERE:
        read(check(stories260k), quant=name)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_method_whose_library_is_missing_is_refused(
    stories260k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else there(name)
    )
    checked = check(stories260k)
    with pytest.raises(LoadError) as caught:
        read(checked, quant="nf4")
    assert "quant nf4 needs bitsandbytes: `pip install 'llama-nb[quant]'`" in str(caught.value)
    assert "int8-quanto" in caught.value.hint
    assert "nf4" not in caught.value.hint


def test_a_device_that_a_method_cannot_use_is_refused() -> None:
    with pytest.raises(LoadError, match="bitsandbytes runs on cpu and cuda, not on mps"):
        quantize.require(quantize.find("nf4"), "mps")


def test_importing_the_methods_is_cheap(root: Path) -> None:
    code = (
        "import sys\nfrom llama_nb.loading import quantize\nquantize.names()\n"
        "print([name for name in ('torch', 'transformers', 'bitsandbytes') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert answer.stdout == "[]\n"


@pytest.fixture
def cria_folder() -> Path:
    return bundled_folder("cria")
