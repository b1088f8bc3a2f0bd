"""Files of JSON lines that one process appends to and others follow, and JSON files that are replaced whole.

A line is one write. What a power cut leaves half written spoils nothing but itself: it is ended by the next
line and passed over by readers. Knows nothing of what the records mean.
"""

import contextlib
import json
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Append one record in a single write; numbers that are not finite become null.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    content = line(record)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        end = os.fstat(handle).st_size
        if end:
            os.lseek(handle, end - 1, os.SEEK_SET)
            if os.read(handle, 1) != b"\n":
                content = b"\n" + content
        while content:
            content = content[os.write(handle, content) :]
    finally:
        os.close(handle)


def replace_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file beside `path` and put it into its place: readers see the old one or the new one.

    Raises
    ------
    OSError
        If it cannot be written; the old file stays.
    """
    replace_bytes(path, _encode(value, indent=1) + b"\n")


def replace_bytes(path: Path, content: bytes, *, synced: bool = False) -> None:
    """Put `content` into the place of `path`; with `synced`, wait for the disk before."""
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            file.write(content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_json(path: Path) -> Record | None:
    """Return the object in a JSON file; None if it is missing, damaged or no object."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


class Tail:
    """Follows a file of JSON lines: each `new()` returns the records that came since the last one.

    Where the file was cut or replaced by a shorter one (a run that goes on from an earlier step), the records
    come again from the first, and `restarted` is true.

    Parameters
    ----------
    path
        The file, which may not exist yet.
    start
        The byte to begin at.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path = path
        self.restarted = False
        self._place = start
        self._file = 0

    @property
    def place(self) -> int:
        """The byte up to which records were returned."""
        return self._place

    def new(self) -> list[Record]:
        """Return the whole records behind the last ones, in order; lines that are no object are left out."""
        self.restarted = False
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                if self._place > found.st_size or (self._file and self._file != found.st_ino):
                    self.restarted = self._place > 0
                    self._place = 0
                self._file = found.st_ino
                if self._place == found.st_size:
                    return []
                file.seek(self._place)
                content = file.read(found.st_size - self._place)
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._place += len(whole)
        return records(whole)


def line(record: Mapping[str, Any]) -> bytes:
    """Return one record as a line; numbers that are not finite become null."""
    return _encode(record) + b"\n"


def records(content: bytes) -> list[Record]:
    """Return the objects in JSON lines; what is half written or no object is left out."""
    found = []
    for each in content.split(b"\n"):
        with contextlib.suppress(ValueError):
            value = json.loads(each)
            if isinstance(value, dict):
                found.append(value)
    return found


def _encode(value: Mapping[str, Any], indent: int | None = None) -> bytes:
    text = json.dumps(_finite(value), ensure_ascii=False, indent=indent, allow_nan=False)
    return text.encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
