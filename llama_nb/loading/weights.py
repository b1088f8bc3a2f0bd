"""Weights into memory, and out of it again.

`read` takes a folder that `check` passed; transformers reads the tensors, quietly, without network and
without code from the model. `release` gives the memory back whatever still refers to the model.
"""

import contextlib
import ctypes
import gc
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import LoadError, did_you_mean
from llama_nb.core.stop import StopFlag
from llama_nb.loading import gguf_model, gguf_tokenizer, quantize, reading, stored
from llama_nb.loading.check import Checked
from llama_nb.loading.config import KINDS
from llama_nb.loading.expected import attention_of, build_config, import_models, quiet_transformers
from llama_nb.loading.folder import read_json
from llama_nb.loading.quantize import accounting
from llama_nb.loading.tokenizer import read_tokenizer
from llama_nb.loading.turn import turn, undisturbed
from llama_nb.runtime import devices, process

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

DTYPES: Final = ("auto", "float32", "bfloat16", "float16")
_SHORT: Final[Mapping[str, str]] = {
    "fp32": "float32", "f32": "float32", "float": "float32",
    "bf16": "bfloat16",
    "fp16": "float16", "f16": "float16", "half": "float16",
}  # fmt: skip
# Below this a model runs in float32, where cached, chunked and stopped decoding agree token for token.
SMALL: Final = 20_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model in memory with what belongs to it.

    Attributes
    ----------
    dtype, device
        What was chosen, never "auto".
    quant
        The quantisation in use: a method's name, or what the checkpoint came in ("bitsandbytes nf4").
    bytes
        Bytes of the tensors in memory, quantised ones and their scales as they are stored.
    generation
        The content of generation_config.json, empty when there is none.
    quant_notes
        Sentences on what the quantisation left out: layers that stayed in `dtype`, memory not saved.
    """

    module: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    checked: Checked
    dtype: str
    device: str
    quant: str | None
    bytes: int
    generation: Mapping[str, Any]
    chat_template: str | None
    quant_notes: tuple[str, ...] = ()


def parse_dtype(asked: str) -> str:
    """Return the full name of a dtype, or "auto"; LoadError with the nearest name for anything else."""
    name = _SHORT.get(asked, asked) if isinstance(asked, str) else str(asked).removeprefix("torch.")
    if name not in DTYPES and name in quantize.names():
        raise LoadError(f"dtype is {asked!r}, which is a quantisation.", f"Use `--quant {asked}`")
    if name not in DTYPES:
        near = did_you_mean(name, [*DTYPES, *_SHORT]) or "auto chooses by the model's size and the device."
        raise LoadError(f"dtype is {asked!r}; it must be one of {', '.join(DTYPES)}.", near)
    return name


def parse_quant(asked: str | None) -> str | None:
    """Return the name of a quantisation method, "auto", or None; LoadError with the nearest otherwise."""
    if asked in (None, "none"):
        return None
    return "auto" if asked == "auto" else quantize.find(asked).NAME


def choose_dtype(asked: str, checked: Checked, device: str, quant: str | None = None) -> str:
    """Return the dtype to load in when `asked` may be "auto".

    Small models run in float32, quantised they compute in bfloat16. Larger ones keep their half precision on
    a GPU and run in bfloat16 on a CPU, where float32 at batch 1 is the slowest of all choices.
    """
    name = parse_dtype(asked)
    if name != "auto":
        return name
    if checked.parameters < SMALL and quant is None and checked.stored is None:
        return "float32"
    if device == "cpu":
        return "bfloat16"
    stored = {info.dtype for info in checked.tensors.values()}
    return "float16" if stored == {"F16"} or device == "mps" else "bfloat16"


def read(
    checked: Checked,
    *,
    dtype: str = "auto",
    device: str = "auto",
    quant: str | None = None,
    tokenizer: "PreTrainedTokenizerFast | None" = None,
    stop: StopFlag | None = None,
) -> Loaded:
    """Read the weights of a checked folder, and give everything back if that fails or is interrupted.

    Parameters
    ----------
    dtype
        One of `DTYPES` or a short form ("bf16"): that of the weights, or of what a quantisation leaves.
    device
        "auto", "cpu", "cuda" or "mps".
    quant
        The name of a quantisation method, or None.
    tokenizer
        The model's tokenizer, where it was read before.
    stop
        Ends the reading between two tensors.

    Raises
    ------
    LoadError
        If a value is unknown, the device absent, the method cannot run there, or the weights are not exactly
        those of the config.
    LoadCancelled
        If `stop` was set.
    """
    method = quantize.find(quant) if quant not in (None, "none") else None
    parse_dtype(dtype)
    torch = import_torch()
    device = devices.pick_device(device)
    check_quant(checked, method, device)
    chosen = choose_dtype(dtype, checked, device, quant)
    tokenizer = tokenizer or tokenizer_of(checked)
    has_settings = checked.gguf is None and (checked.folder / "generation_config.json").exists()
    generation = read_json(checked.folder, "generation_config.json") if has_settings else {}
    kept = quantize.kept(method, checked.linear, checked.routers) if method else {}
    random_state = torch.get_rng_state()
    try:
        with turn(stop, checked.name):
            module = _read_module(checked, getattr(torch, chosen), device, method, [*kept], stop)
    except BaseException as error:
        # A traceback that a notebook keeps must not keep a half-read model.
        reading.drop_frames(error)
        _return_free_pages()
        raise
    finally:
        torch.set_rng_state(random_state)
    if method is not None and device == "cpu":
        _leave_files(module)
    size = accounting.tensor_bytes(module)
    notes = quantize.describe(kept, checked.linear, chosen) if method else ()
    if method is not None and checked.experts:
        share = checked.experts / checked.parameters
        notes = (quantize.describe_experts(method, share, chosen), *notes)
    return Loaded(
        module=module,
        tokenizer=tokenizer,
        checked=checked,
        dtype=chosen,
        device=device,
        quant=method.NAME if method else checked.stored.label if checked.stored else None,
        bytes=size,
        generation=generation,
        chat_template=_template(tokenizer),
        quant_notes=(*gguf_model.notes(checked, chosen, size), *notes),
    )


def tokenizer_of(checked: Checked) -> "PreTrainedTokenizerFast":
    """Return the tokenizer of a checked model, be it a folder or a GGUF file."""
    tokenizer = read_tokenizer(checked.folder) if checked.gguf is None else gguf_tokenizer.read(checked.gguf)
    # Of Llama 3's 161 MB were resident, and 53 MB are needed.
    _return_free_pages()
    return tokenizer


def check_quant(checked: Checked, method: quantize.Method | None, device: str) -> None:
    """Raise LoadError unless the weights can be quantised by `method`, or used as they are, on `device`."""
    if checked.stored is not None:
        stored.refuse_again(checked.stored, checked.name, method.NAME if method else None)
        stored.require(checked.stored, checked.name, device)
    elif method is not None:
        gguf_model.refuse_again(checked, method.NAME)
        quantize.require(method, device)


def import_torch() -> Any:
    """Import torch with the settings that it reads once."""
    process.prepare()
    import torch

    return torch


def _read_module(
    checked: Checked,
    dtype: "torch.dtype",
    device: str,
    method: quantize.Method | None,
    keep: list[str],
    stop: StopFlag | None,
) -> "PreTrainedModel":
    try:
        models, place, found = _source(checked, dtype, stop)
        sizes = {name: info.bytes for name, info in checked.tensors.items()}
        # A GGUF has been read by now.
        watched = reading.watched(checked.name, sizes, stop) if place else contextlib.nullcontext()
        with quiet_transformers(), undisturbed(), watched:
            module, report = models.from_pretrained(
                place,
                config=build_config(checked.config),
                dtype=dtype,
                device_map=None if device == "cpu" else device,
                attn_implementation=attention_of(checked.config),
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **found,
                **({"quantization_config": method.config(keep)} if method else {}),
            )
    except LoadError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise LoadError(
            f"The weights of {checked.name} cannot be read: {first[0][:200]}",
            "Check the folder and the free memory.",
        ) from error
    report["unexpected_keys"] = [name for name in report["unexpected_keys"] if not _unread(checked, name)]
    wrong = {kind: names for kind, names in report.items() if names}
    if wrong:
        kind, names = next(iter(wrong.items()))
        raise LoadError(
            f"Reading {checked.name} left {kind.replace('_', ' ')}: {', '.join(map(str, list(names)[:3]))}."
        )
    module.eval()
    module.requires_grad_(False)
    finisher = method or (checked.stored.reader if checked.stored else None)
    if finisher is not None:
        finisher.finish(module)
    return module


def _source(
    checked: Checked, dtype: "torch.dtype", stop: StopFlag | None
) -> tuple[Any, str | None, dict[str, Any]]:
    """Return the class that reads, and what from: a folder of safetensors, or the floats of a GGUF file."""
    models = import_models()
    if checked.gguf is None:
        found: dict[str, Any] = {"use_safetensors": True}
        if checked.prefix:
            found["key_mapping"] = {"^" + re.escape(checked.prefix): ""}
        return models, str(checked.folder), found
    import transformers

    # AutoModelForCausalLM asks for a folder even where it gets the weights.
    kind = getattr(transformers, KINDS[checked.model_type])
    return kind, None, {"state_dict": gguf_model.read_weights(checked, dtype, stop)}


def _unread(checked: Checked, name: str) -> bool:
    """Whether a tensor of the files belongs to what stands beside the model that writes text."""
    return bool(checked.prefix) and name not in checked.tensors


def _template(tokenizer: "PreTrainedTokenizerFast") -> str | None:
    template = tokenizer.chat_template
    return template.get("default") if isinstance(template, dict) else template


def release(loaded: Loaded) -> int:
    """Empty every parameter and buffer of a loaded model in place and return the bytes given back.

    References that a notebook keeps (Out, _, tracebacks) stay valid objects but hold no memory.
    """
    return release_module(loaded.module)


def release_module(module: "torch.nn.Module") -> int:
    """Empty a module's tensors in place; return their bytes. A second call returns 0."""
    import torch

    freed = accounting.empty(module)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    _return_free_pages()
    return freed


def _leave_files(module: "torch.nn.Module") -> None:
    """Copy what a quantised model left as it was out of the mapped files, and give back what reading took.

    One norm that lies in a file keeps all of it mapped: 111 million parameters in nf4 took 64 MB and 335 MB
    were resident, 222 MB of them the file and 35 MB freed pages; 81 MB afterwards.
    """
    import torch

    for tensor in [*module.parameters(), *module.buffers()]:
        if type(tensor.data) is torch.Tensor and tensor.is_floating_point():
            tensor.data = tensor.data.clone()
    gc.collect()
    _return_free_pages()


def _return_free_pages() -> None:
    """Hand glibc's free pages back to the system; elsewhere the allocator does as it likes."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
