"""A GGUF file on its way to the disk: room for it, whole or not at all, and the same when it is read back."""

import contextlib
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from llama_nb.core.errors import ConvertError
from llama_nb.loading.gguf_file import GgufHeader
from llama_nb.loading.gguf_model import LIBRARY
from llama_nb.loading.quantize import library_missing

_CHUNK: Final = 1 << 24


def require_library(name: str) -> None:
    """Raise ConvertError with the pip line unless the gguf package is there; `name` is the file's."""
    reason = library_missing(LIBRARY, name)
    if reason is not None:
        raise ConvertError(reason)


def check_disk(folder: Path, needed: int, name: str) -> None:
    """Raise ConvertError unless `needed` bytes are free where `folder` is."""
    if not folder.is_dir():
        raise ConvertError(f"The folder {folder} does not exist.", "Make it, or give another --out.")
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConvertError(
            f"{name} takes {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free on the disk.",
            "Free some space, give --out on another disk, or choose a smaller --type.",
        )


@contextlib.contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; it becomes `path` when the block ends well, else it goes."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise ConvertError(
            f"{path.name} cannot be written: {error.strerror or error}.",
            "What was there before is as it was. Free some space, or give another --out.",
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def compare_bytes(header: GgufHeader, sums: Mapping[str, int]) -> None:
    """Raise ConvertError unless a file holds the tensors whose checksums are `sums`, byte for byte."""
    wrong = [name for name in sums if name not in header.tensors]
    with header.path.open("rb") as file:
        for name in sums.keys() & header.tensors.keys():
            tensor = header.tensors[name]
            file.seek(tensor.offset)
            found, left = 0, tensor.bytes
            while left and (part := file.read(min(left, _CHUNK))):
                found, left = zlib.crc32(part, found), left - len(part)
            if found != sums[name] or left:
                wrong.append(name)
    if wrong:
        raise ConvertError(
            f"What was read back of {wrong[0]} is not what was written: the disk may be failing.",
            "Try another disk with --out.",
        )
