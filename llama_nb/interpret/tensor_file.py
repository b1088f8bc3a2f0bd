"""A safetensors file that is written piece by piece, for arrays that are larger than memory.

The format: eight bytes that say how long the header is, the header as JSON, and the tensors one after the
other (https://huggingface.co/docs/safetensors). Knows arrays; knows nothing of what they mean.
"""

import contextlib
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

_NAMES: Final = {
    "float64": "F64",
    "int64": "I64",
    "float32": "F32",
    "int32": "I32",
    "int16": "I16",
    "uint16": "U16",
    "uint8": "U8",
}

Shapes = Mapping[str, tuple[tuple[int, ...], "npt.DTypeLike"]]


class TensorFile:
    """A file whose tensors are known by shape and type, and filled in later, in any order."""

    def __init__(self, file: BinaryIO, metadata: Mapping[str, str], shapes: Shapes) -> None:
        self._file = file
        self._places: dict[str, tuple[int, tuple[int, ...], np.dtype[Any]]] = {}
        header: dict[str, Any] = {"__metadata__": dict(metadata)}
        end = 0
        # The wide types first: then every tensor stands where a number of its type may stand.
        for name, (shape, kind) in sorted(shapes.items(), key=lambda item: -np.dtype(item[1][1]).itemsize):
            dtype = np.dtype(kind)
            size = math.prod(shape) * dtype.itemsize
            offsets = [end, end + size]
            header[name] = {"dtype": _NAMES[dtype.name], "shape": list(shape), "data_offsets": offsets}
            self._places[name] = (end, shape, dtype)
            end += size
        written = json.dumps(header, ensure_ascii=False).encode()
        written += b" " * (-len(written) % 8)
        self._begin = 8 + len(written)
        file.write(len(written).to_bytes(8, "little") + written)
        file.truncate(self._begin + end)

    def write(self, name: str, values: npt.NDArray[Any], start: int = 0) -> None:
        """Fill in rows of a tensor, the first of which is `start`."""
        offset, shape, dtype = self._places[name]
        assert start + len(values) <= shape[0], name
        self._file.seek(self._begin + offset + start * math.prod(shape[1:]) * dtype.itemsize)
        self._file.write(np.ascontiguousarray(values, dtype).data)


@contextlib.contextmanager
def written_whole(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a file beside `target` that takes its place when the block is left, and goes if it fails."""
    part = target.with_name(f".{target.name[:100]}-{secrets.token_hex(4)}")
    try:
        # Nobody else can read what comes into it.
        handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(handle, "r+b") as file:
            yield file, part
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
