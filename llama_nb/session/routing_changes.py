"""What a call changes in the routing of a mixture of experts: read, and checked against the model.

Experts are forbidden or forced, the shared one is dropped, routers choose more or fewer. How a router is made
to do so is the engine's business, and for whom it holds `ablating`'s.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import InterventionError, UnsupportedError
from llama_nb.core.intervention import Intervention, merged, read_part
from llama_nb.core.mixture import MoeLayer, no_experts
from llama_nb.session.ablating import check_against, pair_of, values_of

if TYPE_CHECKING:
    from llama_nb.session.model import Model

_PAIRS: Final = "{}=[(3, 2)] is expert 2 of layer 3."


def moe_layers(model: "Model") -> tuple[MoeLayer, ...]:
    """Return the MoE layers of a model whose weights are in this kernel.

    Raises
    ------
    UnsupportedError
        If they are elsewhere, or the model has no experts.
    """
    engine = model.engine
    if not engine.capabilities.introspect:
        raise UnsupportedError(
            f"To change how it routes, the weights of {engine.name} must be in this kernel.",
            "Load a mixture of experts into it: %llama load cria-moe",
        )
    from llama_nb.engines.rerouting import moe_layers

    found = moe_layers(model.loaded.module)
    if not found:
        raise no_experts(model.name)
    return found


def read_routing(
    model: "Model",
    written: Iterable[str | Intervention] = (),
    *,
    ban: Iterable[tuple[int, int]] = (),
    force: Iterable[tuple[int, int]] = (),
    drop_shared: bool | Iterable[int] = False,
    top_k: int | None = None,
) -> tuple[Intervention, ...]:
    """Return what a call changes in the routing of `model`; see `Changer.route`.

    Parameters
    ----------
    written
        Parts as they are written on a line: "3.shared", "3.E2" (forbidden), "5.attn".

    Raises
    ------
    InterventionError
        If it is nothing, or the model has no such layer or expert, or a token is left without experts.
    UnsupportedError
        If the model has no experts, or its weights are not in this kernel.
    """
    layers = moe_layers(model)
    parts = [each if isinstance(each, Intervention) else read_part(each) for each in written]
    parts += [_expert("ban", pair) for pair in values_of("ban", ban, _PAIRS.format("ban"))]
    parts += [_expert("force", pair) for pair in values_of("force", force, _PAIRS.format("force"))]
    parts += [Intervention("shared expert", layer) for layer in _dropped(drop_shared, layers, model.name)]
    if top_k is not None:
        parts.append(Intervention("top_k", None, top_k=top_k, experts=layers[0].experts))
    if not parts:
        raise InterventionError(
            "There is nothing to change.", "ban=[(3, 2)], force=[(3, 1)], drop_shared=True or top_k=2."
        )
    _check_once(parts)
    together = merged((), parts)
    check_against(model, together)
    return together


def _expert(mode: Any, pair: Any) -> Intervention:
    layer, expert = pair_of(pair, "An expert", _PAIRS.format(mode))
    return Intervention("expert", layer, mode=mode, expert=expert)


def _dropped(given: Any, layers: Sequence[MoeLayer], model: str) -> list[Any]:
    """Return the layers whose shared expert is dropped."""
    if given is None or given is False:
        return []
    if given is not True:
        return values_of("drop_shared", given, "drop_shared=True for all layers, drop_shared=[3] for one.")
    shared = [each.layer for each in layers if each.shared]
    if not shared:
        raise InterventionError(
            f"{model} has no shared expert: every expert of it is chosen.",
            "One of these can be forbidden: ban=[(layer, expert)].",
        )
    return shared


def _check_once(parts: Sequence[Intervention]) -> None:
    """Raise InterventionError for an expert that is forbidden and forced in one call."""
    both = {each.place for each in parts if each.mode == "ban"}
    twice = next((each for each in parts if each.mode == "force" and each.place in both), None)
    if twice is not None:
        raise InterventionError(f"{twice.name} is forbidden and forced.", "Do one of the two.")
