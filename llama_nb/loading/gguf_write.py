"""A checked model folder written as a GGUF file: tensor by tensor, whole or not at all, and read back.

Keys, names and the order of rows are those of llama.cpp's own converter; matrices are stored as F32, F16,
BF16 or Q8_0 (`gguf_quantise` makes the finer kinds of such a file), vectors as F32. Llamas only: what is not
the same in llama.cpp is refused. Knows nothing of adapters (`llama_nb.tuning.gguf_adapter`).
"""

import contextlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import ConvertError
from llama_nb.core.events import Progress, publish
from llama_nb.core.stop import StopFlag
from llama_nb.loading.check import Checked
from llama_nb.loading.gguf_config import llama3_factors
from llama_nb.loading.gguf_encode import encode, exact, row_order, squares
from llama_nb.loading.gguf_file import read_gguf
from llama_nb.loading.gguf_model import check_gguf, gguf_name
from llama_nb.loading.gguf_output import check_disk, compare_bytes, partial_file, require_library
from llama_nb.loading.gguf_types import FILE_TYPES, TENSOR_TYPES
from llama_nb.loading.gguf_vocabulary import Vocabulary, samples, vocabulary
from llama_nb.loading.reading import check_stop
from llama_nb.loading.tokenizer import read_tokenizer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from gguf import GGUFWriter
    from transformers import PreTrainedTokenizerFast

_STORED: Final = {"F32": "F32", "F64": "F32", "F16": "F16", "BF16": "BF16"}
_CHUNK: Final = 1 << 22  # weights that are encoded at a time: 16 MiB in float32
_HEADER_ROOM: Final = 1 << 16
_ROPE_FACTORS: Final = "rope_freqs.weight"
_LLAMA3: Final = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


@dataclass(frozen=True, slots=True)
class Written:
    """A GGUF file that was written and read back.

    Attributes
    ----------
    type
        What the matrices are stored as.
    bytes
        Of the whole file.
    error
        How far the stored matrices are from the model's: root mean square of the differences over that of
        the weights. 0 when they are the same numbers, None where it was not computed.
    notes
        Sentences on what is not the same elsewhere.
    """

    path: Path
    type: str
    tensors: int
    bytes: int
    error: float | None
    notes: tuple[str, ...] = ()


def stored_type(checked: Checked) -> str:
    """Return the type that keeps a model's numbers as they are: that of most of its weights."""
    by_type: dict[str, int] = {}
    for info in checked.tensors.values():
        kind = _STORED.get(info.dtype, "F32")
        by_type[kind] = by_type.get(kind, 0) + info.bytes
    return max(by_type, key=lambda kind: by_type[kind])


def write_gguf(checked: Checked, path: Path, kind: str, stop: StopFlag | None = None) -> Written:
    """Write the model of a checked folder into `path` and compare what can be read there.

    Parameters
    ----------
    kind
        One of `gguf_encode.TYPES`. Rows that Q8_0's blocks do not fit are stored as F16.

    Raises
    ------
    ConvertError
        If it is no plain Llama, a weight is no number or too large for `kind`, or the disk is too full;
        nothing is left of the file then.
    LoadCancelled
        If `stop` was set.
    """
    require_library(path.name)
    refuse_other_models(checked)
    tokenizer = read_tokenizer(checked.folder)
    words = vocabulary(tokenizer, checked.config["vocab_size"], checked.name)
    tensors = _tensors(checked, kind)
    whole = len(words.whole or "") + _HEADER_ROOM + sum(40 + len(token) for token in words.tokens)
    check_disk(path.parent, sum(tensor.bytes for tensor in tensors) + 2 * whole, path.name)
    with partial_file(path) as partial:
        writer = _writer(partial)
        try:
            _write_keys(writer, checked, kind)
            _write_vocabulary(writer, words)
            sums, error = _write_tensors(writer, checked, tensors, path.name, stop)
        finally:
            writer.close()
        compare_bytes(read_gguf(partial), sums)
        _compare_content(partial, checked, tokenizer)
    return Written(path, kind, len(tensors), path.stat().st_size, error, (words.note,) if words.note else ())


def refuse_other_models(checked: Checked) -> None:
    """Raise ConvertError unless a model is a Llama with float weights that llama.cpp computes alike."""
    config, name = checked.config, checked.name
    elsewhere = "llama.cpp's convert_hf_to_gguf.py may know it."
    if checked.gguf is not None:
        raise ConvertError(f"{name} is a GGUF file already ({checked.gguf.path.name}).", "Load it as it is.")
    if checked.stored is not None:
        raise ConvertError(
            f"{name} is quantised already ({checked.stored.label}): its weights would be rounded twice.",
            "Convert the model that it was made from.",
        )
    if checked.model_type != "llama":
        raise ConvertError(
            f"{name} is a {checked.model_type}; plain Llamas (model_type llama) become GGUF files here.",
            elsewhere,
        )
    if config.get("hidden_act", "silu") != "silu":
        raise ConvertError(
            f"{name} has the activation {config['hidden_act']!r}; llama.cpp has silu.", elsewhere
        )
    rope = _rope(config)
    share = rope.get("partial_rotary_factor") or 1.0
    other = rope["rope_type"] == "llama3" and any(rope.get(key) != said for key, said in _LLAMA3.items())
    if rope["rope_type"] not in ("default", "linear", "yarn", "llama3") or share != 1.0 or other:
        raise ConvertError(
            f"{name} turns its heads in a way of its own (rope_parameters {rope}), which a GGUF cannot say.",
            elsewhere,
        )


def _writer(path: Path) -> "GGUFWriter":
    from gguf import GGUFWriter

    return GGUFWriter(path, "llama")


# --- keys -----------------------------------------------------------------------------------------------


def _write_keys(writer: "GGUFWriter", checked: Checked, kind: str) -> None:
    config = checked.config
    heads = config["num_attention_heads"]
    width = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_type("model")
    writer.add_name(checked.name)
    writer.add_file_type(next(number for number, name in FILE_TYPES.items() if name == kind))
    writer.add_quantization_version(2)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(checked.context)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_layer_norm_rms_eps(config.get("rms_norm_eps", 1e-6))
    writer.add_key_length(width)
    writer.add_value_length(width)
    rope = _rope(config)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_string("llama.rope.scaling.type", rope["rope_type"])
        writer.add_rope_scaling_factor(rope["factor"])
        if rope.get("original_max_position_embeddings"):
            writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rotary settings of a config, in transformers' new form or the old one."""
    old = config.get("rope_scaling") or {}
    found = {**old, **(config.get("rope_parameters") or {})}
    found.setdefault("rope_type", old.get("type", "default"))
    found.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    return found


def _write_vocabulary(writer: "GGUFWriter", words: Vocabulary) -> None:
    writer.add_tokenizer_model(words.kind)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    if words.scores is not None:
        writer.add_token_scores(words.scores)
        writer.add_add_space_prefix(words.prefix)
    if words.merges:
        writer.add_token_merges(words.merges)
    for kind, number in words.ids.items():
        writer.add_uint32(f"tokenizer.ggml.{kind}_token_id", number)
    writer.add_add_bos_token(words.begins)
    writer.add_add_eos_token(words.ends)
    if words.template:
        writer.add_chat_template(words.template)
    if words.whole:
        writer.add_string("tokenizer.huggingface.json", words.whole)


# --- tensors --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One tensor to write: its name here and there, its shape as in torch, and how it is stored."""

    source: str
    name: str
    shape: tuple[int, ...]
    kind: str

    @property
    def row_bytes(self) -> int:
        stored = next(one for one in TENSOR_TYPES.values() if one.name == self.kind)
        return self.shape[-1] // stored.weights * stored.bytes

    @property
    def bytes(self) -> int:
        rows = 1 if len(self.shape) == 1 else self.shape[0]
        return rows * self.row_bytes


def _tensors(checked: Checked, kind: str) -> list[_Tensor]:
    tensors = []
    if _rope(checked.config)["rope_type"] == "llama3":
        width = checked.config.get("head_dim") or (
            checked.config["hidden_size"] // checked.config["num_attention_heads"]
        )
        tensors.append(_Tensor("", _ROPE_FACTORS, (width // 2,), "F32"))
    for name, info in checked.tensors.items():
        if name == "lm_head.weight" and checked.config.get("tie_word_embeddings"):
            continue
        fits = kind != "Q8_0" or info.shape[-1] % 32 == 0
        stored = "F32" if len(info.shape) == 1 else kind if fits else "F16"
        tensors.append(_Tensor(name, gguf_name(name), info.shape, stored))
    return tensors


def _write_tensors(
    writer: "GGUFWriter", checked: Checked, tensors: list[_Tensor], name: str, stop: StopFlag | None
) -> tuple[dict[str, int], float]:
    """Write all tensors; return the checksum of each, and the error of the matrices together."""
    import numpy as np
    from gguf import GGMLQuantizationType

    for tensor in tensors:
        kind = GGMLQuantizationType[tensor.kind]
        # Only of uint8 it takes the shape as one in bytes.
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.bytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    sums, off, size = {}, 0.0, 0.0
    done, total = 0, sum(tensor.bytes for tensor in tensors)
    try:
        for tensor, values in _each(checked, tensors):
            check_stop(stop, checked.name)
            publish(Progress(f"Writing {name}", done, total, "B"))
            encoded, wrong, length = _encoded(values, tensor, checked.config)
            writer.write_tensor_data(encoded)
            sums[tensor.name] = zlib.crc32(encoded.data)
            off, size, done = off + wrong, size + length, done + tensor.bytes
    finally:
        publish(Progress(f"Writing {name}", done, total, "B", ended=True))
    return sums, (off / size) ** 0.5 if size else 0.0


def _each(checked: Checked, tensors: list[_Tensor]) -> "Iterator[tuple[_Tensor, torch.Tensor]]":
    """Yield the tensors with their values, of one file after the other as they come."""
    import torch
    from safetensors import safe_open

    with contextlib.ExitStack() as stack:
        files = {path.name: stack.enter_context(safe_open(path, framework="pt")) for path in checked.files}
        for tensor in tensors:
            if tensor.name == _ROPE_FACTORS:
                rope = _rope(checked.config)
                factors = llama3_factors(2 * tensor.shape[0], rope["rope_theta"], rope["factor"])
                yield tensor, torch.tensor(factors, dtype=torch.float32)
            else:
                file = checked.tensors[tensor.source].file
                yield tensor, files[file].get_tensor(checked.prefix + tensor.source)


def _encoded(
    values: "torch.Tensor", tensor: _Tensor, config: Mapping[str, Any]
) -> "tuple[np.ndarray[Any, Any], float, float]":
    """Return a tensor's bytes; of a matrix that is rounded also the squares of errors and of weights."""
    import numpy as np

    order = row_order(tensor.source, values.shape[0], config)
    rows = values.reshape(1, -1) if values.dim() == 1 else values
    if values.dim() == 1 and order is not None:
        rows, order = rows[:, order], None
    encoded = np.empty((rows.shape[0], tensor.row_bytes), np.uint8)
    off = size = 0.0
    at_once = max(1, _CHUNK // rows.shape[1])
    for start in range(0, rows.shape[0], at_once):
        place = slice(start, start + at_once)
        part = rows[place] if order is None else rows[order[place]]
        encoded[place] = encode(part, tensor.kind, tensor.source or tensor.name)
        if values.dim() > 1 and not exact(values.dtype, tensor.kind):
            wrong, length = squares(part, encoded[place], tensor.kind)
            off, size = off + wrong, size + length
    return encoded, off, size


# --- reading back ---------------------------------------------------------------------------------------


def _compare_content(path: Path, checked: Checked, tokenizer: "PreTrainedTokenizerFast") -> None:
    """Raise ConvertError unless a file is a model that loads here, of the same shape and tokens."""
    from llama_nb.loading import gguf_tokenizer

    back = check_gguf(path, checked.name)
    same = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    texts = samples(tokenizer.backend_tokenizer)
    assert back.gguf is not None
    found = gguf_tokenizer.read(back.gguf)(texts).input_ids
    if found != tokenizer(texts).input_ids or any(back.config[key] != checked.config[key] for key in same):
        raise ConvertError(
            f"{checked.name} does not come back from GGUF as it is: its tokens or its shape differ.",
            "llama.cpp's convert_hf_to_gguf.py may know it.",
        )
