"""Weights in memory: exactly those of the files, in the dtype that was chosen, and nothing else touched."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file

from llama_nb.core.errors import LoadError
from llama_nb.loading.check import Checked, check
from llama_nb.loading.headers import TensorInfo
from llama_nb.loading.weights import Loaded, choose_dtype, parse_dtype, read, release
from tests.models import write_random_llama

TEXTS = (
    "Once upon a time",
    "  two  spaces\n\nand lines\t",
    "नमस्ते दुनिया",
    "👩‍🚀 café ﬁ",
    "<s></s>",
    "1234567890",
    "",
)


@pytest.fixture
def loaded(stories260k: Path) -> Loaded:
    return read(check(stories260k))


def test_every_weight_is_the_files(loaded: Loaded, stories260k: Path) -> None:
    state = loaded.module.state_dict()
    for name, tensor in load_file(stories260k / "model.safetensors").items():
        assert torch.equal(state[name], tensor)
    assert state["lm_head.weight"].data_ptr() == state["model.embed_tokens.weight"].data_ptr()


def test_ready_to_answer(loaded: Loaded) -> None:
    assert (loaded.dtype, loaded.device, loaded.quant) == ("float32", "cpu", None)
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    assert loaded.module.config._attn_implementation == "sdpa"
    assert loaded.generation["eos_token_id"] == 2
    assert loaded.chat_template is None
    ids = torch.tensor([loaded.tokenizer("Once upon a time").input_ids])
    assert torch.isfinite(loaded.module(ids).logits).all()


def test_bytes_count_tied_weights_once(loaded: Loaded) -> None:
    parameters = sum(tensor.nbytes for tensor in loaded.module.parameters())
    buffers = sum(tensor.nbytes for tensor in loaded.module.buffers())
    assert parameters == 4 * 260_032
    assert loaded.bytes == parameters + buffers


def test_a_small_half_precision_model_runs_in_float32(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "half", tokenizer_from=stories260k, dtype="float16")
    loaded = read(check(folder))
    assert loaded.dtype == "float32"
    stored = load_file(folder / "model.safetensors")
    state = loaded.module.state_dict()
    assert all(torch.equal(state[name], tensor.float()) for name, tensor in stored.items())


@pytest.mark.parametrize(
    ("asked", "dtype"), [("bfloat16", torch.bfloat16), ("fp16", torch.float16), ("bf16", torch.bfloat16)]
)
def test_a_dtype_that_was_asked_for(asked: str, dtype: torch.dtype, stories260k: Path) -> None:
    loaded = read(check(stories260k), dtype=asked)
    assert {parameter.dtype for parameter in loaded.module.parameters()} == {dtype}
    assert loaded.dtype == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize(
    ("parameters", "stored", "device", "chosen"),
    [
        (3_000_000, "F16", "cpu", "float32"),
        (3_000_000, "BF16", "cuda", "float32"),
        (110_000_000, "F32", "cpu", "bfloat16"),
        (8_000_000_000, "F16", "cpu", "bfloat16"),
        (8_000_000_000, "BF16", "cuda", "bfloat16"),
        (8_000_000_000, "F16", "cuda", "float16"),
        (8_000_000_000, "BF16", "mps", "float16"),
    ],
)
def test_auto_dtype(parameters: int, stored: str, device: str, chosen: str, stories260k: Path) -> None:
    checked = replace(check(stories260k), parameters=parameters, tensors={"a": TensorInfo(stored, (1,), 1)})
    assert choose_dtype("auto", checked, device) == chosen
    assert choose_dtype("float32", checked, device) == "float32"


def test_names_of_dtypes() -> None:
    assert [parse_dtype(name) for name in ("half", "fp32", "float16", "auto")] == [
        "float16",
        "float32",
        "float16",
        "auto",
    ]
    assert parse_dtype(torch.bfloat16) == "bfloat16"  # type: ignore[arg-type]


def test_random_states_are_untouched(stories260k: Path) -> None:
    torch.manual_seed(1)
    random.seed(1)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    read(check(stories260k))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]
    assert torch.get_default_dtype() == torch.float32


def test_nothing_is_printed_and_transformers_is_left_as_it_was(
    stories260k: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    read(check(stories260k))
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_the_tokenizer_is_that_of_the_file(loaded: Loaded, stories260k: Path) -> None:
    raw = tokenizers.Tokenizer.from_file(str(stories260k / "tokenizer.json"))
    for text in TEXTS:
        assert loaded.tokenizer(text).input_ids == raw.encode(text).ids


def test_the_llama_3_tokenizer_is_that_of_the_file(tmp_path: Path, llama3_tokenizer: Path) -> None:
    folder = write_random_llama(
        tmp_path / "big", tokenizer_from=llama3_tokenizer, hidden=16, heads=2, kv_heads=1
    )
    (folder / "chat_template.jinja").write_text("{{ bos_token }}")
    loaded = read(check(folder))
    raw = tokenizers.Tokenizer.from_file(str(llama3_tokenizer / "tokenizer.json"))
    for text in (*TEXTS, "<|begin_of_text|>Hi<|eot_id|>"):
        assert loaded.tokenizer(text).input_ids == raw.encode(text).ids
    assert loaded.chat_template == "{{ bos_token }}"
    assert loaded.checked.has_chat_template


def test_the_class_that_the_settings_name_does_not_matter(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "a", tokenizer_from=stories260k)
    raw = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for name in ("LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast", "NoSuchTokenizer"):
        settings = (folder / "tokenizer_config.json").read_text().replace("TokenizersBackend", name)
        (folder / "tokenizer_config.json").write_text(settings)
        tokenizer = read(check(folder)).tokenizer
        assert all(tokenizer(text).input_ids == raw.encode(text).ids for text in TEXTS)


def test_old_rotary_frequencies_are_left_out(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "old", tokenizer_from=stories260k)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert read(check(folder)).bytes


def test_a_file_that_changes_after_the_check_is_refused(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "a", tokenizer_from=stories260k)
    checked = check(folder)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(LoadError, match="cannot be read"):
        read(checked)
    tensors = load_file(_whole(folder, content))
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LoadError, match=r"missing keys: model\.norm\.weight"):
        read(checked)


def _whole(folder: Path, content: bytes) -> Path:
    (folder / "model.safetensors").write_bytes(content)
    return folder / "model.safetensors"


@pytest.mark.parametrize("options", [{"quant": "int7"}, {"dtype": "int8"}, {"device": "tpu"}])
def test_unknown_options(options: dict[str, str], stories260k: Path) -> None:
    with pytest.raises(LoadError):
        read(check(stories260k), **options)


def test_release_empties_in_place(loaded: Loaded) -> None:
    names = list(loaded.module.state_dict())
    held = loaded.module.model.embed_tokens.weight
    assert release(loaded) == loaded.bytes
    assert held.numel() == 0
    assert list(loaded.module.state_dict()) == names
    assert not any(tensor.numel() for tensor in [*loaded.module.parameters(), *loaded.module.buffers()])
    assert release(loaded) == 0


def test_checked_is_kept(loaded: Loaded) -> None:
    assert isinstance(loaded.checked, Checked)


@pytest.mark.parametrize("quant", ["nf4", "int8"])
def test_a_quantised_model_lets_go_of_its_files(quant: str, tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "small", tokenizer_from=stories260k, hidden=64, dtype="bfloat16")
    model = read(check(folder, "small"), dtype="bfloat16", device="cpu", quant=quant)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(folder) not in maps.read_text(encoding="utf-8")
    assert torch.isfinite(model.module(torch.tensor([[1, 2, 3]])).logits).all()
    release(model)


READ_TOKENIZER = """
import sys
from pathlib import Path
from types import SimpleNamespace
import psutil
from llama_nb.loading.weights import import_torch, tokenizer_of
import_torch()
from transformers import PreTrainedTokenizerFast
before = psutil.Process().memory_info().rss
tokenizer = tokenizer_of(SimpleNamespace(gguf=None, folder=Path(sys.argv[1])))
print((psutil.Process().memory_info().rss - before) // 10**6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is on Linux only")
def test_reading_a_tokenizer_gives_back_what_parsing_it_took(llama3_tokenizer: Path) -> None:
    command = [sys.executable, "-c", READ_TOKENIZER, str(llama3_tokenizer)]
    taken = int(subprocess.check_output(command, text=True))
    assert 20 < taken < 90  # 161 MB without giving back
