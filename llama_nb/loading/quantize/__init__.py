"""Quantisation while loading: which methods there are, and which of them run here.

A method is a file of this package with the members of `Method`; its NAME is the file's, with "-" for "_".
Adding one touches nothing else. What a library's methods share is in a file without NAME. Checkpoints that
are quantised already are the concern of `llama_nb.loading.stored`. Knows nothing of files and plans.
"""

import functools
import importlib
import importlib.util
import pkgutil
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from llama_nb.core.errors import LoadError, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Layers = Mapping[str, tuple[int, int]]

# The layer that makes logits of the last state: it stays as it is, like the embedding that it may be tied to.
HEAD: Final = "lm_head"
ROUTER: Final = "it chooses the experts"
# A linear layer's name in its layer, without the block that it is in.
_IN_LAYER: Final = re.compile(r".*\blayers\.\d+\.(?:self_attn|mlp|feed_forward)\.")
# What people call the methods elsewhere.
_ALIASES: Final[Mapping[str, str]] = {
    "4bit": "nf4", "4bits": "nf4", "4-bit": "nf4", "4": "nf4", "int4": "nf4", "bnb4": "nf4", "qlora": "nf4",
    "8bit": "int8", "8bits": "int8", "8-bit": "int8", "8": "int8", "q8": "int8", "bnb8": "int8",
}  # fmt: skip


class Method(Protocol):
    """What the file of a method exports. Importing it imports neither torch nor the method's library.

    Attributes
    ----------
    NAME
        As in `--quant NAME`.
    SUMMARY
        A few words for lists and completion.
    LIBRARY
        The import name of what it needs ("optimum.quanto").
    """

    NAME: str
    SUMMARY: str
    LIBRARY: str

    def refusal(self, device: str) -> str | None:
        """Return a sentence that says why it does not run on `device` here; None when it does.

        That the library is there has been checked before.
        """

    def config(self, keep: Sequence[str]) -> Any:
        """Return transformers' quantisation config; the modules in `keep` stay in the model's dtype."""

    def takes(self, out_features: int, in_features: int) -> bool:
        """Whether it can quantise a linear layer of this shape."""

    def finish(self, module: "PreTrainedModel") -> None:
        """Set on a model that was read with it what makes it safe to use."""


def names() -> tuple[str, ...]:
    """Return the names of all methods, whether they run here or not."""
    return tuple(_methods())


def find(name: str) -> Method:
    """Return the method called `name`; LoadError with the nearest name otherwise."""
    methods = _methods()
    if isinstance(name, str) and name in methods:
        return methods[name]
    text = str(name).lower().replace("_", "-")
    known = ("none", "auto", *methods)
    alias = text if text in known else _ALIASES.get(text)
    near = f"Did you mean {alias!r}?" if alias else did_you_mean(text, known)
    raise LoadError(
        f"quant is {str(name)[:40]!r}; it must be one of {', '.join(known)}.",
        near or "auto chooses by the free memory.",
    )


def refusal(method: Method, device: str) -> str | None:
    """Return why `method` cannot run on `device` here, its library missing included; None when it can."""
    return library_missing(method.LIBRARY, f"quant {method.NAME}") or method.refusal(device)


def require(method: Method, device: str) -> None:
    """Raise LoadError, naming the methods that run here, unless `method` runs on `device`."""
    reason = refusal(method, device)
    if reason is not None:
        others = ", ".join(available(device)) or "none"
        raise LoadError(reason, f"Methods that run here on {device}: {others}.")


def available(device: str) -> tuple[str, ...]:
    """Return the names of the methods that run on `device` here."""
    return tuple(name for name, method in _methods().items() if refusal(method, device) is None)


def library_missing(library: str, what: str) -> str | None:
    """Return a sentence with the pip line if `library` is not installed; it is looked for, not imported."""
    try:
        found = importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        found = False
    if found:
        return None
    return f"{what} needs {library.replace('.', '-')}: `pip install 'llama-nb[quant]'`"


def kept(method: Method, linear: Layers, routers: Collection[str] = ()) -> dict[str, str]:
    """Return, by module name, why a linear layer is not quantised: head, routers, what it cannot take.

    Parameters
    ----------
    linear
        (out, in) features of all linear layers by module name.
    routers
        Those that choose experts. Libraries would put a plain layer in their place, which does not.
    """
    reasons = {}
    for name, (rows, columns) in linear.items():
        if name == HEAD:
            reasons[name] = "the head"
        elif name in routers:
            reasons[name] = ROUTER
        elif not method.takes(rows, columns):
            reasons[name] = f"{method.NAME} cannot take {columns:,} inputs x {rows:,} outputs"
    return reasons


def describe(kept: Mapping[str, str], linear: Layers, dtype: str) -> tuple[str, ...]:
    """Return sentences on the layers that stayed in `dtype` although a method was asked for.

    Parameters
    ----------
    kept
        What `kept` returned. Routers are the business of `describe_experts`.
    """
    silent = {name for name, reason in kept.items() if name == HEAD or reason == ROUTER}
    groups: Counter[tuple[str, str]] = Counter(
        (_IN_LAYER.sub("", name), reason) for name, reason in kept.items() if name not in silent
    )
    if groups and groups.total() == sum(name not in silent for name in linear):
        reasons = ", ".join(dict.fromkeys(reason for _, reason in groups))
        return (f"No layer is quantised, all stayed in {dtype}: {reasons}.",)
    return tuple(
        f"{layer} stayed in {dtype} in {count} {'layer' if count == 1 else 'layers'}: {reason}."
        for (layer, reason), count in groups.items()
    )


def describe_experts(method: Method, share: float, dtype: str) -> str:
    """Return the sentence on experts that lie in one tensor for all: `share` (0 to 1) of the parameters."""
    return (
        f"The experts, {share:.0%} of the parameters, and the routers stayed in {dtype}: {method.NAME} takes "
        "linear layers only."
    )


@functools.cache
def _methods() -> dict[str, Method]:
    found = {}
    for entry in pkgutil.iter_modules(__path__):
        if not entry.ispkg:
            module: Any = importlib.import_module(f"{__name__}.{entry.name}")
            if hasattr(module, "NAME"):
                found[module.NAME] = cast("Method", module)
    return found
