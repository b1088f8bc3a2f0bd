"""Quantised weights that are damaged or contradict themselves: the neighbours of the rows for float weights.

bitsandbytes wrote the folder; of GPTQ and AWQ only the configuration is there, which is refused before the
weights are looked at.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from llama_nb.loading.check import check
from llama_nb.loading.expected import quiet_transformers
from llama_nb.loading.weights import read
from tests.faults.broken_models import INDEX, Row, config, cut, only_gguf, refuse, remove, together, write
from tests.gguf_models import write_gguf
from tests.models import TOKENIZER_FILES, edit_json

SAFE = "model.safetensors"
LFS = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 442208\n"
)
PAGE = "<!DOCTYPE html><html><head><title>Log in</title></head><body>Please log in</body></html>"


def settings(**changes: Any) -> Any:
    """Change what config.json says of the quantisation; None leaves an entry out."""

    def build(model: Path) -> None:
        now = json.loads((model / "config.json").read_text())["quantization_config"]
        now = {key: value for key, value in {**now, **changes}.items() if value is not None}
        edit_json(model / "config.json", quantization_config=now)

    return build


def twice_quantised(model: Path) -> Path:
    """A GGUF whose blocks are quantised, in the place of the folder."""
    return write_gguf(model, model.parent / "blocks.gguf", kind="Q8_0")


STORED = (
    Row("cut in half", cut(lambda size: size // 2), (SAFE, "cut", "hf download")),
    Row("empty", cut(lambda size: 0), (SAFE, "empty")),
    Row("an LFS pointer", write(SAFE, LFS), ("Git LFS pointer", "442,208", "git lfs pull")),
    Row("a web page", write(SAFE, PAGE), ("web page", "log-in", "licence")),
    Row("no weights", remove(SAFE), ("no weights", "config.json")),
    Row("a shard missing", lambda m: shard(m)[1].unlink(), ("Shard 2 of 2 is missing", "MB")),
    Row("two layers missing", config(num_hidden_layers=7), ("layers 5 and 6", "says 7 layers", "hold 5")),
    Row("hidden size", config(hidden_size=128), ("128", "64", "config.json is from another model")),
    Row("no word of the quantisation", lambda m: edit_json(m / "config.json", quantization_config=None),
        ("U8", "no quantization_config")),
    Row("another kind of 4 bits", settings(bnb_4bit_quant_type="fp4"),
        ("bitsandbytes__nf4", "another checkpoint")),
    Row("8 bits by the config", settings(load_in_4bit=False, load_in_8bit=True),
        ("U8", "means I8", "another checkpoint")),
    Row("an unknown kind", settings(bnb_4bit_quant_type="nf5"), ("'nf5'", "nf4")),
    Row("an unknown method", settings(quant_method="hqq", load_in_4bit=None), ("hqq", "bitsandbytes")),
    Row("quantised again", lambda m: None, ("quantised already", "bitsandbytes nf4"), {"quant": "int8"}),
    Row("custom code", config(auto_map={"AutoModelForCausalLM": "modeling.Evil"}), ("auto_map", "refused")),
)  # fmt: skip

PACKED = (
    Row("GPTQ by its config only",
        config(quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 64}),
        ("tensors missing",)),
    Row("GPTQ in 5 bits", config(quantization_config={"quant_method": "gptq", "bits": 5}), ("5 bits", "8")),
    Row("AWQ in 3 bits", config(quantization_config={"quant_method": "awq", "bits": 3}), ("3 bits", "4")),
    Row("AWQ in groups of nothing",
        config(quantization_config={"quant_method": "awq", "bits": 4, "group_size": 0}), ("groups of 0",)),
)  # fmt: skip

GGUF = (
    Row("an LFS pointer", together(only_gguf(), write("tiny.gguf", LFS)), ("tiny.gguf", "git lfs pull")),
    Row("a web page", together(only_gguf(), write("tiny.gguf", PAGE)), ("tiny.gguf", "web page")),
    Row("of blocks, quantised again", twice_quantised, ("quantised already (Q8_0)",), {"quant": "nf4"}),
    Row("a quantisation that is unknown", twice_quantised, ("'4bits'", "Did you mean"), {"quant": "4bits"}),
    Row("weights of another kind", only_gguf(keys={"general.architecture": "bert"}), ("bert",)),
)  # fmt: skip

OPTIONS = (
    Row("torchao's int4 on a CPU", lambda m: None, ("CUDA only", "run here on cpu", "nf4"),
        {"quant": "int4-torchao"}),
    Row("a method without its device", lambda m: None, ("no GPU here", "--device cpu"),
        {"quant": "nf4", "device": "cuda"}),
)  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, stories260k: Path) -> Path:
    """Folder of stories260K in nf4, as transformers saves it."""
    folder = tmp_path_factory.mktemp("nf4") / "model"
    with quiet_transformers():
        read(check(stories260k), quant="nf4").module.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if (stories260k / name).exists():
            shutil.copyfile(stories260k / name, folder / name)
    return folder


def shard(model: Path) -> list[Path]:
    """Split the weights of a folder into two files with an index."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / SAFE)
    names = sorted(tensors)
    parts = (names[: len(names) // 2], names[len(names) // 2 :])
    files = [model / f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for file, part in zip(files, parts, strict=True):
        save_file({name: tensors[name] for name in part}, file)
    where = {name: file.name for file, part in zip(files, parts, strict=True) for name in part}
    size = sum(tensor.nbytes for tensor in tensors.values())
    (model / INDEX).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": where}))
    (model / SAFE).unlink()
    return files


@pytest.mark.parametrize("row", STORED, ids=lambda row: row.name)
def test_a_checkpoint_in_4_bits_is_refused(
    row: Row, model: Path, written: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(model)
    shutil.copytree(written, model)
    row.build(model)
    refuse(row, model, model, capfd)


@pytest.mark.parametrize("row", [*PACKED, *GGUF, *OPTIONS], ids=lambda row: row.name)
def test_what_is_quantised_is_refused(row: Row, model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if row.options.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    built = row.build(model)
    refuse(row, built or model, model, capfd)
