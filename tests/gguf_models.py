"""Models in Hugging Face layout written as GGUF files, with the `gguf` package's own writer.

What llama.cpp's converter does for a Llama: names, rows of q and k permuted, one-dimensional tensors in F32,
the scaling of Llama 3.1 as a tensor.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter, LlamaFileType, quants
from gguf.constants import GGMLQuantizationType, TokenType

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(
    folder: Path,
    path: Path,
    *,
    kind: str = "F32",
    pre: str = "llama-bpe",
    whole_tokenizer: bool = False,
    keys: dict[str, Any] | None = None,
    drop: str | None = None,
    tensors: Callable[[dict[str, Any]], dict[str, Any]] = lambda tensors: tensors,
) -> Path:
    """Write the model of `folder` into `path` with matrices of type `kind`, and return `path`.

    `keys` adds or replaces keys, `drop` leaves one out, `tensors` changes the weights; `whole_tokenizer` puts
    tokenizer.json into the file, as the format allows.
    """
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = GGUFWriter(path, "llama")
    _write_shape(writer, config, kind)
    _write_tokenizer(writer, folder, pre, config["vocab_size"])
    if whole_tokenizer:
        writer.add_string("tokenizer.huggingface.json", (folder / "tokenizer.json").read_text("utf-8"))
    if drop is not None:
        del writer.kv_data[0][drop]
    for key, value in (keys or {}).items():
        writer.kv_data[0].pop(key, None)
        (writer.add_string if isinstance(value, str) else writer.add_uint32)(key, value)
    for name, tensor in tensors(load_file(folder / "model.safetensors")).items():
        values = tensor.float().numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            which = "num_attention_heads" if "q_proj" in name else "num_key_value_heads"
            values = permuted(values, config[which])
        _write_tensor(writer, gguf_name(name), values, kind)
    if (config.get("rope_parameters") or {}).get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", _rope_factors(config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_vocabulary(folder: Path, path: Path, pre: str = "llama-bpe") -> Path:
    """Write the tokenizer of `folder` into a GGUF file without a model."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = [*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"])]
    writer = GGUFWriter(path, "llama")
    _write_tokenizer(writer, folder, pre, max(ids) + 1)
    writer.add_tensor("output.weight", np.zeros(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_name(name: str) -> str:
    """Return llama.cpp's name of a tensor of a Llama."""
    stem, suffix = name.rsplit(".", 1)
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", stem)
    found = f"blk.{layer.group(1)}.{_NAMES[layer.group(2)]}" if layer else _NAMES[stem]
    return f"{found}.{suffix}"


def permuted(values: np.ndarray, heads: int) -> np.ndarray:
    """Put the rows of each head in pairs: llama.cpp rotates neighbours, transformers halves."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _write_tensor(writer: GGUFWriter, name: str, values: np.ndarray, kind: str) -> None:
    target = GGMLQuantizationType[kind]
    if values.ndim == 1 or kind == "F32":
        writer.add_tensor(name, values)
        return
    try:
        stored = quants.quantize(values, target)
    except (quants.QuantError, ValueError):  # rows that are no multiple of the blocks stay in F16
        target, stored = GGMLQuantizationType.F16, values.astype(np.float16)
    if target is GGMLQuantizationType.F16:
        writer.add_tensor(name, stored)
    else:
        writer.add_tensor(name, stored, raw_dtype=target)


def _write_shape(writer: GGUFWriter, config: dict[str, Any], kind: str) -> None:
    writer.add_name("a test's model")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(width)
    if width * config["num_attention_heads"] != config["hidden_size"]:
        writer.add_key_length(width)
        writer.add_value_length(width)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(LlamaFileType["ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"])


def _write_tokenizer(writer: GGUFWriter, folder: Path, pre: str, rows: int) -> None:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = content["model"]["byte_fallback"]
    tokens = [f"[PAD{number}]" for number in range(rows)]
    kinds = [TokenType.UNUSED] * len(tokens)
    for text, number in content["model"]["vocab"].items():
        byte = pieces and re.fullmatch(r"<0x[0-9A-F]{2}>", text)
        tokens[number], kinds[number] = text, TokenType.BYTE if byte else TokenType.NORMAL
    for token in content["added_tokens"]:
        unknown = token["content"] == content["model"].get("unk_token")
        tokens[token["id"]] = token["content"]
        kinds[token["id"]] = TokenType.UNKNOWN if unknown else TokenType.CONTROL
    writer.add_tokenizer_model("llama" if pieces else "gpt2")
    writer.add_tokenizer_pre("default" if pieces else pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if pieces:
        writer.add_token_scores(_scores(tokens, content))
        writer.add_add_space_prefix(True)
    else:
        merges = content["model"]["merges"]
        writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in merges])
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    writer.add_bos_token_id(tokens.index(settings["bos_token"]))
    writer.add_eos_token_id(tokens.index(settings["eos_token"]))
    if settings.get("unk_token"):
        writer.add_unk_token_id(tokens.index(settings["unk_token"]))
    writer.add_add_bos_token(True)
    if (folder / "chat_template.jinja").is_file():
        writer.add_chat_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))


def _scores(tokens: list[str], content: dict[str, Any]) -> list[float]:
    """SentencePiece's score of a piece: the earlier it was merged, the higher."""
    merged = [
        "".join(pair.split(" ") if isinstance(pair, str) else pair) for pair in content["model"]["merges"]
    ]
    rank = {piece: -float(position) for position, piece in reversed(list(enumerate(merged)))}
    return [rank.get(token, -1e6) for token in tokens]


def _rope_factors(config: dict[str, Any]) -> np.ndarray:
    """What transformers divides the frequencies by, from its own computation."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    settings = LlamaConfig(**config)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](settings, "cpu")
    width = settings.head_dim
    plain = config["rope_parameters"]["rope_theta"] ** -(np.arange(0, width, 2, dtype=np.float64) / width)
    return (plain / scaled.double().numpy()).astype(np.float32)
