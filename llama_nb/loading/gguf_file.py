"""The header of a GGUF file, read in Python before any native parser sees it: keys, and where tensors lie.

Every count and length is compared with the file's size before anything is read or allocated; strings of
arrays are walked over and counted, not kept. Knows nothing of models (`gguf_config`) and reads no weights.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from llama_nb.core.errors import LoadError
from llama_nb.loading.damage import first_bytes, refuse_impostor
from llama_nb.loading.gguf_types import ARRAY, FILE_TYPES, NUMBERS, STRING, TENSOR_TYPES

Value = bool | int | float | str

_VERSIONS: Final = (2, 3)
_FIXED: Final = 24  # magic, version, and the two counts
_SMALLEST_TENSOR: Final = 32  # empty name, dimensions, one dimension, type, offset
_SMALLEST_KEY: Final = 13  # key length, value type, a value of one byte
_ALIGNMENT: Final = 32
# Limits far above any real model, so that a hostile file costs neither time nor memory. The largest
# vocabulary of a Llama has 202,048 tokens and about as many merges.
_MOST_TENSORS: Final = 1 << 17
_MOST_KEYS: Final = 1 << 14
_MOST_STRINGS: Final = 1 << 20
_LONGEST_NAME: Final = 1 << 8
_LONGEST_KEPT_ARRAY: Final = 512  # one number for each layer
_MOST_KEPT: Final = 1 << 26  # bytes of texts and short arrays; a whole tokenizer.json may be among them
_MOST_DIMENSIONS: Final = 4


@dataclass(frozen=True, slots=True)
class GgufArray:
    """An array among the keys.

    Attributes
    ----------
    kind
        The value type of its entries.
    start
        Where in the file they begin.
    numbers
        The entries, where they are few and numbers; else None, and `GgufHeader.array` reads them.
    """

    kind: int
    length: int
    start: int
    numbers: tuple[bool | int | float, ...] | None = None


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: type ("Q4_K"), shape as in torch (rows, columns), and where its bytes lie in the file."""

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    bytes: int

    @property
    def parameters(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class GgufHeader:
    """What stands before the weights.

    Attributes
    ----------
    keys
        Numbers, texts and `GgufArray` by name ("llama.block_count").
    tensors
        By name, in the file's order.
    """

    path: Path
    version: int
    keys: Mapping[str, Value | GgufArray]
    tensors: Mapping[str, GgufTensor]

    @property
    def architecture(self) -> str:
        """The kind of model: "llama", "llama4", "qwen2" ..., or an empty string."""
        found = self.keys.get("general.architecture", "")
        return found if isinstance(found, str) else ""

    @property
    def name(self) -> str:
        """What the file calls its model, else its own name."""
        found = self.keys.get("general.name")
        return found if isinstance(found, str) and found.strip() else self.path.stem

    @property
    def parameters(self) -> int:
        """Parameters in this file; a tied head is stored once, so it counts once."""
        return sum(tensor.parameters for tensor in self._weights())

    @property
    def bytes(self) -> int:
        """Bytes of the weights as they are stored."""
        return sum(tensor.bytes for tensor in self._weights())

    @property
    def type(self) -> str:
        """The quantisation by its usual name ("Q4_K_M"): what the file says, else what most bytes are."""
        said = self.keys.get("general.file_type")
        if isinstance(said, int) and said in FILE_TYPES:
            return FILE_TYPES[said]
        by_type: dict[str, int] = {}
        for tensor in self.tensors.values():
            by_type[tensor.type] = by_type.get(tensor.type, 0) + tensor.parameters
        return max(by_type, key=lambda name: by_type[name], default="F32")

    @property
    def parts(self) -> int:
        """How many files the model is split into: 1 when it is whole."""
        found = self.keys.get("split.count")
        return found if isinstance(found, int) and found > 1 else 1

    def array(self, key: str) -> list[Any] | None:
        """Return all entries of an array, texts or numbers; None when there is no such array."""
        found = self.keys.get(key)
        if not isinstance(found, GgufArray):
            return None
        with self.path.open("rb", buffering=1 << 20) as file:
            file.seek(found.start)
            if found.kind == STRING:
                return [_text(file) for _ in range(found.length)]
            form = NUMBERS[found.kind][1]
            raw = file.read(found.length * struct.calcsize(f"<{form}"))
        return list(struct.unpack(f"<{found.length}{form}", raw))

    def config(self) -> dict[str, Any]:
        """Return the header as a Hugging Face config; see `llama_nb.loading.gguf_config.config`."""
        from llama_nb.loading.gguf_config import config

        return config(self)

    def _weights(self) -> list[GgufTensor]:
        """All tensors but the rotary frequencies, which are settings."""
        return [tensor for tensor in self.tensors.values() if not tensor.name.startswith("rope_f")]


def _text(file: BinaryIO) -> str:
    return file.read(int.from_bytes(file.read(8), "little")).decode("utf-8", "replace")


def read_gguf(path: str | Path) -> GgufHeader:
    """Read and check the header of a GGUF file of version 2 or 3.

    Raises
    ------
    LoadError
        If the file is cut, damaged, something else, or names more than it can hold: one line that names the
        file and what is wrong with it.
    """
    path = Path(path)
    head = first_bytes(path)
    refuse_impostor(path, head)
    try:
        with path.open("rb", buffering=1 << 20) as file:
            return _read(_Reader(path, file, path.stat().st_size), head)
    except OSError as error:
        raise LoadError(
            f"{path.name} cannot be read: {error.strerror or error}.", f"Check the rights of {path}."
        ) from None


def _read(reader: "_Reader", head: bytes) -> GgufHeader:
    version, tensor_count, key_count = _check_beginning(reader, head)
    reader.skip(_FIXED)
    keys: dict[str, Value | GgufArray] = {}
    for _ in range(key_count):
        key = reader.name("a key")
        if key in keys:
            raise reader.damaged(f"the key {key!r} is there twice")
        keys[key] = _value(reader, key)
    entries = [_tensor_entry(reader) for _ in range(tensor_count)]
    alignment = keys.get("general.alignment", _ALIGNMENT)
    if type(alignment) is not int or not 1 <= alignment <= 1 << 16 or alignment & (alignment - 1):
        raise reader.damaged(f"general.alignment is {str(alignment)[:40]}, not a power of two")
    start = -(-reader.position // alignment) * alignment
    tensors = _place(reader, entries, start, alignment)
    return GgufHeader(reader.path, version, keys, tensors)


def _check_beginning(reader: "_Reader", head: bytes) -> tuple[int, int, int]:
    name = reader.path.name
    if not head.startswith(b"GGUF"):
        raise LoadError(
            f"{name} is not a GGUF file: it begins with {head[:8]!r}, not with GGUF.", "Download it again."
        )
    if len(head) < _FIXED:
        raise LoadError(
            f"{name} is cut: {len(head)} bytes are there, too few for a GGUF header.", "Download it again."
        )
    version, tensors, keys = struct.unpack_from("<IQQ", head, 4)
    if version not in _VERSIONS:
        swapped = int.from_bytes(head[4:8], "big") in _VERSIONS
        what = "written on a big-endian machine" if swapped else f"of version {version}"
        raise LoadError(
            f"{name} is a GGUF {what}; known are {' and '.join(map(str, _VERSIONS))}, little-endian.",
            "Convert the model again with a current llama.cpp.",
        )
    needed = _FIXED + tensors * _SMALLEST_TENSOR + keys * _SMALLEST_KEY
    if needed > reader.size or tensors > _MOST_TENSORS or keys > _MOST_KEYS:
        than = f"a file of {reader.size:,} bytes can hold" if needed > reader.size else "any model has"
        raise reader.damaged(f"its header names {tensors:,} tensors and {keys:,} keys, more than {than}")
    return version, tensors, keys


class _Reader:
    """A file read forwards, in which nothing is read or skipped that is not there."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path = path
        self.size = size
        self.position = 0
        self.strings = 0
        self.kept = 0
        self._file = file

    def keep(self, count: int) -> bool:
        """Whether `count` more bytes of values may be kept in memory."""
        self.kept += count
        return self.kept <= _MOST_KEPT

    def damaged(self, what: str) -> LoadError:
        return LoadError(f"{self.path.name} is damaged: {what}.", "Download it again.")

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        self._claim(count)
        found = self._file.read(count)
        if len(found) < count:  # it was cut while it was read
            raise self.damaged(f"it ends at byte {self.position - count + len(found):,}, inside its header")
        return found

    def skip(self, count: int) -> None:
        """Go forward `count` bytes."""
        self._claim(count)
        self._file.seek(count, 1)

    def _claim(self, count: int) -> None:
        if count > self.size - self.position:
            raise self.damaged(
                f"{count:,} bytes should follow byte {self.position:,}, and {self.size - self.position:,} do"
            )
        self.position += count

    def number(self, kind: str) -> Any:
        return struct.unpack(kind, self.take(struct.calcsize(kind)))[0]

    def length(self, limit: int, what: str) -> int:
        """Return the length of a string that follows."""
        count = int.from_bytes(self.take(8), "little")
        if count > self.size - self.position or count > limit:
            raise self.damaged(f"{what} has a length of {count:,} bytes")
        return count

    def skip_texts(self, count: int, key: str) -> None:
        """Go past an array of texts, a vocabulary for example, with no calls for each but the file's own."""
        read, seek, position, size = self._file.read, self._file.seek, self.position, self.size
        for _ in range(count):
            length = int.from_bytes(read(8), "little")
            position += 8 + length
            if position > size:
                raise self.damaged(f"a text of {key} has a length of {length:,} bytes")
            seek(length, 1)
        self.position = position

    def name(self, what: str) -> str:
        """Return a name in UTF-8 without control characters."""
        raw = self.take(self.length(_LONGEST_NAME, f"the name of {what}"))
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.damaged(f"the name of {what} is no text: {raw[:40]!r}") from None
        if not text or not text.isprintable():
            raise self.damaged(f"the name of {what} is {text[:40]!r}")
        return text


def _value(reader: _Reader, key: str) -> Value | GgufArray:
    kind = reader.number("<I")
    if kind in NUMBERS:
        number: bool | int | float = reader.number(NUMBERS[kind])
        return number
    if kind == STRING:
        length = reader.length(_MOST_KEPT, f"the value of {key}")
        if not reader.keep(length):
            raise reader.damaged("its texts are longer than those of any model")
        return reader.take(length).decode("utf-8", "replace")
    if kind != ARRAY:
        raise reader.damaged(f"the key {key} has a value of type {kind}, which does not exist")
    return _array(reader, key)


def _array(reader: _Reader, key: str) -> GgufArray:
    kind, count = reader.number("<I"), reader.number("<Q")
    start = reader.position
    if kind in NUMBERS:
        size = struct.calcsize(NUMBERS[kind]) * count
        if count > _LONGEST_KEPT_ARRAY or not reader.keep(size):
            reader.skip(size)
            return GgufArray(kind, count, start)
        numbers = struct.unpack(f"<{count}{NUMBERS[kind][1]}", reader.take(size))
        return GgufArray(kind, count, start, numbers)
    if kind != STRING:
        what = "arrays" if kind == ARRAY else f"type {kind}, which does not exist"
        raise reader.damaged(f"the key {key} is an array of {what}")
    reader.strings += count
    if 8 * count > reader.size - reader.position or reader.strings > _MOST_STRINGS:
        raise reader.damaged(f"the key {key} is an array of {count:,} texts")
    reader.skip_texts(count, key)
    return GgufArray(kind, count, start)


def _tensor_entry(reader: _Reader) -> tuple[str, tuple[int, ...], int, int]:
    name = reader.name("a tensor")
    dimensions = reader.number("<I")
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise reader.damaged(f"the tensor {name} has {dimensions:,} dimensions")
    sizes = struct.unpack(f"<{dimensions}Q", reader.take(8 * dimensions))
    return name, sizes[::-1], reader.number("<I"), reader.number("<Q")


def _place(
    reader: _Reader, entries: list[tuple[str, tuple[int, ...], int, int]], start: int, alignment: int
) -> dict[str, GgufTensor]:
    """Compute bytes and places, and refuse what is twice, unknown, outside the file or upon another."""
    tensors: dict[str, GgufTensor] = {}
    for name, shape, kind, offset in entries:
        if name in tensors:
            raise reader.damaged(f"the tensor {name} is there twice")
        if kind not in TENSOR_TYPES:
            raise LoadError(
                f"{reader.path.name} holds {name} as type {kind}, which this version does not know.",
                "Get the model in another quantisation, Q8_0 or Q4_K_M for example.",
            )
        stored = TENSOR_TYPES[kind]
        if not all(shape) or shape[-1] % stored.weights:
            sizes = " x ".join(map(str, shape))
            raise reader.damaged(
                f"the tensor {name} is {sizes}, and {stored.name} has blocks of {stored.weights}"
            )
        size = math.prod(shape) // stored.weights * stored.bytes
        if offset % alignment or start + offset + size > reader.size:
            raise reader.damaged(
                f"the tensor {name} should take {size:,} bytes at {start + offset:,}, "
                f"and the file has {reader.size:,}"
            )
        tensors[name] = GgufTensor(name, stored.name, shape, start + offset, size)
    end, before = start, ""
    for tensor in sorted(tensors.values(), key=lambda tensor: tensor.offset):
        if tensor.offset < end:
            raise reader.damaged(f"the tensors {before} and {tensor.name} overlap")
        end, before = tensor.offset + tensor.bytes, tensor.name
    return tensors
