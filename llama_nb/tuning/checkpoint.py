"""Checkpoints of a run: written whole with a hash of every file, and read back only if every hash agrees.

A checkpoint of an adapter is also a plain peft adapter. No pickles: tensors are safetensors, numbers JSON.
Knows files and a TrainingState; nothing of the loop that made it.
"""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.json_lines import read_json
from llama_nb.tuning.whole_folder import written_whole

if TYPE_CHECKING:
    from llama_nb.tuning.state import TrainingState

SCHEMA: Final = 1
MANIFEST: Final = "manifest.json"
ADAPTER: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "model.safetensors"  # of a run that trains every weight
TENSORS: Final = "training.safetensors"
NUMBERS: Final = "training.json"
PREFIX: Final = "base_model.model."  # what peft's files begin every name with
_NAME: Final = re.compile(r"step-(\d{6,15})")
_BLOCK: Final = 2**20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose files are all there and as they were written.

    Parameters
    ----------
    path
        Its folder.
    step
        Optimiser steps that were done.
    fingerprint
        Tells the weights of the base from others.
    validation_loss
        Of this step, None where none was measured.
    """

    path: Path
    step: int
    fingerprint: str
    validation_loss: float | None = None

    def read(self) -> "TrainingState":
        """Return the state that was saved, on the CPU."""
        from safetensors.torch import load_file

        from llama_nb.tuning.state import WEIGHTS as PART
        from llama_nb.tuning.state import TrainingState

        adapter = self.path / ADAPTER
        weights = load_file(adapter if adapter.is_file() else self.path / WEIGHTS)
        tensors = {PART + name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}
        numbers = read_json(self.path / NUMBERS) or {}
        return TrainingState({**tensors, **load_file(self.path / TENSORS)}, numbers)


def save(
    folder: Path,
    state: "TrainingState",
    *,
    fingerprint: str,
    adapter_config: Mapping[str, Any] | None = None,
    validation_loss: float | None = None,
) -> Checkpoint:
    """Write a checkpoint into `folder`, whole or not at all.

    Parameters
    ----------
    folder
        The run's `checkpoints`.
    adapter_config
        peft's configuration of the adapter; None when every weight is trained.

    Raises
    ------
    AdapterError
        If the disk has no room or cannot be written; what was there is as it was.
    """
    from safetensors.torch import save_file

    from llama_nb.tuning.state import WEIGHTS as PART

    path = folder / f"step-{state.step:06d}"
    weights, rest = state.weights(), _others(state, PART)
    if path.exists() and not (path / MANIFEST).is_file():
        shutil.rmtree(path, ignore_errors=True)  # a damaged one, which is written anew
    what = f"the checkpoint of step {state.step:,}"
    with written_whole(path, what, needed=needed_bytes(state), replaces=MANIFEST) as part:
        if adapter_config is None:
            save_file(weights, part / WEIGHTS)
        else:
            save_file({PREFIX + name: tensor for name, tensor in weights.items()}, part / ADAPTER)
            _write_json(part / CONFIG, adapter_config)
        save_file(rest, part / TENSORS)
        _write_json(part / NUMBERS, state.numbers)
        manifest = {
            "schema": SCHEMA,
            "step": state.step,
            "base": fingerprint,
            "validation_loss": validation_loss,
            "files": {file.name: _hash(file) for file in sorted(part.iterdir())},
        }
        _write_json(part / MANIFEST, manifest)
    return Checkpoint(path, state.step, fingerprint, validation_loss)


def needed_bytes(state: "TrainingState") -> int:
    """Return the bytes that a checkpoint of `state` takes on the disk, without its small files."""
    return sum(tensor.numel() * tensor.element_size() for tensor in state.tensors.values())


def newest_whole(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that is as it was written, and what is to be said of newer ones.

    Every file's hash is compared, so a disk that lost a block is noticed.
    """
    notes: list[str] = []
    for path in reversed(_paths(folder)):
        try:
            found = _checked(path)
        except _DamageError as damage:
            notes.append(f"The checkpoint {path.name} is damaged: {damage}.")
            continue
        if notes:
            notes.append(f"Going on from step {found.step:,}, the last whole checkpoint.")
        return found, notes
    if notes:
        notes.append("No checkpoint is whole; beginning anew.")
    return None, notes


def newest_step(folder: Path) -> int | None:
    """Return the step of the newest checkpoint, unchecked; None if there is none."""
    paths = _paths(folder)
    return int(paths[-1].name.removeprefix("step-")) if paths else None


def prune(folder: Path, keep: int) -> None:
    """Remove old checkpoints: the newest `keep` stay, and the one with the lowest validation loss."""
    paths = _paths(folder)
    losses = {
        path: loss
        for path in paths
        if isinstance(loss := (read_json(path / MANIFEST) or {}).get("validation_loss"), float)
    }
    best = min(losses, key=lambda path: losses[path], default=None)
    for path in paths[: -max(1, keep)]:
        if path != best:
            shutil.rmtree(path, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what a process that was killed while it saved left behind."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name.startswith(".step-"):
                shutil.rmtree(path, ignore_errors=True)


def _others(state: "TrainingState", prefix: str) -> dict[str, Any]:
    return {name: tensor for name, tensor in state.tensors.items() if not name.startswith(prefix)}


def _paths(folder: Path) -> list[Path]:
    """Return the folders of checkpoints, by step."""
    try:
        found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return []
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


class _DamageError(Exception):
    """What is wrong with a checkpoint."""


def _checked(path: Path) -> Checkpoint:
    """Return the checkpoint; raise _DamageError if it is not as it was written."""
    manifest = read_json(path / MANIFEST)
    if manifest is None:
        raise _DamageError(f"{MANIFEST} is missing or no JSON")
    files, step, base = manifest.get("files"), manifest.get("step"), manifest.get("base")
    if not isinstance(files, dict) or type(step) is not int or not isinstance(base, str):
        raise _DamageError(f"{MANIFEST} is not what was written")
    if not {TENSORS, NUMBERS} <= files.keys() or not files.keys() & {ADAPTER, WEIGHTS}:
        raise _DamageError(f"{MANIFEST} lacks files")
    for name, wanted in files.items():
        if Path(name).name != name or name in (".", ".."):
            raise _DamageError(f"{MANIFEST} names a file elsewhere")
        try:
            found = _hash(path / name)
        except OSError:
            raise _DamageError(f"{name} cannot be read") from None
        if found != wanted:
            raise _DamageError(f"{name} is not what was written")
    loss = manifest.get("validation_loss")
    return Checkpoint(path, step, base, loss if isinstance(loss, float) else None)


def check_base(checkpoint: Checkpoint, fingerprint: str, name: str) -> None:
    """Raise TrainingError if the checkpoint belongs to other weights than those of the model `name`."""
    if checkpoint.fingerprint != fingerprint:
        raise TrainingError(
            f"The checkpoint {checkpoint.path.name} was made on a base with the fingerprint "
            f"{checkpoint.fingerprint}; {name} has {fingerprint}.",
            "Load the model that the run was begun with, or start a new run.",
        )


def _hash(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=True, default=_plain) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return a set of peft's configuration as a list, an enumeration as its word."""
    if isinstance(value, set | frozenset | tuple):
        return sorted(value)
    return getattr(value, "value", str(value))
