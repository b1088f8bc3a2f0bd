"""What a check says of a good folder, and that it reads neither torch nor weights before it must."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llama_nb.core.errors import LoadError
from llama_nb.loading.check import by_layer, check
from llama_nb.loading.headers import read_header
from tests.models import edit_json, write_random_llama


@pytest.fixture
def folder(tmp_path: Path, stories260k: Path) -> Path:
    return write_random_llama(tmp_path / "random", tokenizer_from=stories260k)


def test_what_it_says(stories260k: Path) -> None:
    checked = check(stories260k)
    assert checked.name == "stories260K"
    assert checked.files == (stories260k / "model.safetensors",)
    assert checked.parameters == 260_032
    assert checked.stored_bytes == 4 * 260_032
    assert checked.context == 512
    assert checked.model_type == "llama"
    assert not checked.has_chat_template
    assert len(checked.fingerprint) == 16
    assert check(stories260k, "other").name == "other"


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    for note in range(700):
        path = tmp_path / "model.safetensors"
        save_file({"weight": torch.zeros(2)}, path, metadata={"note": "x" * note})
        if path.read_bytes().startswith(b"\x80\x02"):
            break
    else:
        pytest.fail("no header of 640 bytes")
    assert set(read_header(path)) == {"weight"}


def test_headers_agree_with_the_library(folder: Path) -> None:
    header = read_header(folder / "model.safetensors")
    tensors = load_file(folder / "model.safetensors")
    assert {name: info.shape for name, info in header.items()} == {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }
    raw = (folder / "model.safetensors").read_bytes()
    info = header["model.norm.weight"]
    assert raw[info.start : info.start + info.bytes] == tensors["model.norm.weight"].numpy().tobytes()


def test_untied_and_tied_models(tmp_path: Path, stories260k: Path) -> None:
    loose = check(write_random_llama(tmp_path / "a", tokenizer_from=stories260k, tie=False))
    tied = check(write_random_llama(tmp_path / "b", tokenizer_from=stories260k, tie=True))
    assert loose.parameters - tied.parameters == 512 * 64


def test_a_tied_head_may_be_stored_too(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "a", tokenizer_from=stories260k, tie=False)
    edit_json(folder / "config.json", tie_word_embeddings=True)
    tied = write_random_llama(tmp_path / "b", tokenizer_from=stories260k, tie=True)
    assert check(folder).parameters == check(tied).parameters


def test_old_checkpoints_hold_rotary_frequencies(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "model.layers.0.self_attn.rotary_emb.inv_freq" not in check(folder).tensors


def test_the_fingerprint_survives_a_copy_and_a_move(folder: Path, tmp_path: Path) -> None:
    before = check(folder).fingerprint
    shutil.copytree(folder, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "config.json", (0, 0))
    assert check(tmp_path / "copy", "another name").fingerprint == before
    folder.rename(tmp_path / "moved")
    assert check(tmp_path / "moved").fingerprint == before


def test_the_fingerprint_ignores_what_is_not_the_model(folder: Path) -> None:
    before = check(folder).fingerprint
    edit_json(
        folder / "config.json", transformers_version="4.0.0", _name_or_path="somewhere/else", use_cache=False
    )
    assert check(folder).fingerprint == before


@pytest.mark.parametrize(
    "tensor", ["model.norm.weight", "model.layers.1.self_attn.q_proj.weight", "lm_head.weight"]
)
def test_the_fingerprint_tells_trained_weights_apart(folder: Path, tensor: str) -> None:
    before = check(folder).fingerprint
    tensors = load_file(folder / "model.safetensors")
    tensors[tensor] += 0.001
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert check(folder).fingerprint != before


def test_the_fingerprint_tells_config_and_tokenizer_apart(folder: Path) -> None:
    seen = {check(folder).fingerprint}
    edit_json(folder / "config.json", rms_norm_eps=1e-3)
    seen.add(check(folder).fingerprint)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=1))
    seen.add(check(folder).fingerprint)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chat_template.jinja", "{{ messages }}"),
        ("chat_template.json", json.dumps({"chat_template": "{{ messages }}"})),
        ("tokenizer_config.json", json.dumps({"chat_template": "{{ messages }}"})),
        ("tokenizer_config.json", json.dumps({"chat_template": [{"name": "default", "template": "x"}]})),
    ],
)
def test_chat_templates_are_found(folder: Path, name: str, content: str) -> None:
    assert not check(folder).has_chat_template
    (folder / name).write_text(content)
    assert check(folder).has_chat_template


def test_embeddings_may_be_padded(tmp_path: Path, stories260k: Path) -> None:
    assert check(write_random_llama(tmp_path / "a", tokenizer_from=stories260k, vocab=576)).parameters


def test_a_single_file_of_another_name(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    assert check(folder).files == (folder / "weights.safetensors",)


def test_pickles_beside_safetensors_are_ignored(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    assert check(folder).parameters


def test_a_link_to_the_folder_is_a_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert check(tmp_path / "link").parameters


def test_a_link_inside_the_folder_is_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "real.data")
    (folder / "model.safetensors").symlink_to("real.data")
    assert check(folder).parameters


def test_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="not a folder"):
        check(tmp_path / "nothing")


def test_summaries_by_layer() -> None:
    names = [f"model.layers.{layer}.mlp.x" for layer in (2, 3, 7)] + [
        "model.layers.7.mlp.y",
        "a",
        "b",
        "c",
        "d",
    ]
    assert by_layer(names, "missing") == (
        "a, b, c and 1 more missing, 1 tensor missing in each of layers 2 and 3, 2 tensors missing in layer 7"
    )


@pytest.mark.parametrize(
    "module",
    ["source", "hub_cache", "hub", "folder", "headers", "config", "tokenizer", "check", "gguf_model"],
)
def test_no_torch_at_import(module: str) -> None:
    code = f"import sys, llama_nb.loading.{module}; print({{'torch', 'transformers'}} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_wrong_names_are_refused_without_torch() -> None:
    code = (
        "import sys\nfrom llama_nb.loading.open import load_checked\n"
        "for spec in ('', 'gpt2', './nope'):\n    try: load_checked(spec)\n    except Exception as e: pass\n"
        "print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
