"""A tuned lens on disk: an affine translator a layer (Belrose et al. 2023, https://arxiv.org/abs/2303.08112).

The layout is that of the authors' library `tuned-lens`: config.json with d_model and num_hidden_layers, and
the parameters as 0.weight, 0.bias, 1.weight and so on, where number k takes what enters layer k. The library
writes a pickle, which is never opened here; the same tensors are read from a safetensors file.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import safe_open

from llama_nb.core.errors import LoadError
from llama_nb.interpret.logit_lens import find_stack
from llama_nb.loading.headers import TensorInfo, read_header

_CONFIG: Final = "config.json"
_PREFIX: Final = "layer_translators."
_LARGEST_CONFIG: Final = 1_000_000  # bytes
_CONVERT: Final = (
    "Convert it once, where you trust it: `from safetensors.torch import save_file; import torch; "
    'save_file(torch.load("params.pt", weights_only=True), "params.safetensors")`'
)


class TunedLens:
    """The translators of one model.

    A translator adds an affine map of the state to the state, as the library has it: with zeros it is the
    logit lens. There is none behind the last layer.

    Attributes
    ----------
    name
        The file's or folder's name.
    """

    def __init__(self, name: str, weights: list[torch.Tensor], biases: list[torch.Tensor | None]) -> None:
        self.name = name
        self._weights, self._biases = weights, biases

    def __call__(self, states: torch.Tensor, depth: int) -> torch.Tensor:
        """Return states of shape (n, hidden) as the last layer would have them, in their own dtype."""
        if depth >= len(self._weights):
            return states
        weight, bias = self._weights[depth].to(states.device), self._biases[depth]
        wide = states.to(weight.dtype)
        moved = torch.nn.functional.linear(wide, weight, None if bias is None else bias.to(states.device))
        return (wide + moved).to(states.dtype)

    def __repr__(self) -> str:
        return f"TunedLens({self.name}: {len(self._weights)} translators)"


def load_tuned_lens(path: str | Path, module: Any, fingerprint: str) -> TunedLens:
    """Read a tuned lens for `module`.

    Parameters
    ----------
    path
        A folder with config.json and one safetensors file, or that file.
    fingerprint
        Of the loaded model; compared where config.json names one as "fingerprint".

    Raises
    ------
    LoadError
        If there is none, it is a pickle or damaged, or it belongs to another model.
    """
    file = _find(Path(path).expanduser())
    name = file.parent.name if file.stem == "params" else file.stem
    config = _config(file.with_name(_CONFIG), name)
    count, hidden = len(find_stack(module).layers), int(module.config.get_text_config().hidden_size)
    _check_model(config, name, count, hidden, fingerprint)
    _check_unembedding(config, name, module)
    names = _names(read_header(file), name, count, hidden)
    with safe_open(file, framework="pt") as stored:
        weights = [stored.get_tensor(weight).float() for weight, _ in names]
        biases = [None if bias is None else stored.get_tensor(bias).float() for _, bias in names]
    for layer, tensor in enumerate(weights):
        if not tensor.isfinite().all():
            raise LoadError(f"Translator {layer} of {name} has NaN or infinite values: the file is damaged.")
    return TunedLens(name, weights, biases)


def _find(path: Path) -> Path:
    if path.is_dir():
        found = sorted(path.glob("*.safetensors"))
        if len(found) == 1:
            return found[0]
        if not found and any(path.glob("*.pt")):
            raise LoadError(f"{path.name} holds a tuned lens as a pickle, which can run code.", _CONVERT)
        raise LoadError(
            f"{path.name or path} has {len(found)} safetensors files; a tuned lens is one, beside {_CONFIG}.",
            "Name the file.",
        )
    if not path.is_file():
        raise LoadError(f"There is no tuned lens at {str(path)!r}.", "Name a folder or a safetensors file.")
    if path.suffix != ".safetensors":
        raise LoadError(f"{path.name} is not a safetensors file; pickles can run code.", _CONVERT)
    return path


def _config(path: Path, name: str) -> Mapping[str, Any]:
    if not path.is_file() or path.stat().st_size > _LARGEST_CONFIG:
        raise LoadError(
            f"The tuned lens {name} has no {_CONFIG} beside it: what model it is for is not known.",
            "The library tuned-lens writes both into one folder.",
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise LoadError(f"The {_CONFIG} of the tuned lens {name} is not a JSON object.")
    return config


def _check_model(config: Mapping[str, Any], name: str, layers: int, hidden: int, fingerprint: str) -> None:
    for key, own in (("num_hidden_layers", layers), ("d_model", hidden)):
        if config.get(key) != own:
            of = config.get("base_model_name_or_path")
            raise LoadError(
                f"The tuned lens {name} has {key} {config.get(key)!r}; this model has {own}.",
                f"It was made for {of}." if isinstance(of, str) and of else "It belongs to another model.",
            )
    if config.get("fingerprint") not in (None, fingerprint):
        raise LoadError(
            f"The tuned lens {name} was made for the weights {str(config['fingerprint'])[:16]!r}; "
            f"these are {fingerprint[:16]!r}.",
            "Load the model that it was made for.",
        )


def _check_unembedding(config: Mapping[str, Any], name: str, module: Any) -> None:
    """Compare the unembedding with the hash that the library writes: of its corners, to one digit."""
    weight = getattr(module.get_output_embeddings(), "weight", None)
    if config.get("unembed_hash") is None or weight is None or weight.dtype not in _PLAIN:
        return
    array = weight.detach().cpu()
    shown = np.array_str((array.float() if array.dtype == torch.bfloat16 else array).numpy(), precision=1)
    if hashlib.sha256(shown.encode()).hexdigest() != config["unembed_hash"]:
        raise LoadError(
            f"The tuned lens {name} was made for another unembedding: unembed_hash differs.",
            f"Load the model that it was made for; without unembed_hash in {_CONFIG} it is not compared.",
        )


_PLAIN: Final = (torch.float32, torch.float16, torch.bfloat16)


def _names(
    tensors: Mapping[str, TensorInfo], name: str, layers: int, hidden: int
) -> list[tuple[str, str | None]]:
    """The tensors of each translator, their names and shapes checked."""
    prefix = _PREFIX if any(key.startswith(_PREFIX) for key in tensors) else ""
    found: list[tuple[str, str | None]] = []
    for layer in range(layers):
        weight, bias = f"{prefix}{layer}.weight", f"{prefix}{layer}.bias"
        for key, shape in ((weight, (hidden, hidden)), (bias, (hidden,))):
            held = tensors.get(key)
            if held is None and key == bias:
                continue
            if held is None:
                raise LoadError(f"The tuned lens {name} has no tensor {key}.", "The file is incomplete.")
            if held.shape != shape:
                raise LoadError(f"{key} of the tuned lens {name} has shape {held.shape}, not {shape}.")
        found.append((weight, bias if bias in tensors else None))
    return found
