"""Tensors in files that go when nobody holds the tensor any more. Knows no attention."""

import math
import os
import tempfile
import weakref
from pathlib import Path

import torch


def empty_on_disk(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return a tensor on the CPU that lies in a file of the temporary folder (`TMPDIR`)."""
    handle, path = tempfile.mkstemp(prefix="llama-nb-", suffix=".tensor")
    os.close(handle)
    try:
        kept = torch.from_file(path, shared=True, size=math.prod(shape), dtype=dtype)
    except BaseException:
        Path(path).unlink()
        raise
    try:
        # A mapped file without a name goes with its last mapping; Windows keeps the name as long.
        Path(path).unlink()
    except PermissionError:
        weakref.finalize(kept.untyped_storage(), Path(path).unlink, missing_ok=True)
    return kept.view(shape)
