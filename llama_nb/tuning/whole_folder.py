"""Writes a folder of files as one: it is there whole, or what was there before still is.

Knows files and the disk; nothing of what is in them.
"""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from llama_nb.core.errors import AdapterError
from llama_nb.render.units import size

_SPARE: Final = 2**20  # bytes for the small files beside the tensors


@contextlib.contextmanager
def written_whole(folder: Path, what: str, *, needed: int, replaces: str) -> Iterator[Path]:
    """Yield an empty folder beside `folder` that takes its place when the block ends without an error.

    Parameters
    ----------
    what
        What is written, for messages: "the adapter persona".
    needed
        Bytes that it will take; they are looked for on the disk first.
    replaces
        The file that a folder must hold to be replaced: what is something else is never touched.

    Raises
    ------
    AdapterError
        If `folder` is something else already, or the disk has no room; what was there is as it was.
    """
    folder = folder.expanduser()
    if folder.exists() and not (folder / replaces).is_file() and not _empty(folder):
        raise AdapterError(
            f"{folder} is there already and holds something else.", "Name a folder that does not exist."
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _check_room(folder.parent, what, needed + _SPARE)
        part = folder.parent / f".{folder.name}-{secrets.token_hex(4)}"
        part.mkdir()
        try:
            yield part
            _settle(part)
            _swap(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        kept = f" {folder} is as it was." if folder.exists() else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if full else (error.strerror or type(error).__name__)
        raise AdapterError(
            f"{what[0].upper()}{what[1:]} could not be written: {why}.{kept}",
            "Free some space, then save again." if full else "Name a folder that you may write to.",
        ) from error


def _check_room(parent: Path, what: str, needed: int) -> None:
    free = shutil.disk_usage(parent)[2]
    if needed > free:
        raise AdapterError(
            f"{what[0].upper()}{what[1:]} takes {size(needed)}, and the disk has {size(free)} free.",
            "Free some space, or name a folder on another disk.",
        )


def _settle(part: Path) -> None:
    """Give the files the modes that the umask means, and wait until they are on the disk."""
    probe = part / ".mode"
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for path in sorted(part.rglob("*")):
        if path.is_file():
            path.chmod(mode)  # safetensors writes files that nobody else may read
            _sync(path)
    _sync(part)


def _swap(part: Path, folder: Path) -> None:
    if not folder.exists():
        part.rename(folder)
    else:
        old = folder.parent / f".{folder.name}-{secrets.token_hex(4)}.old"
        folder.rename(old)
        try:
            part.rename(folder)
        except OSError:
            old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
