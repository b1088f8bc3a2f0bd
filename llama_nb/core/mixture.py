"""The MoE layers of a model as plain numbers, and what of them can be forbidden, forced or dropped.

Knows no module: who has one tells the numbers (`engines/rerouting.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llama_nb.core.errors import InterventionError, UnsupportedError
from llama_nb.core.intervention import Intervention


@dataclass(frozen=True, slots=True)
class MoeLayer:
    """One layer whose MLP is a mixture of experts.

    Attributes
    ----------
    layer
        Its number among all layers, from 0.
    experts, top_k
        How many experts its router chooses from, and how many a token gets.
    shared
        Whether it has an expert that every token goes through.
    """

    layer: int
    experts: int
    top_k: int
    shared: bool


def no_experts(model: str) -> UnsupportedError:
    """Return the error for a dense model that is asked for its experts."""
    return UnsupportedError(
        f"{model} has no experts: every token goes through all of it.",
        "A small mixture of experts is bundled: %llama load cria-moe",
    )


def check_routing(interventions: Iterable[Intervention], layers: Sequence[MoeLayer], model: str) -> None:
    """Raise an error for what a model with these MoE layers has not, or what leaves a token no expert.

    Raises
    ------
    UnsupportedError
        If the model has no experts.
    InterventionError
        If there is no such MoE layer or expert, too few experts are left, or too many are forced.
    """
    asked = [each for each in interventions if each.of_mixtures]
    if not asked:
        return
    if not layers:
        raise no_experts(model)
    for each in asked:
        if each.layer is not None:
            _check_place(each, layers, model)
    top_k = next((each.top_k for each in asked if each.site == "top_k"), None)
    for layer in layers:
        here = [each for each in asked if each.site == "expert" and each.layer == layer.layer]
        banned, forced = ([each for each in here if each.mode == mode] for mode in ("ban", "force"))
        _check_left(layer, len(banned), len(forced), top_k, model)


def _check_place(part: Intervention, layers: Sequence[MoeLayer], model: str) -> None:
    found = next((layer for layer in layers if layer.layer == part.layer), None)
    if found is None:
        shown = ", ".join(str(layer.layer) for layer in layers)
        raise InterventionError(
            f"Layer {part.layer} of {model} is no MoE layer.", f"Its MoE layers are: {shown}."
        )
    if part.expert is not None and part.expert >= found.experts:
        raise InterventionError(
            f"{model} has no expert {part.expert} in layer {part.layer}: a layer has {found.experts:,}, "
            f"from 0 to {found.experts - 1}."
        )
    if part.site == "shared expert" and not found.shared:
        raise InterventionError(
            f"Layer {part.layer} of {model} has no shared expert: every expert of it is chosen.",
            "One of these can be forbidden: ban=[(layer, expert)].",
        )


def _check_left(layer: MoeLayer, banned: int, forced: int, top_k: int | None, model: str) -> None:
    k = layer.top_k if top_k is None else top_k
    if k > layer.experts:
        raise InterventionError(
            f"top_k is {k:,}: a layer of {model} has {layer.experts:,} experts.",
            f"From 1 to {layer.experts}; the model itself takes {layer.top_k}.",
        )
    if k > layer.experts - banned:
        left = layer.experts - banned
        raise InterventionError(
            f"{banned:,} of the {layer.experts:,} experts of layer {layer.layer} are forbidden: {left:,} "
            f"{'is' if left == 1 else 'are'} left, and each token of {model} goes to {k:,}.",
            "Forbid fewer, or take fewer with top_k.",
        )
    if forced > k:
        raise InterventionError(
            f"{forced:,} experts of layer {layer.layer} are forced, and each token goes to {k:,} there.",
            f"Force {'one' if k == 1 else f'{k:,} at most'}, or take more with top_k={forced}.",
        )
