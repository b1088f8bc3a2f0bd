"""A LoRA adapter in peft's format written as the adapter file that llama.cpp reads (`--lora FILE`).

Each layer's two factors become `blk.N.NAME.weight.lora_a` and `.lora_b`; rows of q and k are put in
llama.cpp's order, which is an order of B's rows. llama.cpp has one alpha for all layers and scales by alpha
over rank, so every other scale goes into B. What is more than two factors cannot be said there.
"""

import math
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import ConvertError
from llama_nb.loading.check import Checked
from llama_nb.loading.gguf_encode import encode, row_order
from llama_nb.loading.gguf_file import read_gguf
from llama_nb.loading.gguf_model import gguf_name
from llama_nb.loading.gguf_output import check_disk, compare_bytes, partial_file, require_library
from llama_nb.loading.gguf_types import FILE_TYPES
from llama_nb.loading.gguf_write import Written, refuse_other_models
from llama_nb.tuning.adapter_file import TENSORS, AdapterFile

if TYPE_CHECKING:
    import torch

TYPES: Final = ("F32", "F16", "BF16")
_FACTOR: Final = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_HEADER_ROOM: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Factors:
    """The two factors of one layer's change, as they stand in the file: A [rank, in] and B [out, rank]."""

    module: str
    a: str
    b: str
    rank: int


def write_adapter(file: AdapterFile, base: Checked, path: Path, kind: str = "F32", name: str = "") -> Written:
    """Write an adapter for llama.cpp into `path` and read it back.

    Parameters
    ----------
    file
        What its folder says (`adapter_file.read_adapter`).
    base
        The checked model that it belongs to.
    kind
        One of `TYPES`.
    name
        What the file calls it; default what the adapter does.

    Raises
    ------
    ConvertError
        If it is more than two factors a layer, does not fit the base, or the disk is too full; nothing is
        left of the file then.
    """
    require_library(path.name)
    refuse_other_models(base)
    if kind not in TYPES:
        raise ConvertError(
            f"type is {kind}; an adapter is stored as one of {', '.join(TYPES)}: its factors are too narrow "
            "for blocks.",
            "Leave --type out; an adapter is small.",
        )
    called = name or file.name or file.folder.name
    if file.config.get("use_dora"):
        raise ConvertError(
            f"{called} is a DoRA, which scales whole rows of its base; llama.cpp reads two factors a layer.",
            "Merge it into its base (%llama adapter merge) and convert the folder.",
        )
    factors = _factors(file, base, called)
    check_disk(path.parent, sum(info.bytes for info in file.tensors.values()) + _HEADER_ROOM, path.name)
    with partial_file(path) as partial:
        sums = _write(partial, file, base, factors, kind, called)
        compare_bytes(read_gguf(partial), sums)
    return Written(path, kind, len(sums), path.stat().st_size, None)


def stored_type(file: AdapterFile) -> str:
    """Return the type that keeps an adapter's numbers as they are."""
    kinds = {info.dtype for info in file.tensors.values()}
    only = kinds.pop() if len(kinds) == 1 else "F32"
    return only if only in TYPES else "F32"


def _factors(file: AdapterFile, base: Checked, name: str) -> list[_Factors]:
    """Return the layers that an adapter changes, in the base's order, with shapes that fit it."""
    found: dict[str, dict[str, str]] = {}
    for tensor in file.tensors:
        match = _FACTOR.fullmatch(tensor)
        if match is None or match.group(1) not in base.linear:
            raise ConvertError(
                f"{name} holds {tensor[:100]}, which is no factor of a linear layer of {base.name}.",
                "It is an adapter of another model.",
            )
        found.setdefault(match.group(1), {})[match.group(2)] = tensor
    layers = []
    for module in sorted(found, key=list(base.linear).index):
        if found[module].keys() != {"A", "B"}:
            raise ConvertError(f"{name} has one of two factors of {module} only.", "It is damaged.")
        layers.append(_fitting(module, found[module], file, base))
    if "lm_head" in found and base.config.get("tie_word_embeddings"):
        raise ConvertError(
            f"{name} changes the head of {base.name}, which is tied to the embedding: a GGUF lacks it.",
            "Merge it into its base (%llama adapter merge) and convert the folder.",
        )
    return layers


def _fitting(module: str, names: Mapping[str, str], file: AdapterFile, base: Checked) -> _Factors:
    a, b = file.tensors[names["A"]].shape, file.tensors[names["B"]].shape
    out, width = base.linear[module]
    if len(a) != 2 or len(b) != 2 or (b[0], a[1]) != (out, width) or a[0] != b[1]:
        raise ConvertError(
            f"The factors of {module} are {a} and {b}; the layer of {base.name} has {out} x {width} weights.",
            "It is an adapter of another model.",
        )
    return _Factors(module, names["A"], names["B"], a[0])


def _write(
    path: Path, file: AdapterFile, base: Checked, factors: list[_Factors], kind: str, name: str
) -> dict[str, int]:
    """Write the file; return the checksum of each tensor."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from safetensors import safe_open

    settings = file.config
    alpha = float(settings["lora_alpha"]) * (math.sqrt(settings["r"]) if settings.get("use_rslora") else 1.0)
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_name(name)
    writer.add_file_type(next(number for number, known in FILE_TYPES.items() if known == kind))
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, base.name)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    sums = {}
    try:
        with safe_open(file.folder / TENSORS, framework="pt") as stored_in:
            for layer in factors:
                a, b = stored_in.get_tensor(layer.a), stored_in.get_tensor(layer.b)
                changed = _for_llama_cpp(b, layer, base, _scale(layer, settings) * layer.rank / alpha)
                for suffix, values in (("lora_a", a), ("lora_b", changed)):
                    target = f"{gguf_name(f'{layer.module}.weight')}.{suffix}"
                    stored = encode(values, kind, target)
                    sums[target] = zlib.crc32(stored.data)
                    number = GGMLQuantizationType[kind]
                    writer.add_tensor(target, stored, raw_dtype=number)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return sums


def _for_llama_cpp(b: "torch.Tensor", layer: _Factors, base: Checked, factor: float) -> "torch.Tensor":
    """Return B with its rows in llama.cpp's order, scaled by what its alpha over rank leaves out."""
    order = row_order(f"{layer.module}.weight", b.shape[0], base.config)
    rows = b if order is None else b[order]
    return rows if math.isclose(factor, 1.0, rel_tol=1e-9) else rows.float() * factor


def _scale(layer: _Factors, settings: Mapping[str, Any]) -> float:
    """Return what peft multiplies a layer's B·A by."""
    by_layer = settings.get("alpha_pattern") or {}
    key = _pattern(by_layer, layer.module)
    alpha = float(settings["lora_alpha"] if key is None else by_layer[key])
    return alpha / (math.sqrt(layer.rank) if settings.get("use_rslora") else layer.rank)


def _pattern(patterns: Iterable[str], module: str) -> str | None:
    """Return the first of peft's patterns that means a module: its name, or the end of it behind a dot."""
    return next((key for key in patterns if re.fullmatch(rf"(.*\.)?({key})", module)), None)
