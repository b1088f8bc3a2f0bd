"""Pickles to safetensors in a process of its own; what is more than tensors is refused and not run."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llama_nb.core.errors import LoadError
from llama_nb.loading.check import check
from llama_nb.loading.convert import convert, main
from tests.models import write_random_llama


class Command:
    """A pickle that makes a folder when it is read carelessly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def in_a_process(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llama_nb.loading.convert", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def folder(tmp_path: Path, stories260k: Path) -> Path:
    """A model whose weights are two pickles, with tensors that share memory."""
    folder = write_random_llama(tmp_path / "model", tokenizer_from=stories260k)
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    torch.save({name: tensors[name] for name in names[::2]}, folder / "pytorch_model-00001-of-00002.bin")
    torch.save({name: tensors[name] for name in names[1::2]}, folder / "pytorch_model-00002-of-00002.bin")
    (folder / "training_args.bin").write_bytes(pickle.dumps(Command(tmp_path / "pwned")))
    (folder / "model.safetensors").rename(tmp_path / "before.safetensors")
    return folder


def test_a_checkpoint_is_converted(folder: Path) -> None:
    answer = in_a_process(folder)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"%llama load {folder}" in answer.stdout
    before, after = load_file(folder.parent / "before.safetensors"), load_file(folder / "model.safetensors")
    assert {name: tensor.tolist() for name, tensor in before.items()} == {
        name: tensor.tolist() for name, tensor in after.items()
    }
    assert check(folder).parameters
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o644
    assert not (folder.parent / "pwned").exists()
    with pytest.raises(LoadError, match="has safetensors already"):
        convert(folder)


@pytest.mark.parametrize("kind", ["code", "object", "damaged", "list", "nothing"])
def test_what_is_not_converted(folder: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    target = folder / "pytorch_model-00002-of-00002.bin"
    if kind == "code":
        target.write_bytes(pickle.dumps(Command(folder.parent / "pwned")))
    elif kind == "object":
        torch.save({"a": torch.zeros(1), "b": Command(folder.parent / "pwned")}, target)
    elif kind == "damaged":
        target.write_bytes(target.read_bytes()[:1000])
    elif kind == "list":
        torch.save([torch.zeros(1)], target)
    else:
        for path in folder.glob("*.bin"):
            path.unlink()
    before = sorted(path.name for path in folder.iterdir())
    capfd.readouterr()
    assert main([str(folder)]) == 1
    printed, said = capfd.readouterr()
    assert printed == ""
    assert len(said.splitlines()) <= 3
    assert "Traceback" not in said
    assert "weights_only" not in said
    assert ("mkdir" in said) == (kind == "object")
    assert ("more than tensors" in said) == (kind in ("code", "object", "damaged"))
    assert sorted(path.name for path in folder.iterdir()) == before
    assert not (folder.parent / "pwned").exists()


def test_tensors_that_share_memory_are_stored_each(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": shared, "b": shared, "c": shared.T}, tmp_path / "pytorch_model.bin")
    convert(tmp_path)
    after = load_file(tmp_path / "model.safetensors")
    assert torch.equal(after["a"], after["b"])
    assert torch.equal(after["c"], shared.T)
