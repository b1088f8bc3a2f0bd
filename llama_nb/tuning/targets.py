"""Which layers of a model an adapter sits on: those that are there, and those that a recipe's `target` names.

Knows modules and their names; knows nothing of ranks or of training.
"""

from collections.abc import Iterable
from typing import Any, Final

from torch import nn

from llama_nb.core.errors import AdapterError, nearest
from llama_nb.engines.places import decoder_of

ATTENTION: Final = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL_LINEAR: Final = "all-linear"
_SHOWN: Final = 12


def linear_layers(module: Any) -> dict[str, Any]:
    """Return the linear layers inside a model's decoder layers by their path, in order.

    Embeddings and the head are none of them, and neither are routers: they return more than one product.
    """
    core = decoder_of(module)
    prefix = next(f"{name}." if name else "" for name, part in module.named_modules() if part is core)
    found: dict[str, Any] = {}
    for name, part in core.layers.named_modules():
        if "lora_" in name or name.endswith(".base_layer"):
            continue
        plain = getattr(part, "base_layer", part)
        if isinstance(plain, nn.Linear) and not type(plain).__name__.endswith("Router"):
            found[f"{prefix}layers.{name}"] = plain
    return found


def refuse_dora(module: Any) -> None:
    """Raise AdapterError if `module` holds weights that a DoRA, which reads them whole, would break."""
    if any(type(layer).__name__ == "Linear8bitLt" for layer in linear_layers(module).values()):
        raise AdapterError(
            "A DoRA cannot sit on int8 weights of bitsandbytes: they lose their scales when they are read.",
            "Take method='lora', or load the base with --quant nf4.",
        )


def resolve_target(module: Any, target: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of layers, as peft matches them, that `target` stands for.

    Parameters
    ----------
    target
        "attention" (q, k, v and o), "all-linear", or names: ends of paths, such as "q_proj" or
        "layers.3.mlp.down_proj"; one string may hold several with commas between them.

    Raises
    ------
    AdapterError
        If no layer of the model is called that; names the nearest and those there are.
    """
    paths = linear_layers(module)
    kinds = tuple(dict.fromkeys(path.rpartition(".")[2] for path in paths))
    if target == ALL_LINEAR:
        return tuple(sorted(kinds))
    if target == "attention":
        chosen = tuple(name for name in ATTENTION if name in kinds)
        if not chosen:
            raise AdapterError(
                f"No layer of {type(module).__name__} is called {', '.join(ATTENTION[:-1])} or "
                f"{ATTENTION[-1]}.",
                f"Name those to train: {', '.join(kinds[:_SHOWN])}; or say target='all-linear'.",
            )
        return tuple(sorted(chosen))
    asked = [part.strip() for part in target.split(",")] if isinstance(target, str) else list(target)
    for name in asked:
        if not name or not any(path == name or path.endswith(f".{name}") for path in paths):
            raise _unknown(str(name), kinds)
    return tuple(sorted(set(asked)))


def _unknown(name: str, kinds: tuple[str, ...]) -> AdapterError:
    known = [*kinds, "attention", ALL_LINEAR]
    near = nearest(name.rpartition(".")[2], known)
    ordered = [*near, *(each for each in known if each not in near)]
    return AdapterError(
        f"The model has no layer {name!r} to put an adapter on.",
        f"There are: {', '.join(ordered[:_SHOWN])}.",
    )
