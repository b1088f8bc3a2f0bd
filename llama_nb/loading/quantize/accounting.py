"""The memory that a model's tensors take, whatever library holds them, and how they give it back.

transformers' get_memory_footprint() counts the outer shape of torchao's and quanto's tensors and misses
bitsandbytes' scales. Here each tensor is followed to the plain tensors that hold its bytes.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

# bitsandbytes' look-up tables: one for all models of the process, so no model may empty them.
_SHARED: Final = {"code", "quant_map", "nested_quant_map"}
# The outlier columns of int8's last input: work, not weights.
_WORK: Final = {"idx"}


def plain_tensors(module: "torch.nn.Module") -> Iterator["torch.Tensor"]:
    """Yield the plain tensors that hold the bytes of a module's parameters, buffers and scales.

    Several may share one storage (tied weights).
    """
    seen: set[int] = set()
    for part in module.modules():
        for _, tensor in held(part, seen):
            yield tensor


def held(part: "torch.nn.Module", seen: set[int]) -> Iterator[tuple[str, "torch.Tensor"]]:
    """Yield the plain tensors that a module holds itself, each with the name of what it is in.

    `seen` gets the objects that were looked into, so that none is yielded twice.
    """
    named = (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False), *vars(part).items())
    for name, value in named:
        for tensor in _inside(value, seen):
            yield name, tensor


def _inside(value: Any, seen: set[int]) -> Iterator["torch.Tensor"]:
    """Yield the plain tensors in a tensor, or in one of bitsandbytes' states (QuantState, MatmulLtState)."""
    import torch

    is_tensor = isinstance(value, torch.Tensor)
    if id(value) in seen or not (is_tensor or _is_state(value)):
        return
    seen.add(id(value))
    wrapped = _wrapped(value) if is_tensor else []
    if is_tensor and not wrapped:
        yield value
    fields = vars(value) if hasattr(value, "__dict__") else {}
    inner = [getattr(value, name) for name in wrapped]
    inner += [field for name, field in fields.items() if name not in _SHARED | _WORK and name not in wrapped]
    for field in inner:
        yield from _inside(field, seen)


def _is_state(value: Any) -> bool:
    kind = type(value)
    return kind.__module__.startswith("bitsandbytes.") and kind.__name__ in ("QuantState", "MatmulLtState")


def _wrapped(tensor: Any) -> list[str]:
    """The attributes in which a wrapper subclass (torchao's, quanto's) keeps its tensors."""
    flatten = getattr(type(tensor), "__tensor_flatten__", None)
    return list(flatten(tensor)[0]) if flatten is not None else []


def tensor_bytes(module: "torch.nn.Module") -> int:
    """Return the bytes of a module's tensors; what shares its memory counts once."""
    storages = [tensor.untyped_storage() for tensor in plain_tensors(module)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def empty(module: "torch.nn.Module") -> int:
    """Empty a module's tensors in place and return their bytes; references to them stay valid objects."""
    import torch

    freed = tensor_bytes(module)
    for tensor in list(plain_tensors(module)):
        tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    for parameter in module.parameters():
        parameter.grad = None
    return freed
