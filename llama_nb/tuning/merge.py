"""A base with an adapter in its weights, as a model folder of its own.

The unquantised weights are read from the base's files, tensor by tensor, summed in float32 and stored in
their own dtype; so no quantised copy in memory decides what is written. Knows files, no engines.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from llama_nb.core.errors import AdapterError
from llama_nb.core.events import Progress, publish
from llama_nb.core.stop import StopFlag
from llama_nb.loading.check import Checked
from llama_nb.loading.folder import INDEX, SINGLE
from llama_nb.loading.reading import check_stop
from llama_nb.tuning.adapters import AdapterSet

SHARD_BYTES: Final = 2_000_000_000
_STORED: Final = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# What belongs to a model beside its weights; licences ask to be handed on.
_BESIDE: Final = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json", "LICENSE",
    "LICENSE.txt", "LICENSE.md", "NOTICE", "USE_POLICY.md",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Update:
    """What an adapter adds to one layer's weight.

    Attributes
    ----------
    down, up
        A, shape (rank, inputs), and B, shape (outputs, rank); float32, copies.
    scale
        What B·A is multiplied with, the adapter's weight in a mix included.
    magnitude
        Of a DoRA: the length of each row of the sum, shape (outputs,).
    """

    down: torch.Tensor
    up: torch.Tensor
    scale: float
    magnitude: torch.Tensor | None = None

    def add_to(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the sum with `weight`, float32 of shape (outputs, inputs)."""
        total = weight + self.scale * (self.up @ self.down)
        if self.magnitude is None:
            return total
        return total * (self.magnitude / torch.linalg.norm(total, dim=1)).unsqueeze(1)


def take_updates(adapters: AdapterSet, weights: Mapping[str, float]) -> dict[str, list[Update]]:
    """Return what these adapters add, by the path of the layer; copies that outlive the module.

    Raises
    ------
    AdapterError
        If there is no such adapter.
    """
    found: dict[str, list[Update]] = {}
    for name, weight in weights.items():
        for path, layer, key, scale in adapters.factors(name):
            dora = layer.lora_magnitude_vector
            found.setdefault(path, []).append(
                Update(
                    _copy(layer.lora_A[key].weight),
                    _copy(layer.lora_B[key].weight),
                    weight * scale,
                    _copy(dora[key].weight) if key in dora else None,
                )
            )
    return found


@torch.inference_mode()
def logits_behind(
    module: Any, texts: Sequence[Sequence[int]], stopped: Callable[[], str | None] = lambda: None
) -> list[torch.Tensor]:
    """Return the logits behind each token of each text, float32 of shape (tokens, V), on the CPU."""
    found = []
    for ids in texts:
        if stopped() is None:
            inputs = torch.tensor([list(ids)], device=module.device)
            found.append(module(input_ids=inputs, use_cache=False).logits[0].float().cpu())
    return found


def check_base(base: Checked, updates: Mapping[str, Sequence[Update]]) -> None:
    """Raise AdapterError if `base` is not stored as plain weights, or lacks a layer of the adapter."""
    if base.gguf is not None or base.stored is not None:
        how = "in a GGUF file" if base.gguf is not None else "quantised"
        raise AdapterError(
            f"{base.name} is stored {how}: an adapter is merged into plain weights only.",
            "Load the model that it was made from, load the adapter onto it, and merge there.",
        )
    for path in updates:
        if f"{path}.weight" not in base.tensors:
            raise AdapterError(
                f"The files of {base.name} have no tensor {path}.weight to merge into.",
                "They hold several layers in one tensor: keep the adapter beside the model.",
            )


def write_merged(
    base: Checked, updates: Mapping[str, Sequence[Update]], folder: Path, stop: StopFlag | None = None
) -> None:
    """Write the base's files with the updates in its weights into an empty folder.

    Raises
    ------
    AdapterError
        If the base cannot be merged into.
    LoadCancelled
        If `stop` was set.
    """
    check_base(base, updates)
    for name in _BESIDE:
        if (base.folder / name).is_file():
            shutil.copyfile(base.folder / name, folder / name)
    shards = _Shards(folder)
    for name, tensor in _tensors(base, stop):
        path = name.removeprefix(base.prefix).removesuffix(".weight")
        shards.add(name, _sum(tensor, updates[path]) if path in updates else tensor)
    shards.finish()


def _tensors(base: Checked, stop: StopFlag | None) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import safe_open

    what, done, total = f"merging into {base.name}", 0, base.stored_bytes
    try:
        for file in base.files:
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    check_stop(stop, base.name)
                    tensor = opened.get_tensor(name)
                    yield name, tensor
                    done += tensor.nbytes
                    publish(Progress(what, min(done, total), total, "B"))
    finally:
        publish(Progress(what, min(done, total), total, "B", ended=True))


def _sum(tensor: torch.Tensor, updates: Sequence[Update]) -> torch.Tensor:
    if tensor.dtype not in _STORED:
        raise AdapterError(
            f"A weight is stored as {tensor.dtype}: an adapter is merged into plain weights only."
        )
    total = tensor.float()
    for update in updates:
        total = update.add_to(total)
    return total.to(tensor.dtype)


class _Shards:
    """Collects tensors and writes them, a file for each 2 GB; several files get an index."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tensors: dict[str, torch.Tensor] = {}
        self._bytes = 0
        self._files: list[tuple[Path, list[str], int]] = []

    def add(self, name: str, tensor: torch.Tensor) -> None:
        if self._tensors and self._bytes + tensor.nbytes > SHARD_BYTES:
            self._flush()
        self._tensors[name] = tensor
        self._bytes += tensor.nbytes

    def finish(self) -> None:
        self._flush()
        if len(self._files) == 1:
            self._files[0][0].rename(self._folder / SINGLE)
            return
        index: dict[str, str] = {}
        for number, (path, names, _) in enumerate(self._files, 1):
            final = f"model-{number:05d}-of-{len(self._files):05d}.safetensors"
            path.rename(self._folder / final)
            index |= dict.fromkeys(names, final)
        metadata: dict[str, Any] = {"total_size": sum(size for _, _, size in self._files)}
        text = json.dumps({"metadata": metadata, "weight_map": dict(sorted(index.items()))}, indent=1)
        (self._folder / INDEX).write_text(f"{text}\n", encoding="utf-8")

    def _flush(self) -> None:
        from safetensors.torch import save_file

        path = self._folder / f"part-{len(self._files)}.safetensors"
        save_file(self._tensors, path, {"format": "pt"})
        self._files.append((path, list(self._tensors), self._bytes))
        self._tensors, self._bytes = {}, 0


def _copy(value: torch.Tensor) -> torch.Tensor:
    return value.detach().to("cpu", torch.float32, copy=True)
