"""The files of a model folder: which of them are read, and that none lies outside the folder.

Reads JSON files and safetensors headers, never weights. Knows nothing of architectures.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from llama_nb.core.errors import LoadError
from llama_nb.loading.damage import first_bytes, refuse_impostor
from llama_nb.loading.headers import TensorInfo, hub_snapshot, read_header

INDEX: Final = "model.safetensors.index.json"
SINGLE: Final = "model.safetensors"
_SHARD: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")
PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_LONGEST_JSON: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight files of a folder and the tensors that their headers name."""

    files: tuple[Path, ...]
    tensors: Mapping[str, TensorInfo]


def listing(folder: Path, limit: int = 8) -> str:
    """Return what is in `folder` as one line, for messages."""
    try:
        names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    except OSError as error:
        return f"unreadable: {error.strerror}"
    names = [name for name in names if not name.startswith(".")]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "nothing"


def inside(folder: Path, path: Path) -> Path:
    """Return `path` when it lies in `folder`, links followed; a hub cache's links to its blobs are allowed.

    Raises
    ------
    LoadError
        If a symbolic link leads out of the folder.
    """
    real, root = path.resolve(), folder.resolve()
    if real.is_relative_to(root):
        return path
    snapshot = hub_snapshot(folder) or hub_snapshot(root)
    if snapshot is not None and real.is_relative_to((snapshot.parent.parent / "blobs").resolve()):
        return path
    raise LoadError(
        f"{path.name} is a link that leads out of the model's folder (to {real}): refused.",
        "Copy the file into the folder.",
    )


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Return the JSON object in `folder / name`; LoadError with line, column and text where it breaks."""
    path = inside(folder, folder / name)
    refuse_impostor(path, first_bytes(path))
    if path.stat().st_size > _LONGEST_JSON:
        raise LoadError(
            f"{name} has {path.stat().st_size:,} bytes: not a file of a Llama.", "Download it again."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LoadError(
            f"{name} is not text in UTF-8 (byte {error.start:,}).", "Download it again."
        ) from None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        line = (text.splitlines() or [""])[min(error.lineno, len(text.splitlines())) - 1]
        near = line[max(0, error.colno - 30) : error.colno + 30].strip()
        raise LoadError(
            f"{name} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}; "
            f"there stands {near!r}",
            "Correct the file or download it again.",
        ) from None
    except RecursionError:
        raise LoadError(f"{name} is nested too deeply to be read.", "Download it again.") from None
    if not isinstance(value, dict):
        raise LoadError(f"{name} holds a {type(value).__name__}, not a JSON object.", "Download it again.")
    return value


def find_weights(folder: Path) -> Weights:
    """Find the safetensors files of `folder` and read their headers.

    Raises
    ------
    LoadError
        If there are none, if a shard is missing, damaged or outside the folder, or if index and shards
        disagree.
    """
    if (folder / INDEX).exists():
        return _sharded(folder)
    if (folder / SINGLE).exists() or (folder / SINGLE).is_symlink():
        return _read(folder, [SINGLE])
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    shards = [match for name in names if (match := _SHARD.fullmatch(name))]
    if shards:
        raise LoadError(
            f"{INDEX} is missing: there are {len(shards)} of {int(shards[0].group(3))} shards, "
            "but nothing says what they hold.",
            _fetch_hint(folder, INDEX),
        )
    if "adapter_model.safetensors" in names or (folder / "adapter_config.json").exists():
        raise LoadError(
            f"{folder.name} is a LoRA adapter, not a model{_base_of(folder)}: it holds only the changes.",
            "Load the base model.",
        )
    if len(names) == 1:
        return _read(folder, names)
    raise _no_weights(folder)


def _no_weights(folder: Path) -> LoadError:
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    ggufs = [path for path in files if path.suffix == ".gguf"]
    pickles = [path for path in files if path.suffix in PICKLES]
    if ggufs:
        return _several_ggufs(folder, ggufs)
    if pickles:
        return pickle_refused(pickles[0])
    return LoadError(
        f"{folder.name} has no weights ({SINGLE}); in it: {listing(folder)}.",
        _fetch_hint(folder, SINGLE),
    )


def only_gguf(folder: Path) -> Path | None:
    """Return the GGUF file of a folder that holds no other kind of weights, and only one such file."""
    ggufs = sorted(folder.glob("*.gguf"))
    others = (folder / INDEX).exists() or any(folder.glob("*.safetensors"))
    return inside(folder, ggufs[0]) if len(ggufs) == 1 and not others else None


def _several_ggufs(folder: Path, ggufs: list[Path]) -> LoadError:
    names = ", ".join(path.name for path in ggufs[:6]) + (" ..." if len(ggufs) > 6 else "")
    return LoadError(
        f"{folder.name} holds {len(ggufs)} GGUF files: {names}.",
        f"Name one of them: `%llama load {ggufs[0]}`",
    )


def pickle_refused(path: Path) -> LoadError:
    """The answer to a pickle checkpoint: why not, and the conversion that runs no code of it."""
    return LoadError(
        f"{path.name} is a pickle: reading one can run any code that is in it, so it is refused.",
        f"Convert it in a process of its own, which reads tensors only: "
        f"`python -m llama_nb.loading.convert {path.parent}`",
    )


def _sharded(folder: Path) -> Weights:
    index = read_json(folder, INDEX)
    names = shard_names(folder, index)
    _refuse_missing_shards(folder, names, index)
    weights = _read(folder, names)
    for tensor, name in index["weight_map"].items():
        found = weights.tensors.get(tensor)
        if found is None or found.file != name:
            place = f"lies in {found.file}" if found else "is in none of the shards"
            raise LoadError(
                f"{INDEX} says that {tensor} is in {name}, but it {place}.", _fetch_hint(folder, name)
            )
    return weights


def shard_names(folder: Path, index: Mapping[str, Any]) -> list[str]:
    """Return the shards that an index names, in order.

    Raises
    ------
    LoadError
        If it names none, or one that is no safetensors file right in the folder.
    """
    where = index.get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(name, str) for name in where.values()):
        raise LoadError(f"{INDEX} has no weight_map from tensor names to files.", _fetch_hint(folder, INDEX))
    names = sorted(set(where.values()))
    for name in names:
        if not name or name in (".", "..") or any(mark in name for mark in "/\\:\0"):
            raise LoadError(
                f"{INDEX} names {name!r}, which lies outside the model's folder: refused.",
                "Get the model from a source that you trust.",
            )
        if not name.endswith(".safetensors"):
            raise LoadError(
                f"{INDEX} names {name!r}, which is no safetensors file: refused.", _fetch_hint(folder, INDEX)
            )
    return names


def _refuse_missing_shards(folder: Path, names: list[str], index: Mapping[str, Any]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if not missing:
        return
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    size = ""
    if isinstance(total, int | float) and total > 0:
        there = sum((folder / name).stat().st_size for name in names if name not in missing)
        size = f" ({max(total - there, 0) / 1e6:,.1f} MB{' in all' if len(missing) > 1 else ''})"
    numbers = ", ".join(str(names.index(name) + 1) for name in missing[:6])
    more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
    word, verb = ("shards", "are") if len(missing) > 1 else ("shard", "is")
    raise LoadError(
        f"{word.capitalize()} {numbers}{more} of {len(names)} {verb} missing{size}: {missing[0]}.",
        _fetch_hint(folder, missing[0]),
    )


def _read(folder: Path, names: list[str]) -> Weights:
    tensors: dict[str, TensorInfo] = {}
    for name in names:
        for tensor, info in read_header(inside(folder, folder / name)).items():
            if tensor in tensors:
                raise LoadError(f"The tensor {tensor} is in {tensors[tensor].file} and again in {name}.")
            tensors[tensor] = info
    return Weights(tuple(folder / name for name in names), tensors)


def _fetch_hint(folder: Path, name: str) -> str:
    snapshot = hub_snapshot(folder)
    if snapshot is not None:
        repo = snapshot.parent.parent.name.removeprefix("models--").replace("--", "/")
        return f"`%llama load {repo}` downloads what is missing."
    return f"Download it again: `hf download OWNER/NAME {name} --local-dir {folder}`"


def _base_of(folder: Path) -> str:
    try:
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))[
            "base_model_name_or_path"
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f" (its base: {base})" if isinstance(base, str) else ""
