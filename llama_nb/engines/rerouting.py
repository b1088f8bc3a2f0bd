"""Makes the routers of a mixture choose otherwise for as long as a block runs: experts forbidden or forced.

What a router chooses by its own rules is `engines/routers.py`; this only asks for another choice, of the same
logits, and hands it to the block in the router's place.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llama_nb.core.intervention import Intervention, merged
from llama_nb.core.mixture import MoeLayer, check_routing
from llama_nb.engines.routers import Router, find_routers


def moe_layers(module: Any) -> tuple[MoeLayer, ...]:
    """Return the MoE layers of a model; none of a dense one."""
    return tuple(
        MoeLayer(router.layer, router.experts, router.top_k, router.shared is not None)
        for router in find_routers(module)
    )


def check_mixture(module: Any, interventions: Sequence[Intervention], name: str) -> None:
    """Raise an error for what only a mixture can have, and this model has not; see `check_routing`."""
    if any(each.of_mixtures for each in interventions):
        check_routing(interventions, moe_layers(module), name)


@contextlib.contextmanager
def rerouted(module: Any, interventions: Sequence[Intervention]) -> Iterator[None]:
    """Have the routers of `module` choose as `interventions` say inside the block.

    What a block around says holds besides. Interventions on anything else are not looked at.

    Raises
    ------
    InterventionError
        If the model has no such expert, or a token would be left without one.
    UnsupportedError
        If it has no experts.
    """
    asked = tuple(each for each in interventions if each.reroutes)
    if not asked:
        yield
        return
    changes = [_Rerouting.of(router, asked) for router in find_routers(module)]
    together = merged(asked, (each for change in changes for each in change.parts))
    check_mixture(module, together, type(module).__name__)
    with contextlib.ExitStack() as hooks:
        for change in changes:
            if change.parts:
                hooks.callback(change.router.module.register_forward_hook(change).remove)
        yield


@dataclass(frozen=True, slots=True)
class _Rerouting:
    """A forward hook on one router: the choice that `parts` allow, in the place of its own."""

    router: Router
    parts: tuple[Intervention, ...]

    @classmethod
    def of(cls, router: Router, asked: Sequence[Intervention]) -> "_Rerouting":
        """Return the hook for what is asked of `router`, together with what a block around asked of it.

        The outer hook's answer has the router's own logits, of which the inner one chooses anew: it has to
        know all.
        """
        hooks = router.module._forward_hooks.values()
        outer = tuple(each for hook in hooks if isinstance(hook, _Rerouting) for each in hook.parts)
        here = [each for each in asked if each.layer in (None, router.layer)]
        return cls(router, merged(outer, here) if here else ())

    def __call__(self, _module: Any, _given: Any, output: Any) -> Any:
        """Return what the block gets: the experts that are chosen now, with their weights."""
        logits = self.router.read(output).logits
        banned, forced = (
            [each.expert for each in self.parts if each.mode == mode and each.expert is not None]
            for mode in ("ban", "force")
        )
        top_k = next((each.top_k for each in self.parts if each.site == "top_k"), None)
        chosen, weights = self.router.choose(logits, banned=banned, forced=forced, top_k=top_k)
        return self.router.answer(logits, chosen, weights, output)
