"""The headers of safetensors files, read and checked without reading weights.

A file is 8 bytes of little-endian header length, a JSON header, then the data. Knows nothing of models,
torch or tokenizers. Format: https://huggingface.co/docs/safetensors
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from llama_nb.core.errors import LoadError
from llama_nb.loading.damage import first_bytes, refuse_impostor

# The limit of the safetensors library itself.
_LONGEST_HEADER: Final = 100_000_000
DTYPE_BITS: Final[Mapping[str, int]] = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32,
    "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I8": 8, "U8": 8, "BOOL": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What a header says of one tensor: safetensors dtype ("F16"), shape, bytes, and where its data lie."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int
    file: str = ""
    start: int = 0


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Return the tensors of one safetensors file by name.

    `start` counts from the beginning of the file. Every byte of the file belongs to exactly one tensor.

    Raises
    ------
    LoadError
        If the file is empty, cut, something else, or if its header contradicts itself or the file's size.
    """
    head = first_bytes(path)
    refuse_impostor(path, head)
    size = path.stat().st_size
    length = int.from_bytes(head[:8], "little")
    if len(head) < 8:
        raise LoadError(
            f"{path.name} is cut: {size} bytes are there, too few for a safetensors header.", _again(path)
        )
    if length > _LONGEST_HEADER:
        raise LoadError(
            f"{path.name} is not a safetensors file: it begins with {head[:8]!r}.", "Download it again."
        )
    if 8 + length > size:
        raise LoadError(
            f"{path.name} is cut inside its header: {size:,} bytes found, "
            f"and the header alone takes {8 + length:,}. The download was cut.",
            _again(path),
        )
    with path.open("rb") as file:
        file.seek(8)
        entries = _parse(path, file.read(length))
    tensors = {name: _tensor(path, name, entry, 8 + length) for name, entry in entries.items()}
    _check_layout(path, tensors, 8 + length, size)
    return tensors


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(raw)
    except (ValueError, RecursionError):
        raise LoadError(
            f"The header of {path.name} is not readable: the file is damaged.", _again(path)
        ) from None
    if not isinstance(entries, dict):
        raise LoadError(
            f"The header of {path.name} is a {type(entries).__name__}, not a table of tensors.", _again(path)
        )
    entries.pop("__metadata__", None)
    return entries


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> TensorInfo:
    values = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = values.get("dtype"), values.get("shape"), values.get("data_offsets")
    if isinstance(dtype, str) and dtype in DTYPE_BITS and _naturals(shape) and _naturals(offsets):
        size = offsets[-1] - offsets[0] if len(offsets) == 2 else -1
        if size * 8 == math.prod(shape) * DTYPE_BITS[dtype]:
            return TensorInfo(dtype, tuple(shape), size, path.name, data_start + offsets[0])
    raise LoadError(
        f"The header of {path.name} is wrong at tensor {name[:80]!r}: {str(entry)[:80]}.", _again(path)
    )


def _naturals(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_layout(path: Path, tensors: Mapping[str, TensorInfo], start: int, size: int) -> None:
    end = start
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.bytes)):
        if tensor.start != end:
            raise LoadError(
                f"The tensors of {path.name} overlap or leave gaps: the file is damaged.", _again(path)
            )
        end += tensor.bytes
    if size < end:
        raise LoadError(
            f"{path.name} is cut: {size:,} bytes found of {end:,} expected. The download was cut.",
            _again(path),
        )
    if size > end:
        raise LoadError(
            f"{path.name} is damaged: {size:,} bytes found, but its header describes {end:,}.", _again(path)
        )


def _again(path: Path) -> str:
    """The next step for a damaged file; in the hub's cache, the damaged file itself has to go first."""
    if (snapshot := hub_snapshot(path.parent)) is not None:
        repo = snapshot.parent.parent.name.removeprefix("models--").replace("--", "/")
        return f"Delete {path.resolve()}, then `%llama load {repo}` downloads it again."
    return f"Download {path.name} again: `hf download OWNER/NAME {path.name} --local-dir {path.parent}`"


def hub_snapshot(folder: Path) -> Path | None:
    """Return the folder when it is a hub cache's (`models--OWNER--NAME/snapshots/REVISION`), else None."""
    folder = folder.absolute()
    inside = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
    return folder if inside else None
