"""Tensors in files that go when nobody holds the tensor any more. Knows no attention."""

import contextlib
import os
import tempfile
import weakref

import torch


def on_disk(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of `tensor` on the CPU that lies in a file of the temporary folder (`TMPDIR`)."""
    handle, path = tempfile.mkstemp(prefix="llama-nb-", suffix=".tensor")
    os.close(handle)
    try:
        kept = torch.from_file(path, shared=True, size=tensor.numel(), dtype=tensor.dtype).view(tensor.shape)
        kept.copy_(tensor)
        # A mapped file that has no name any more goes with its last mapping; Windows keeps the name till then.
        os.unlink(path)
    except PermissionError:
        weakref.finalize(kept, _remove, path)
    except BaseException:
        _remove(path)
        raise
    return kept


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
