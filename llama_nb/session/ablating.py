"""Parts of a model turned off for a block of code: what is off, for which model, and for whom.

What is off stands in a context variable: requests that are made in the block copy it, nothing else sees it.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from llama_nb.core.errors import InterventionError, UnsupportedError
from llama_nb.core.intervention import Intervention, Mode, Site, check_parts, merged, names, read_part
from llama_nb.core.request import Request
from llama_nb.session.asking import check_text

if TYPE_CHECKING:
    from llama_nb.session.handle import Handle
    from llama_nb.session.model import Model

T = TypeVar("T")
Work = Callable[[Any, Callable[[], str | None]], T]
_Off = tuple[tuple["Handle", tuple[Intervention, ...]], ...]
_off: contextvars.ContextVar[_Off] = contextvars.ContextVar("what is turned off in models", default=())


def active(model: "Handle") -> tuple[Intervention, ...]:
    """Return what is turned off in `model` for who asks here; nothing outside of `Model.ablate`."""
    return next((parts for held, parts in _off.get() if held is model), ())


@contextlib.contextmanager
def turned_off(model: "Handle", parts: Sequence[Intervention]) -> Iterator[tuple[Intervention, ...]]:
    """Turn `parts` off, besides those that are off already, for what is asked of `model` in the block.

    Raises
    ------
    InterventionError
        On entering, if the block and those around it leave a token no expert.
    """
    together = merged(active(model), parts)
    check_against(model, together)
    token = _off.set((*(pair for pair in _off.get() if pair[0] is not model), (model, together)))
    try:
        yield together
    finally:
        # Left in another context than it was entered in: there nothing was ever off.
        with contextlib.suppress(ValueError):
            _off.reset(token)


def carrying(model: "Handle", request: Request) -> Request:
    """Return a request to `model` with what is turned off here."""
    return dataclasses.replace(request, interventions=active(model))


def without(parts: Sequence[Intervention], prompt: Sequence[int], work: Work[T]) -> Work[T]:
    """Return `work(module, stopped)` with parts turned off around it; means are taken over `prompt`."""

    def changed(module: Any, stopped: Callable[[], str | None]) -> T:
        from llama_nb.interpret.interventions import applied

        with applied(module, parts, prompt=prompt, stopped=stopped):
            return work(module, stopped)

    return changed if parts else work


def refuse_in_block(model: "Handle", what: str) -> None:
    """Raise UnsupportedError where something is turned off and `what` would not heed it."""
    off = active(model)
    if off:
        raise UnsupportedError(
            f"{what} takes the whole of {model.name}, and here {names(off)}.",
            "Call it behind the block of m.ablate or m.route.",
        )


def extent(model: "Handle") -> tuple[int, int]:
    """Return how many layers a model has, and heads a layer."""
    config = model.checked.config
    config = config.get("text_config") or config
    return int(config["num_hidden_layers"]), int(config["num_attention_heads"])


def check_against(model: "Handle", parts: Sequence[Intervention]) -> None:
    """Raise InterventionError or UnsupportedError for what `model` has not, or what it cannot do together."""
    if any(each.of_mixtures for each in parts):
        from llama_nb.engines.rerouting import check_mixture

        check_mixture(model.loaded.module, parts, model.name)
    check_parts(parts, *extent(model), model.name)


def read_parts(
    model: "Model",
    written: Iterable[str | Intervention] = (),
    *,
    heads: Iterable[tuple[int, int]] = (),
    attention: Iterable[int] = (),
    mlps: Iterable[int] = (),
    layers: Iterable[int] = (),
    mode: Mode = "zero",
    over: str | None = None,
) -> tuple[Intervention, ...]:
    """Return the parts of `model` that a call names; see `Looker.ablate`.

    Parameters
    ----------
    written
        Parts as they are written on a line: "3.5", "3.mlp", "3.attn", "3".

    Raises
    ------
    InterventionError
        If there is none, or the model has not got one of them.
    UnsupportedError
        If the model's weights are not in this kernel.
    """
    engine = model.engine
    if not engine.capabilities.introspect:
        raise UnsupportedError(
            f"To turn parts off, the weights of {engine.name} must be in this kernel.",
            "Load a model into it: %llama load cria",
        )
    if mode == "zero" and over is not None:
        raise InterventionError("over= names the text of a mean, and zeros need none.", 'Say mode="mean".')
    text = () if over is None else _ids(model, over)
    given: list[Intervention] = [
        each if isinstance(each, Intervention) else read_part(each, mode=mode, over=text) for each in written
    ]
    for pair in values_of("heads", heads, "heads=[(3, 5)]"):
        layer, head = pair_of(pair, "A head", "heads=[(3, 5)]")
        given.append(Intervention("head", layer, head, mode, text))
    blocks: tuple[tuple[Site, str, Iterable[int]], ...] = (
        ("attention", "attention", attention), ("mlp", "mlps", mlps), ("layer", "layers", layers)
    )  # fmt: skip
    for site, name, chosen in blocks:
        given += [
            Intervention(site, layer, None, mode, text) for layer in values_of(name, chosen, f"{name}=[3]")
        ]
    parts = merged((), given)
    if not parts:
        raise InterventionError(
            "There is nothing to turn off.", 'Name a part: heads=[(3, 5)], mlps=[3], or "3.5" on a line.'
        )
    check_against(model, parts)
    return parts


def values_of(name: str, given: Any, example: str) -> list[Any]:
    """Return what an argument lists; InterventionError with the example if it is no list."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InterventionError(f"{name} is {given!r}, not a list.", example)
    return list(given)


def pair_of(given: Any, what: str, example: str) -> tuple[Any, Any]:
    """Return a pair of a layer and a number; InterventionError, naming `what` it stands for, if not one."""
    try:
        layer, number = given
    except (TypeError, ValueError):
        raise InterventionError(
            f"{what} is named by its layer and its number, not by {given!r}.", example
        ) from None
    return layer, number


def _ids(model: "Model", over: Any) -> tuple[int, ...]:
    if not isinstance(over, str) or not over.strip():
        raise InterventionError(f"over is {over!r}: there is no text.", 'over="Once upon a time"')
    check_text(over, "The text of over")
    ids = model.engine.prompt(Request(over)).ids
    if len(ids) > model.context:
        raise InterventionError(
            f"over has {len(ids):,} tokens, and the context of {model.name} is {model.context:,}."
        )
    return ids
