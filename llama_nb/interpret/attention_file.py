"""An AttentionTrace in a file: safetensors with a JSON header, written whole, checked when it is read.

A file comes from anywhere: names, shapes and ranges are looked at before anything is made of it, and no
code is ever in it. Knows traces; knows no models.
"""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from llama_nb.core.errors import TraceError
from llama_nb.interpret.attention_layer import AttentionLayer, CapturedAttention
from llama_nb.interpret.attention_mask import Allowed
from llama_nb.interpret.trace_header import DamagedError, check_list, check_number, check_text, check_whole

if TYPE_CHECKING:
    from llama_nb.interpret.attention import AttentionTrace

FORMAT: Final = "llama-nb attention"
VERSION: Final = 1
_HINT: Final = "Save it again where it was made: trace.save(...)"
_KINDS: Final = ("full", "sliding", "chunked")
_DTYPES: Final = ("float32", "float16", "bfloat16")
_MOST_LAYERS: Final = 1_000

Header = Mapping[str, Any]


def save_trace(trace: "AttentionTrace", path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a trace into a file and return its path; see `AttentionTrace.save`."""
    target = Path(path).expanduser()
    if target.exists() and not overwrite:
        raise TraceError(f"There is a file {target.name} already.", "Replace it with overwrite=True.")
    header, tensors = _packed(trace)
    part = target.with_name(f".{target.name[:100]}-{secrets.token_hex(4)}")
    try:
        # The empty file is made first, so that nobody else can read what comes into it.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        save_file(tensors, part, metadata={FORMAT: json.dumps(header, ensure_ascii=False)})
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.chmod(0o600)
        part.replace(target)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise TraceError(f"{target} cannot be written: {why}.", "Name another folder.") from error
    finally:
        part.unlink(missing_ok=True)
    return target


def load_trace(path: str | Path) -> "AttentionTrace":
    """Read a trace that `save_trace` wrote; see `AttentionTrace.load`."""
    from llama_nb.interpret.attention import AttentionTrace

    source = Path(path).expanduser()
    if not source.is_file():
        raise TraceError(f"There is no file {source}.", 'trace.save("attention.safetensors") writes one.')
    try:
        with safe_open(source, framework="pt") as file:
            header = _read_header(file.metadata())
            captured = _Reader(file, header).captured()
    except (OSError, SafetensorError, RecursionError) as error:
        raise TraceError(f"{source.name} is damaged or no trace: {error}.", _HINT) from error
    except DamagedError as error:
        raise TraceError(f"{source.name} is damaged or no trace: {error}.", _HINT) from None
    special = set(header["special"])
    return AttentionTrace(
        captured,
        model=header["model"],
        fingerprint=header["fingerprint"],
        title=header["title"],
        ids=header["ids"],
        texts=header["texts"],
        special=[at in special for at in range(len(header["ids"]))],
        prompt=header["prompt"],
        off=header["off"],
    )


def _packed(trace: "AttentionTrace") -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The header and the tensors; layers that allow the same have one mask between them."""
    captured = trace.captured()
    length = captured.length
    tensors: dict[str, torch.Tensor] = {}
    layers: list[dict[str, Any]] = []
    masks: dict[int, int] = {}
    for number, layer in sorted(captured.layers.items()):
        mask = masks.setdefault(id(layer.allowed), len(masks))
        if f"first.{mask}" not in tensors:
            tensors |= _mask_tensors(layer.allowed, mask)
        tensors[f"q.{number}"] = layer.q.cpu().contiguous()
        tensors[f"k.{number}"] = layer.k.cpu().contiguous()
        if layer.sinks is not None:
            tensors[f"sinks.{number}"] = layer.sinks.float().cpu().contiguous()
        layers.append(
            {
                "number": number,
                "kind": captured.kinds[number],
                "scaling": layer.scaling,
                "softcap": layer.softcap,
                "mask": mask,
            }
        )
    header = {
        "version": VERSION,
        "model": trace.model,
        "fingerprint": trace.fingerprint,
        "title": trace.title,
        "off": trace.off,
        "ids": list(trace.ids[:length]),
        "texts": list(trace.texts[:length]),
        "special": [at for at, special in enumerate(trace.special[:length]) if special],
        "prompt": trace.prompt,
        "heads": captured.heads,
        "kv_heads": captured.kv_heads,
        "dtype": captured.dtype,
        "layers": layers,
    }
    return header, tensors


def _mask_tensors(allowed: Allowed, number: int) -> dict[str, torch.Tensor]:
    found = {
        f"first.{number}": torch.from_numpy(allowed.first.copy()),
        f"last.{number}": torch.from_numpy(allowed.last.copy()),
    }
    if allowed.bits is not None:
        found[f"bits.{number}"] = torch.from_numpy(allowed.bits.copy())
    return found


def _read_header(metadata: Mapping[str, str] | None) -> Header:
    """Return the header with every value checked; what the tensors must be follows from it."""
    if not metadata or FORMAT not in metadata:
        raise DamagedError("it is another kind of file")
    try:
        header = json.loads(metadata[FORMAT])
    except ValueError:
        raise DamagedError("its header cannot be read") from None
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise DamagedError("another version of llama-nb wrote it")
    for name in ("model", "fingerprint", "title", "off"):
        check_text(header.get(name), name)
    ids, texts, special = (check_list(header.get(name), name) for name in ("ids", "texts", "special"))
    if not 0 < len(ids) == len(texts):
        raise DamagedError("it has not as many texts as tokens")
    for each in ids:
        check_whole(each, "a token", 0, 2**31)
    for each in texts:
        check_text(each, "a token's text")
    for each in special:
        check_whole(each, "a control token", 0, len(ids))
    check_whole(header.get("prompt"), "prompt", 0, len(ids) + 1)
    check_whole(header.get("heads"), "heads", 1, 100_000)
    check_whole(header.get("kv_heads"), "kv_heads", 1, header["heads"] + 1)
    if header["heads"] % header["kv_heads"]:
        raise DamagedError("its heads are no multiple of its key/value heads")
    if header.get("dtype") not in _DTYPES:
        raise DamagedError("its numbers are in a format that is not known")
    _check_layers(check_list(header.get("layers"), "layers"))
    return header


def _check_layers(layers: list[Any]) -> None:
    if not 0 < len(layers) <= _MOST_LAYERS or not all(isinstance(layer, dict) for layer in layers):
        raise DamagedError("it has no layers")
    for layer in layers:
        check_whole(layer.get("number"), "a layer", 0, 100_000)
        check_whole(layer.get("mask"), "a mask", 0, len(layers))
        if layer.get("kind") not in _KINDS:
            raise DamagedError("a layer is of a kind that is not known")
        check_number(layer.get("scaling"), "scaling")
        if layer.get("softcap") is not None and not check_number(layer["softcap"], "softcap"):
            raise DamagedError("softcap is 0")
    if len({layer["number"] for layer in layers}) < len(layers):
        raise DamagedError("a layer stands in it twice")


class _Reader:
    """Takes the tensors out of an open file, each looked at before it is read."""

    def __init__(self, file: Any, header: Header) -> None:
        self._file, self._header = file, header
        self._names = set(file.keys())
        self._length = len(header["ids"])

    def captured(self) -> CapturedAttention:
        header = self._header
        masks = {number: self._mask(number) for number in {layer["mask"] for layer in header["layers"]}}
        layers = {layer["number"]: self._layer(layer, masks[layer["mask"]]) for layer in header["layers"]}
        if len({layer.q.shape[2] for layer in layers.values()}) > 1:
            raise DamagedError("its layers differ in width")
        return CapturedAttention(
            layers=layers,
            kinds={layer["number"]: layer["kind"] for layer in header["layers"]},
            heads=header["heads"],
            kv_heads=header["kv_heads"],
            length=self._length,
            dtype=header["dtype"],
        )

    def _layer(self, layer: Header, allowed: Allowed) -> AttentionLayer:
        number, heads = layer["number"], self._header["heads"]
        dtype = getattr(torch, self._header["dtype"])
        q = self._tensor(f"q.{number}", (heads, self._length, None), dtype)
        k = self._tensor(f"k.{number}", (self._header["kv_heads"], self._length, q.shape[2]), dtype)
        sinks = None
        if f"sinks.{number}" in self._names:
            sinks = self._tensor(f"sinks.{number}", (heads,), torch.float32)
        for tensor in (q, k, *(() if sinks is None else (sinks,))):
            if not bool(torch.isfinite(tensor).all()):
                raise DamagedError(f"layer {number} has numbers that are infinite or none")
        return AttentionLayer(q, k, allowed, float(layer["scaling"]), layer["softcap"], sinks)

    def _mask(self, number: int) -> Allowed:
        first = self._tensor(f"first.{number}", (self._length,), torch.int32).numpy()
        last = self._tensor(f"last.{number}", (self._length,), torch.int32).numpy()
        if first.min() < 0 or first.max() >= self._length or last.min() < -1 or last.max() >= self._length:
            raise DamagedError("a mask lets a token read what is not there")
        bits = None
        if f"bits.{number}" in self._names:
            shape = (self._length, (self._length + 7) // 8)
            bits = self._tensor(f"bits.{number}", shape, torch.uint8).numpy()
        return Allowed(first.astype(np.int32), last.astype(np.int32), bits)

    def _tensor(self, name: str, shape: tuple[int | None, ...], dtype: torch.dtype) -> torch.Tensor:
        if name not in self._names:
            raise DamagedError(f"the tensor {name} is missing")
        found = tuple(self._file.get_slice(name).get_shape())
        fits = len(found) == len(shape) and all(
            want is None or have == want for have, want in zip(found, shape, strict=True)
        )
        if not fits or 0 in found:
            raise DamagedError(f"the tensor {name} has the shape {found}")
        tensor: torch.Tensor = self._file.get_tensor(name)
        if tensor.dtype != dtype:
            raise DamagedError(f"the tensor {name} holds {tensor.dtype}")
        return tensor
