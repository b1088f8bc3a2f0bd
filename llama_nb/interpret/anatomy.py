"""What a model is made of: its blocks in the order of the forward pass, and every tensor in them.

Reads the tensors of a transformers module, quantised ones too, and the few facts of its config that no shape
shows. Computes no forward pass; what runs through the blocks is `interpret.activations`' business.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from llama_nb.core.errors import UnsupportedError
from llama_nb.loading.quantize.accounting import held

Kind = Literal["embedding", "rope", "norm", "attention", "feed-forward", "experts", "head", "other"]
Fact: TypeAlias = str | int | float | bool
Floats: TypeAlias = npt.NDArray[np.float32]

# Kinds that weigh an expert by the sigmoid of its logit; the others take a softmax.
_SIGMOIDS: Final = ("llama4", "deepseek_v3")
_FEED_FORWARD: Final = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the model.

    Attributes
    ----------
    name
        What it is called in its block: "q_proj.weight".
    shape
        Its shape; of a quantised matrix that of its weights, (outputs, inputs).
    parameters
        How many numbers it holds; 0 for a buffer, and for a tensor that is counted elsewhere (`tied`).
    bytes
        What it takes in memory, scales included; 0 where it shares the memory of a tensor before it.
    dtype
        "float32", or the quantisation: "nf4".
    tied
        Whether it is the same memory as a tensor before it.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    bytes: int
    dtype: str
    tied: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A step of the forward pass with the tensors that it uses.

    Attributes
    ----------
    name
        Its path in the model, or in its layer: "model.norm", "self_attn".
    facts
        What its tensors' shapes do not say: "heads", "kv_heads", "head_dim", "eps", "experts" ...
    """

    name: str
    kind: Kind
    tensors: tuple[Tensor, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """How many parameters it has."""
        return sum(tensor.parameters for tensor in self.tensors)

    @property
    def bytes(self) -> int:
        """Bytes of its tensors in memory."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def tied(self) -> bool:
        """Whether it uses the tensors of another block."""
        return bool(self.tensors) and all(tensor.tied for tensor in self.tensors)


@dataclass(frozen=True, slots=True)
class Layers:
    """Decoder layers that are alike: `numbers` says which, `blocks` what each of them is made of."""

    numbers: tuple[int, ...]
    blocks: tuple[Block, ...]

    @property
    def parameters(self) -> int:
        """How many parameters one of them has."""
        return sum(block.parameters for block in self.blocks)

    @property
    def bytes(self) -> int:
        """Bytes of one of them."""
        return sum(block.bytes for block in self.blocks)


@dataclass(frozen=True, slots=True)
class Structure:
    """All blocks: `first`, then the layers in order of their numbers, then `last`.

    Layers that are alike stand together, each kind where its first one stands.
    """

    first: tuple[Block, ...]
    layers: tuple[Layers, ...]
    last: tuple[Block, ...]

    @property
    def parameters(self) -> int:
        """Distinct parameters of the whole model."""
        return self._total(lambda part: part.parameters)

    @property
    def bytes(self) -> int:
        """Bytes of all tensors, as loading counts them."""
        return self._total(lambda part: part.bytes)

    @property
    def depth(self) -> int:
        """How many layers there are."""
        return sum(len(alike.numbers) for alike in self.layers)

    def _total(self, of: Any) -> int:
        around = sum(of(block) for block in (*self.first, *self.last))
        return int(around + sum(len(alike.numbers) * of(alike) for alike in self.layers))


def decoder(module: Any) -> Any:
    """Return the part of a causal language model that holds its `layers`.

    Raises
    ------
    UnsupportedError
        If there is none: such a model is none that is known here.
    """
    # Llama 4's text model does not name its decoder as transformers' `base_model` expects it.
    for part in (module.base_model, getattr(module, "model", None)):
        layers = getattr(part, "layers", None)
        if isinstance(layers, torch.nn.ModuleList) and len(layers) > 0:
            return part
    raise UnsupportedError(
        f"{type(module).__name__} has no decoder layers that could be looked at.",
        "Models that are built like a Llama have them: %llama load cria",
    )


def dissect(module: Any, quant: str | None = None) -> Structure:
    """Return what `module`, a causal language model of transformers, is made of.

    Parameters
    ----------
    quant
        What a quantised tensor's numbers are called.
    """
    layers = decoder(module).layers
    root = next(path for path, part in module.named_modules() if part is layers)
    tensors = tensors_by_module(module, quant)
    around = [path for path in tensors if not path.startswith(f"{root}.")]
    last = [path for path in around if _kind(path, module.get_submodule(path)) in ("head", "norm")]
    # The modules stand in the order in which they were made: the final norm before the angles of RoPE.
    first = [path for path in around if path not in last]
    alike: dict[str, tuple[list[int], tuple[Block, ...]]] = {}
    for number, layer in enumerate(layers):
        blocks = tuple(_layer_blocks(f"{root}.{number}", layer, tensors, module.config, number))
        alike.setdefault(repr(blocks), ([], blocks))[0].append(number)
    return Structure(
        first=tuple(_block(path, module, tensors) for path in first),
        layers=tuple(Layers(tuple(numbers), blocks) for numbers, blocks in alike.values()),
        last=tuple(_block(path, module, tensors) for path in last),
    )


def norm_weights(module: Any) -> dict[str, Floats]:
    """Return the weights of a model's norms in float32, on the CPU.

    By their names in a layer, shape (layers, hidden), and "norm" for the last one, shape (1, hidden). A norm
    that some layers lack is left out.
    """
    inner = decoder(module)
    layers, last = list(inner.layers), getattr(inner, "norm", None)
    names = [name for name, part in layers[0].named_children() if _kind(name, part) == "norm"]
    found = {
        name: [getattr(getattr(layer, name, None), "weight", None) for layer in layers] for name in names
    }
    found["norm"] = [getattr(last, "weight", None)]
    return {
        name: torch.stack([weight.detach().float().cpu() for weight in weights if weight is not None]).numpy()
        for name, weights in found.items()
        if all(isinstance(weight, torch.Tensor) for weight in weights)
    }


# --- tensors ----------------------------------------------------------------------------------------


def tensors_by_module(module: Any, quant: str | None = None) -> dict[str, list[Tensor]]:
    """Return the tensors of each module that holds some, by its path, in the order of the modules."""
    objects: set[int] = set()
    storages: set[int] = set()
    found = {}
    for path, part in module.named_modules():
        own = _own(part, quant or "quantised", objects, storages)
        if own:
            found[path] = own
    return found


def _own(part: Any, quant: str, objects: set[int], storages: set[int]) -> list[Tensor]:
    """Return what one module holds itself; memory that was counted before has no bytes and is tied."""
    parameters = dict(part.named_parameters(recurse=False))
    matrix = _matrix(part)
    taken: dict[str, int] = defaultdict(int)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in held(part, objects):
        # Codes, scales and states of a quantised matrix all belong to its weight.
        owner = name if name in parameters or matrix is None else "weight"
        shapes.setdefault(owner, tuple(tensor.shape))
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in storages:
            storages.add(storage.data_ptr())
            taken[owner] += storage.nbytes()
    return [
        _tensor(name, parameters.get(name), shapes.get(name, ()), taken.get(name, 0), matrix, quant)
        for name in dict.fromkeys([*parameters, *shapes])
    ]


def _tensor(
    name: str,
    parameter: Any,
    shape: tuple[int, ...],
    taken: int,
    matrix: tuple[int, int] | None,
    quant: str,
) -> Tensor:
    weight = name == "weight" and matrix is not None
    if parameter is not None:
        shape = tuple(parameter.shape)
    if weight and matrix is not None:
        shape = matrix
    counted = parameter is not None or weight
    tied = counted and taken == 0
    return Tensor(
        name=name,
        shape=shape,
        parameters=_product(shape) if counted and not tied else 0,
        bytes=taken,
        dtype=_dtype(parameter, quant) if counted else "float32",
        tied=tied,
    )


def _matrix(part: Any) -> tuple[int, int] | None:
    """The (outputs, inputs) of a linear layer, whatever stores its weights."""
    rows, columns = getattr(part, "out_features", None), getattr(part, "in_features", None)
    return (rows, columns) if isinstance(rows, int) and isinstance(columns, int) else None


def _dtype(parameter: Any, quant: str) -> str:
    plain = type(parameter) in (torch.nn.Parameter, torch.Tensor) and parameter.is_floating_point()
    return str(parameter.dtype).removeprefix("torch.") if plain else quant


def _product(shape: Iterable[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


# --- blocks -----------------------------------------------------------------------------------------


def _layer_blocks(
    root: str, layer: Any, tensors: Mapping[str, list[Tensor]], config: Any, number: int
) -> Iterable[Block]:
    """Yield the blocks of one layer in the order of its computation: a norm stands before what it feeds."""
    named = dict(layer.named_children())
    norms = [name for name in named if _kind(name, named[name]) == "norm"]
    for name in [name for name in named if name not in norms]:
        before = _norm_before(name, norms)
        for each in [*before, name]:
            norms = [norm for norm in norms if norm != each]
            yield _layer_block(f"{root}.{each}", each, named[each], tensors, config, number)
    for name in norms:
        yield _layer_block(f"{root}.{name}", name, named[name], tensors, config, number)


def _norm_before(name: str, norms: list[str]) -> list[str]:
    wanted = "input" if "attn" in name else "post_attention"
    return [norm for norm in norms if norm.startswith(wanted)][:1]


def _layer_block(
    path: str, name: str, part: Any, tensors: Mapping[str, list[Tensor]], config: Any, number: int
) -> Block:
    kind = _kind(name, part)
    return Block(name, kind, tuple(_under(path, tensors)), _facts(kind, part, config, number))


def _block(path: str, module: Any, tensors: Mapping[str, list[Tensor]]) -> Block:
    part = module.get_submodule(path)
    kind = _kind(path, part)
    return Block(path, kind, tuple(tensors[path]), _facts(kind, part, module.config, None))


def _under(path: str, tensors: Mapping[str, list[Tensor]]) -> Iterable[Tensor]:
    """Yield the tensors at `path` and below it, named from there on."""
    for place, own in tensors.items():
        if place != path and not place.startswith(f"{path}."):
            continue
        inner = place.removeprefix(path).removeprefix(".")
        for tensor in own:
            name = f"{inner}.{tensor.name}" if inner else tensor.name
            yield Tensor(name, *(getattr(tensor, key) for key in Tensor.__slots__[1:]))


def _kind(path: str, part: Any) -> Kind:
    name = path.rpartition(".")[2]
    signs: tuple[tuple[Kind, bool], ...] = (
        ("embedding", isinstance(part, torch.nn.Embedding)),
        ("rope", "rotary" in name),
        ("attention", hasattr(part, "q_proj")),
        ("experts", hasattr(part, "experts")),
        ("feed-forward", all(hasattr(part, child) for child in _FEED_FORWARD)),
        ("norm", "norm" in name),
        ("head", _matrix(part) is not None),
    )
    return next((kind for kind, found in signs if found), "other")


def _facts(kind: Kind, part: Any, config: Any, number: int | None) -> dict[str, Fact]:
    if kind == "norm":
        eps = getattr(part, "variance_epsilon", getattr(part, "eps", None))
        return {} if eps is None else {"eps": float(eps)}
    if kind == "attention":
        return _attention_facts(part, config, number or 0)
    if kind == "feed-forward":
        return {"activation": _activation(config)}
    if kind == "experts":
        return _expert_facts(part, config)
    return {}


def _attention_facts(part: Any, config: Any, number: int) -> dict[str, Fact]:
    heads = int(config.num_attention_heads)
    facts: dict[str, Fact] = {
        "heads": heads,
        "kv_heads": int(getattr(config, "num_key_value_heads", None) or heads),
        "head_dim": int(getattr(part, "head_dim", config.hidden_size // heads)),
        "rope": bool(getattr(part, "use_rope", True)),
        "head_norm": any(hasattr(part, name) for name in ("q_norm", "qk_norm")),
    }
    reach = _reach(config, number)
    size = {"sliding": "sliding_window", "chunked": "attention_chunk_size"}.get(reach)
    return facts | {"reach": reach} | ({"window": int(getattr(config, size))} if size else {})


def _reach(config: Any, number: int) -> str:
    """How far back a layer looks: "full", "sliding" or "chunked"."""
    listed = getattr(config, "layer_types", None)
    if listed:
        return str(listed[number]).removesuffix("_attention")
    return "sliding" if getattr(config, "sliding_window", None) else "full"


def _activation(config: Any) -> str:
    return str(getattr(config, "hidden_act", "silu"))


def _expert_facts(part: Any, config: Any) -> dict[str, Fact]:
    return {
        "experts": int(getattr(part, "num_experts", config.num_local_experts)),
        "per_token": int(config.num_experts_per_tok),
        "width": int(getattr(config, "moe_intermediate_size", None) or config.intermediate_size),
        "shared": hasattr(part, "shared_expert") or hasattr(part, "shared_experts"),
        "router": "sigmoid" if str(config.model_type).startswith(_SIGMOIDS) else "softmax",
        "activation": _activation(config),
    }
