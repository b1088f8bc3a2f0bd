"""Inputs for loading that must be refused: a copy of a real model, broken in one way.

A row names what is broken, how, and what the answer must name; `refuse` runs it and checks that nothing
else changed.
"""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from llama_nb.core.errors import LlamaError, LoadError
from llama_nb.loading.expected import expected_tensors
from llama_nb.loading.open import load_checked
from tests.gguf_models import write_gguf
from tests.models import edit_json

INDEX = "model.safetensors.index.json"
Build = Callable[[Path], Any]


@dataclass(frozen=True)
class Row:
    """`build` changes a copy of a model and returns what to load (None: the folder itself)."""

    name: str
    build: Build
    says: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    error: type[LlamaError] = LoadError


def weights(model: Path) -> Path:
    return model / "model.safetensors"


def cut(size: Callable[[int], int], name: str = "model.safetensors") -> Build:
    def build(model: Path) -> None:
        path = model / name
        with path.open("r+b") as file:
            file.truncate(size(path.stat().st_size))

    return build


def write(name: str, content: bytes | str) -> Build:
    def build(model: Path) -> None:
        (model / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return build


def remove(*names: str) -> Build:
    def build(model: Path) -> None:
        for name in names:
            (model / name).unlink()

    return build


def config(**changes: Any) -> Build:
    return lambda model: edit_json(model / "config.json", **changes)


def together(*steps: Build) -> Build:
    def build(model: Path) -> None:
        for step in steps:
            step(model)

    return build


def say(spec: Any) -> Build:
    return lambda model: spec


def header(change: Callable[[dict[str, Any]], None]) -> Build:
    """Rewrite the JSON header of the weights, the data left as they are."""

    def build(model: Path) -> None:
        raw = weights(model).read_bytes()
        length = int.from_bytes(raw[:8], "little")
        entries = json.loads(raw[8 : 8 + length])
        change(entries)
        text = json.dumps(entries).encode()
        weights(model).write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])

    return build


def rename_tensors(old: str, new: str) -> Build:
    def change(entries: dict[str, Any]) -> None:
        for name in list(entries):
            entries[name.replace(old, new)] = entries.pop(name)

    return header(change)


def shards(model: Path) -> list[Path]:
    """Turn the weights into three shards with an index."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights(model))
    names = sorted(tensors)
    files = [f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)]
    where = {name: files[position % 3] for position, name in enumerate(names)}
    for file in files:
        save_file({name: tensors[name].clone() for name in names if where[name] == file}, model / file)
    weights(model).unlink()
    size = sum(tensor.nbytes for tensor in tensors.values())
    (model / INDEX).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": where}))
    return [model / file for file in files]


def sharded(then: Callable[[Path, list[Path]], Any]) -> Build:
    return lambda model: then(model, shards(model))


def index_entry(name: str) -> Build:
    def build(model: Path) -> None:
        shards(model)
        index = json.loads((model / INDEX).read_text())
        index["weight_map"]["model.norm.weight"] = name
        (model / INDEX).write_text(json.dumps(index))

    return build


def linked_outside(name: str) -> Build:
    def build(model: Path) -> None:
        elsewhere = model.parent / "elsewhere"
        elsewhere.mkdir()
        shutil.move(model / name, elsewhere / name)
        (model / name).symlink_to(elsewhere / name)

    return build


class Bomb:
    """A pickle that would run a command, were it read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def only(name: str, content: bytes) -> Build:
    return together(remove("model.safetensors"), write(name, content))


def only_gguf(**changes: Any) -> Build:
    """Put a GGUF file of the model in the place of its weights."""

    def build(model: Path) -> None:
        write_gguf(model, model / "tiny.gguf", **changes)
        weights(model).unlink()

    return build


def gguf(tensors: int, keys: int = 1, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + b"\0" * 200


def too_big(model: Path) -> None:
    """Weights of an 8B model, as a file that is all hole."""
    edit_json(
        model / "config.json",
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=131072,
    )
    offset, entries = 0, {}
    for name, shape in expected_tensors(json.loads((model / "config.json").read_text())).shapes.items():
        size = 2 * torch.Size(shape).numel()
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(entries).encode()
    with weights(model).open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)


def digest(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[path.name] = f"link to {path.readlink()}"
        elif path.is_file() and os.access(path, os.R_OK) and path.stat().st_size < 2**24:
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[path.name] = "there"
    return found


def refuse(row: Row, spec: Any, model: Path, capfd: pytest.CaptureFixture[str]) -> LlamaError:
    """Load `spec`, which must be refused as `row` says, and check that nothing else changed."""
    before, random_state = digest(model), torch.get_rng_state()
    with pytest.raises(row.error) as caught:
        load_checked(spec, **row.options)
    text = str(caught.value)
    for part in row.says:
        assert part in text, text
    assert caught.value.hint
    assert len(text.splitlines()) <= 12
    assert max(map(len, text.splitlines())) < 500
    assert "weights_only=False" not in text
    assert digest(model) == before
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not (model.parent / "pwned").exists()
    assert capfd.readouterr() == ("", "")
    return caught.value


def copy_model(source: Path, folder: Path) -> Path:
    """Copy a model's folder so that a test may write into it."""
    shutil.copytree(source, folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    folder.chmod(0o755)
    return folder
