"""The beginning of a GGUF file, checked in Python before any native parser sees it.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3: magic, version, counts).
"""

import struct
from pathlib import Path
from typing import Final

from llama_nb.core.errors import LoadError
from llama_nb.loading.damage import first_bytes, refuse_impostor

_VERSIONS: Final = (2, 3)
_SMALLEST_TENSOR_ENTRY: Final = 24  # name length, one-letter name padded, dimensions, type, offset
_SMALLEST_KEY_ENTRY: Final = 13  # key length, value type, a value of one byte


def check_gguf(path: Path) -> None:
    """Raise LoadError unless `path` begins like a GGUF whose counts can be true for a file of its size."""
    head = first_bytes(path)
    refuse_impostor(path, head)
    if not head.startswith(b"GGUF"):
        raise LoadError(
            f"{path.name} is not a GGUF file: it begins with {head[:8]!r}, not with GGUF.",
            "Download it again.",
        )
    if len(head) < 24:
        raise LoadError(
            f"{path.name} is cut: {len(head)} bytes are there, too few for a GGUF header.",
            "Download it again.",
        )
    version, tensors, keys = struct.unpack_from("<IQQ", head, 4)
    if version not in _VERSIONS:
        raise LoadError(
            f"{path.name} is a GGUF of version {version}; known are {', '.join(map(str, _VERSIONS))}.",
            "Convert the model again with a current llama.cpp.",
        )
    size = path.stat().st_size
    if 24 + tensors * _SMALLEST_TENSOR_ENTRY + keys * _SMALLEST_KEY_ENTRY > size:
        raise LoadError(
            f"{path.name} is damaged: its header names {tensors:,} tensors and {keys:,} keys, "
            f"more than a file of {size:,} bytes can hold.",
            "Download it again.",
        )
