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
from llama_nb.loading.folder import inside, read_json
from llama_nb.loading.gguf_encode import encode, row_order
from llama_nb.loading.gguf_file import read_gguf
from llama_nb.loading.gguf_model import gguf_name
from llama_nb.loading.gguf_output import check_disk, compare_bytes, partial_file, require_library
from llama_nb.loading.gguf_types import FILE_TYPES
from llama_nb.loading.gguf_write import Written, refuse_other_models
from llama_nb.loading.headers import read_header

if TYPE_CHECKING:
    import torch

TYPES: Final = ("F32", "F16", "BF16")
CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
_FACTOR: Final = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.[^.]+)?\.weight")
_HEADER_ROOM: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Factors:
    """The two factors of one layer's change, as they stand in the file: A [rank, in] and B [out, rank]."""

    module: str
    a: str
    b: str
    rank: int


def write_adapter(folder: Path, base: Checked, path: Path, kind: str = "F32", name: str = "") -> Written:
    """Write the adapter of `folder` for llama.cpp into `path` and read it back.

    Parameters
    ----------
    folder
        In peft's format: adapter_config.json and adapter_model.safetensors.
    base
        The checked model that it belongs to.
    kind
        One of `TYPES`.
    name
        What the file calls it; default the folder's name.

    Raises
    ------
    ConvertError
        If it is no LoRA of two factors, does not fit the base, or the disk is too full; nothing is left of
        the file then.
    """
    require_library(path.name)
    refuse_other_models(base)
    if kind not in TYPES:
        raise ConvertError(
            f"type is {kind}; an adapter is stored as one of {', '.join(TYPES)}: its factors are too narrow "
            "for blocks.",
            "Leave --type out; an adapter is small.",
        )
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise ConvertError(
            f"{folder} holds no adapter ({CONFIG} and {WEIGHTS}).", "`%llama adapter save NAME`"
        )
    settings = read_json(folder, CONFIG)
    _refuse_other_kinds(settings, folder.name)
    factors = _factors(folder, base)
    check_disk(path.parent, (folder / WEIGHTS).stat().st_size + _HEADER_ROOM, path.name)
    with partial_file(path) as partial:
        sums = _write(partial, folder, base, factors, settings, kind, name or folder.name)
        header = read_gguf(partial)
        compare_bytes(header, sums)
    return Written(path, kind, len(sums), path.stat().st_size, None)


def _refuse_other_kinds(settings: Mapping[str, Any], name: str) -> None:
    """Raise ConvertError for what llama.cpp's two factors cannot say."""
    merge = "Merge it into its base (`%llama adapter merge NAME FOLDER`) and convert the folder."
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise ConvertError(f"{name} is an adapter of kind {str(kind)[:40]}; llama.cpp reads LoRA.", merge)
    more = {
        "use_dora": "DoRA scales whole rows of the base",
        "modules_to_save": "it replaces whole layers",
        "lora_bias": "it has biases",
        "fan_in_fan_out": "its factors are turned round",
        "trainable_token_indices": "it has embeddings of its own",
    }
    for key, reason in more.items():
        if settings.get(key):
            raise ConvertError(f"{name} is more than two factors a layer: {reason} ({key}).", merge)
    if settings.get("bias", "none") != "none":
        raise ConvertError(f"{name} trains biases, too (bias {settings['bias']!r}).", merge)
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float) or not alpha:
        raise ConvertError(
            f"{name} says r {str(rank)[:20]} and lora_alpha {str(alpha)[:20]}: it would change nothing.",
            f"Look at its {CONFIG}.",
        )


def _factors(folder: Path, base: Checked) -> list[_Factors]:
    """Return the layers that an adapter changes, in the base's order, with shapes that fit it."""
    header = read_header(inside(folder, folder / WEIGHTS))
    found: dict[str, dict[str, str]] = {}
    for name in header:
        match = _FACTOR.fullmatch(name)
        if match is None or match.group(1) not in base.linear:
            raise ConvertError(
                f"{folder.name} holds {name[:100]}, which is no factor of a linear layer of {base.name}.",
                "It is an adapter of another model, or of another kind.",
            )
        found.setdefault(match.group(1), {})[match.group(2)] = name
    layers = []
    for module in sorted(found, key=list(base.linear).index):
        if found[module].keys() != {"A", "B"}:
            raise ConvertError(f"{folder.name} has one of two factors of {module} only.", "It is damaged.")
        layers.append(_fitting(module, found[module], header, base))
    if not layers:
        raise ConvertError(f"{folder.name} has no factors: it changes nothing.")
    if "lm_head" in found and base.config.get("tie_word_embeddings"):
        raise ConvertError(
            f"{folder.name} changes the head of {base.name}, which is tied to the embedding: a GGUF has no "
            "such tensor.",
            "Merge it into its base and convert the folder.",
        )
    return layers


def _fitting(module: str, names: Mapping[str, str], header: Mapping[str, Any], base: Checked) -> _Factors:
    a, b = header[names["A"]].shape, header[names["B"]].shape
    out, width = base.linear[module]
    if len(a) != 2 or len(b) != 2 or (b[0], a[1]) != (out, width) or a[0] != b[1]:
        raise ConvertError(
            f"The factors of {module} are {a} and {b}; the layer of {base.name} has {out} x {width} weights.",
            "It is an adapter of another model.",
        )
    return _Factors(module, names["A"], names["B"], a[0])


def _write(
    path: Path,
    folder: Path,
    base: Checked,
    factors: list[_Factors],
    settings: Mapping[str, Any],
    kind: str,
    name: str,
) -> dict[str, int]:
    """Write the file; return the checksum of each tensor."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from safetensors import safe_open

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
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            for layer in factors:
                a, b = file.get_tensor(layer.a), file.get_tensor(layer.b)
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
