"""The GPUs of gpus.json, and how a user names some of them: `4x24GB`, `2xH100`, `RTX 4090`, `M4 Max 36GB`.

Data sheets only. What the GPUs of this machine are, and how much of their memory is free, is runtime's.
"""

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llama_nb.core.errors import CatalogError, nearest

# The maker's words, which users and drivers write or leave out.
_BRANDS: Final = re.compile(r"nvidia|geforce|quadro|tesla|rtx|amd|instinct|apple|[^a-z0-9]")
_COUNT_FIRST: Final = re.compile(r"([0-9]{1,9})(?:\s*[x\u00d7*]\s*(?=\S)|\s+(?=[a-z]))", re.IGNORECASE)
_COUNT_LAST: Final = re.compile(r"\s+[x\u00d7*]\s*([0-9]{1,9})$", re.IGNORECASE)
_MEMORY: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(g|gb|gib|t|tb|tib)", re.IGNORECASE)
_SIZE_LAST: Final = re.compile(rf"(.*\S)\s+({_MEMORY.pattern})", re.IGNORECASE)
_BYTES: Final = {"g": 10**9, "gb": 10**9, "gib": 2**30, "t": 10**12, "tb": 10**12, "tib": 2**40}
_MOST: Final = 10_000
_LONGEST: Final = 60
_HINT: Final = "Write a GPU (`H100`, `2x RTX 4090`) or plain memory (`24GB`, `4x24GB`)."


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or chip with unified memory, as its maker describes it.

    Attributes
    ----------
    memory
        Bytes. The maker's GB are taken as 10^9 bytes, never as GiB, so that a plan errs on the safe side. For
        unified memory, the largest size that is sold.
    bandwidth
        Bytes per second between memory and chip.
    bf16_flops
        Dense floating-point operations per second at 16 bit (never "with sparsity"); None where the maker
        states none.
    source
        The data sheet.
    aliases
        Other names it goes by, among them the drivers'.
    unified
        Whether the memory is shared with the CPU and sold in sizes.
    """

    name: str
    memory: int
    bandwidth: float
    bf16_flops: float | None
    source: str
    aliases: tuple[str, ...] = ()
    unified: bool = False


@dataclass(frozen=True, slots=True)
class GpuSet:
    """Some equal GPUs, as a user wrote them.

    Attributes
    ----------
    count
        How many, at least one.
    gpu
        What is known about one of them; None for plain memory.
    memory, bandwidth, flops
        Of *one*: bytes, bytes per second, dense FLOPs per second at 16 bit.
    name
        How to write them: "2x RTX 4090", "4x 24 GB".
    """

    count: int
    gpu: Gpu | None
    memory: int
    bandwidth: float | None
    flops: float | None
    name: str


@functools.cache
def gpus() -> tuple[Gpu, ...]:
    """Return every GPU of the catalogue: data centre, workstation, unified memory."""
    data = json.loads(Path(__file__).with_name("gpus.json").read_text(encoding="utf-8"))
    return tuple(
        Gpu(
            name=row["name"],
            memory=round(row["memory"] * 1e9),
            bandwidth=row["bandwidth"] * 1e9,
            bf16_flops=None if row["tflops"] is None else row["tflops"] * 1e12,
            source=data["sources"][row["source"]],
            aliases=tuple(row.get("aliases", ())),
            unified=row.get("unified", False),
        )
        for row in data["gpus"]
    )


def find_gpu(text: str) -> Gpu | None:
    """Return the GPU that is meant by "4090", "nvidia rtx4090" or "A100-SXM4-80GB"; None if none is."""
    return _by_key().get(_key(text))


def parse_gpus(text: str) -> GpuSet:
    """Read GPUs as a user writes them.

    Parameters
    ----------
    text
        A GPU of the catalogue or plain memory, perhaps with a number before or after it: "RTX 4090",
        "2xH100", "T4 x2", "24GB", "4x24GB", "M4 Max 36GB". GB are 10^9 bytes, GiB 2^30.

    Raises
    ------
    CatalogError
        If the GPU is unknown (the nearest are named), or the number or the memory makes no sense.
    """
    words = text.strip()
    number, what = _count(words)
    if not 1 <= number <= _MOST:
        raise CatalogError(f"{text!r} asks for {number:,} GPUs; it must be 1 to {_MOST:,}.", _HINT)
    gpu, memory = _gpu_and_memory(what, text)
    size = f"{memory / 1e9:.4g} GB"
    one = size if gpu is None else gpu.name if memory == gpu.memory else f"{gpu.name} {size}"
    return GpuSet(
        count=number,
        gpu=gpu,
        memory=memory,
        bandwidth=gpu.bandwidth if gpu else None,
        flops=gpu.bf16_flops if gpu else None,
        name=one if number == 1 else f"{number}x {one}",
    )


def _count(words: str) -> tuple[int, str]:
    if first := _COUNT_FIRST.match(words):
        # "24 GB" is memory, "2 H100" are two.
        if not _MEMORY.fullmatch(words):
            return int(first[1]), words[first.end() :]
    elif last := _COUNT_LAST.search(words):
        return int(last[1]), words[: last.start()]
    return 1, words


def _gpu_and_memory(what: str, text: str) -> tuple[Gpu | None, int]:
    if _MEMORY.fullmatch(what):
        memory = _bytes(what)
        if memory < 1e8:
            raise CatalogError(f"{text!r} is no memory that a model could use.", _HINT)
        return None, memory
    if gpu := find_gpu(what):
        return gpu, gpu.memory
    sized = _SIZE_LAST.fullmatch(what)
    gpu = find_gpu(sized[1]) if sized else None
    if sized is None or gpu is None:
        raise _unknown(what, text)
    size, memory = sized[2], _bytes(sized[2])
    if gpu.unified and 8e9 <= memory <= gpu.memory:
        return gpu, memory
    sold = f"at most {gpu.memory / 1e9:g} GB" if gpu.unified else f"{gpu.memory / 1e9:g} GB"
    raise CatalogError(f"{text!r}: {gpu.name} has {sold}, not {size}.", f"For plain memory write `{size}`.")


def _unknown(what: str, text: str) -> CatalogError:
    if not what:
        return CatalogError("No GPU is named.", _HINT)
    if len(text) > _LONGEST:
        return CatalogError(f"{text[:_LONGEST]!r}... names no GPU that the catalogue knows.", _HINT)
    written = {_key(name): gpu.name for gpu in gpus() for name in (gpu.name, *gpu.aliases)}
    near = list(dict.fromkeys(written[key] for key in nearest(_key(what), written)))
    known = f"The nearest known: {', '.join(near)}." if near else ""
    return CatalogError(f"{text!r} names no GPU that the catalogue knows.", f"{known} {_HINT}".strip())


def _bytes(memory: str) -> int:
    matched = _MEMORY.fullmatch(memory)
    assert matched is not None
    return round(float(matched[1]) * _BYTES[matched[2].lower()])


def _key(text: str) -> str:
    return _BRANDS.sub("", text.lower())


@functools.cache
def _by_key() -> dict[str, Gpu]:
    return {_key(name): gpu for gpu in gpus() for name in (gpu.name, *gpu.aliases)}
