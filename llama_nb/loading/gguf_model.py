"""A model in a GGUF file: checked like a folder, and its weights as floats for transformers' own classes.

The blocks of quantised types are turned into floats by the `gguf` package, as transformers' own loading of a
GGUF does it; here in parts, so that it can be stopped and needs no second copy. It saves no memory: what runs
a GGUF in its own size is llama.cpp.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import LoadError
from llama_nb.core.stop import StopFlag
from llama_nb.loading.check import Checked, compare
from llama_nb.loading.config import check_config
from llama_nb.loading.expected import expected_tensors
from llama_nb.loading.gguf_file import GgufHeader, GgufTensor, read_gguf
from llama_nb.loading.gguf_tokenizer import check_tokenizer
from llama_nb.loading.gguf_types import TENSOR_TYPES
from llama_nb.loading.headers import TensorInfo
from llama_nb.loading.quantize import library_missing
from llama_nb.loading.reading import Reading, check_stop

if TYPE_CHECKING:
    import torch

LIBRARY: Final = "gguf"
FLOATS: Final = frozenset({"F32", "F16", "BF16", "F64"})
_CHUNK: Final = 1 << 24  # weights that are turned into floats at a time: 64 MiB in float32
_SAMPLE: Final = 4096
_MODULES: Final[Mapping[str, str]] = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
_NAMES: Final = {module: name for name, module in _MODULES.items()}
# What llama.cpp does with the rows of q and k depends on the kind: here it is undone for Llamas.
_KINDS: Final = ("llama",)
_LAYER: Final = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_IN_LAYER: Final = re.compile(r"model\.layers\.(\d+)\.(.+)")
_IGNORED: Final = "rope_freqs.weight"  # its content is in the config


def check_gguf(path: Path, name: str | None = None) -> Checked:
    """Check a GGUF file as `llama_nb.loading.check.check` checks a folder, without reading its weights.

    Raises
    ------
    LoadError
        Naming the first thing that is missing, damaged, refused or contradicts the rest.
    """
    reason = library_missing(LIBRARY, path.name)
    if reason is not None:
        raise LoadError(reason, "Or load the model in safetensors format.")
    try:
        return _check(path, name or path.stem)
    except OSError as error:
        raise LoadError(
            f"{path.name} cannot be read: {error.strerror or error}.", f"Check the rights of {path}."
        ) from None


def _check(path: Path, name: str) -> Checked:
    header = read_gguf(path)
    _refuse_part(header)
    config = header.config()
    check_config(config, path.name, _KINDS)
    _check_layers(header, config)
    _check_rotary(header, config)
    has_template = check_tokenizer(header, config["vocab_size"])
    expected = expected_tensors(config)
    stored = {_hf_name(tensor.name): tensor for tensor in header.tensors.values() if tensor.name != _IGNORED}
    tensors = {
        key: TensorInfo("F32", tensor.shape, tensor.bytes, path.name, tensor.offset)
        for key, tensor in stored.items()
    }
    try:
        compare(expected, tensors, config)
    except LoadError as error:
        said = error.message.replace("config.json", "the header").replace("config says", "the header says")
        raise LoadError(f"{path.name} contradicts itself: {said}", "Get the model again.") from None
    return Checked(
        folder=path.parent,
        name=name,
        config=config,
        files=(path,),
        tensors=tensors,
        parameters=header.parameters,
        stored_bytes=header.bytes,
        context=int(config.get("max_position_embeddings") or 2048),
        model_type=config["model_type"],
        has_chat_template=has_template,
        fingerprint=_fingerprint(header),
        linear=expected.linear,
        gguf=header,
    )


def _refuse_part(header: GgufHeader) -> None:
    if header.parts > 1:
        raise LoadError(
            f"{header.path.name} is one of {header.parts} parts of a model.",
            f"Put them together: `llama-gguf-split --merge {header.path.name} whole.gguf`",
        )


def _check_layers(header: GgufHeader, config: Mapping[str, Any]) -> None:
    """Refuse what is no model at all before its architecture is built, layer by layer."""
    layers, tensors = config["num_hidden_layers"], len(header.tensors)
    if layers > tensors:
        raise LoadError(
            f"{header.path.name} says that it has {layers:,} layers, and holds {tensors:,} tensors.",
            "Get the model again.",
        )


def _check_rotary(header: GgufHeader, config: Mapping[str, Any]) -> None:
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    turned = header.keys.get(f"{header.architecture}.rope.dimension_count", width)
    if turned != width:
        raise LoadError(
            f"{header.path.name} rotates {turned} of the {width} dimensions of a head; a Llama rotates all.",
            "Load the model that it was made from.",
        )


def _hf_name(name: str) -> str:
    """Return transformers' name of a tensor of a Llama; an unknown name stays what it is."""
    if layer := _LAYER.fullmatch(name):
        number, module, suffix = layer.groups()
        return f"model.layers.{number}.{_MODULES.get(module, module)}.{suffix}"
    module, _, suffix = name.rpartition(".")
    return f"{_MODULES.get(module, module)}.{suffix}"


def gguf_name(name: str) -> str:
    """Return llama.cpp's name of a tensor of a Llama."""
    stem, _, suffix = name.rpartition(".")
    layer = _IN_LAYER.fullmatch(stem)
    if layer is not None:
        return f"blk.{layer.group(1)}.{_NAMES[layer.group(2)]}.{suffix}"
    return f"{_NAMES[stem]}.{suffix}"


def refuse_again(checked: Checked, quant: str) -> None:
    """Raise LoadError if a GGUF file that is quantised already shall be quantised by a method again."""
    if checked.gguf is not None and is_quantised(checked.gguf):
        raise LoadError(
            f"{checked.gguf.path.name} is quantised already ({checked.gguf.type}): quant {quant} would round "
            "it a second time.",
            "Leave quant out, or load the model that it was made from.",
        )


def is_quantised(header: GgufHeader) -> bool:
    """Whether any tensor is stored in blocks, not as floats."""
    return any(tensor.type not in FLOATS for tensor in header.tensors.values())


def notes(checked: Checked, dtype: str, size: int) -> tuple[str, ...]:
    """Return the sentence on what a de-quantised GGUF takes; `size` is its bytes in memory."""
    header = checked.gguf
    if header is None or not is_quantised(header):
        return ()
    return (
        f"{header.path.name} was de-quantised: {header.type}, {_size(header.bytes)} in the file, takes "
        f"{_size(size)} as {dtype} in memory. To save memory, load the model it was made from with --quant.",
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def read_weights(checked: Checked, dtype: "torch.dtype", stop: StopFlag | None) -> dict[str, "torch.Tensor"]:
    """Return the weights of a checked GGUF file by transformers' names, on the CPU.

    Raises
    ------
    LoadError
        If the file was changed since it was checked, or the gguf package cannot read a type.
    LoadCancelled
        If `stop` was set.
    """
    header = checked.gguf
    assert header is not None
    sizes = {tensor.name: tensor.bytes for tensor in header.tensors.values() if tensor.name != _IGNORED}
    found = {}
    for name, tensor in Reading(checked.name, sizes, stop).each(
        [(name, header.tensors[name]) for name in sizes]
    ):
        values = _floats(header, tensor, dtype, checked.name, stop)
        found[_hf_name(name)] = _unpaired(values, name, checked.config)
    return found


def _floats(
    header: GgufHeader, tensor: GgufTensor, dtype: "torch.dtype", name: str, stop: StopFlag | None
) -> "torch.Tensor":
    """Read one tensor and turn it into floats, some rows at a time."""
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType, quants

    stored = next(kind for kind in TENSOR_TYPES.values() if kind.name == tensor.type)
    width = tensor.shape[-1]
    rows, row_bytes = tensor.parameters // width, width // stored.weights * stored.bytes
    values = torch.empty((rows, width), dtype=dtype)
    at_once = max(1, _CHUNK // width)
    with header.path.open("rb") as file:
        file.seek(tensor.offset)
        for start in range(0, rows, at_once):
            check_stop(stop, name)
            count = min(at_once, rows - start)
            raw = np.fromfile(file, np.uint8, count * row_bytes)
            if raw.size < count * row_bytes:
                raise LoadError(f"{header.path.name} was cut while it was read.", "Download it again.")
            kind = GGMLQuantizationType[tensor.type]
            floats = quants.dequantize(raw.reshape(count, row_bytes), kind)
            values[start : start + count] = torch.from_numpy(floats.reshape(count, width))
    return values.reshape(tensor.shape)


def _unpaired(values: "torch.Tensor", name: str, config: Mapping[str, Any]) -> "torch.Tensor":
    """Undo llama.cpp's order of the rows of q and k: it rotates neighbours, transformers halves of a head."""
    which = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
    layer = _LAYER.fullmatch(name)
    if layer is None or layer.group(2) not in which:
        return values
    heads = config.get(which[layer.group(2)]) or config["num_attention_heads"]
    pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return pairs.transpose(1, 2).reshape(values.shape)


def _fingerprint(header: GgufHeader) -> str:
    """Hash everything before the weights and three samples of each tensor; see `check._fingerprint`."""
    digest = hashlib.sha256()
    first = min((tensor.offset for tensor in header.tensors.values()), default=0)
    with header.path.open("rb") as file:
        digest.update(file.read(first))
        for tensor in header.tensors.values():
            last = max(tensor.bytes - _SAMPLE, 0)
            for place in sorted({0, max(tensor.bytes // 2 - _SAMPLE // 2, 0), last}):
                file.seek(tensor.offset + place)
                digest.update(file.read(min(_SAMPLE, tensor.bytes - place)))
    return digest.hexdigest()[:16]
