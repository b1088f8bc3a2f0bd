"""What a page changes in a mixture of experts, and what that does: changes in, figures out.

Knows numbers of layers and experts, and what is shown of an answer; how a router is made to choose otherwise
is the engine's business.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import ModelGone
from llama_nb.core.intervention import Intervention
from llama_nb.core.stop import StopFlag
from llama_nb.session.explorer_effect import effect_record
from llama_nb.session.reading import Reading

if TYPE_CHECKING:
    from llama_nb.interpret.routing import RoutingTrace
    from llama_nb.session.routing_explorer import RoutingLook

Place = tuple[int, int]

MOST_PLACES: Final = 4_096


@dataclass(frozen=True, slots=True)
class Changes:
    """What is changed: pairs are layer and expert, `drop` are layers, `top_k` None as the model has it."""

    ban: tuple[Place, ...] = ()
    force: tuple[Place, ...] = ()
    drop: tuple[int, ...] = ()
    top_k: int | None = None

    def record(self) -> dict[str, Any]:
        """Return it as a page has it."""
        return {
            "ban": [list(place) for place in self.ban],
            "force": [list(place) for place in self.force],
            "drop": list(self.drop),
            "top_k": self.top_k,
        }


NOTHING: Final = Changes()


def read_changes(said: Mapping[str, Any], trace: "RoutingTrace") -> Changes | None:
    """Return the changes that a page names, each once; None where they are none of this trace's model."""
    ban, force = (_places(said.get(name), trace) for name in ("ban", "force"))
    drop, top_k = said.get("drop"), said.get("top_k")
    if ban is None or force is None or not isinstance(drop, list):
        return None
    if any(type(layer) is not int or layer not in trace.layers for layer in drop):
        return None
    if drop and not trace.shared:
        return None
    if top_k is not None and (type(top_k) is not int or not 1 <= top_k <= trace.experts):
        return None
    return Changes(ban, force, tuple(dict.fromkeys(drop)), top_k)


def parts_of(changes: Changes, experts: int) -> tuple[Intervention, ...]:
    """Return the changes as a request carries them; a layer has so many experts."""
    top_k = changes.top_k
    return (
        *(Intervention("expert", layer, mode="ban", expert=expert) for layer, expert in changes.ban),
        *(Intervention("expert", layer, mode="force", expert=expert) for layer, expert in changes.force),
        *(Intervention("shared expert", layer) for layer in changes.drop),
        *([Intervention("top_k", None, top_k=top_k, experts=experts)] if top_k is not None else []),
    )


def what_if(
    look: "RoutingLook",
    parts: tuple[Intervention, ...],
    position: int | None,
    stop: StopFlag,
    on_text: Callable[[str], None],
) -> dict[str, Any]:
    """Return what a page shows of the model with these parts changed, on the text that is looked at.

    Parameters
    ----------
    position
        The token behind which one looks, and in whose text; None: the end of the first text's prompt, of
        those of the domain that is looked at.

    Raises
    ------
    ModelGone
        If the model is not loaded any more.
    InterventionError
        If the changes leave a token without experts, or contradict each other.
    Stopped
        If `stop` was set.
    """
    from llama_nb.session.ablation import ablation_effect
    from llama_nb.session.routing_changes import read_routing

    model = look.model()
    if model is None:
        raise ModelGone(f"{look.trace.model} is not loaded any more.", "Load it to change its routing.")
    reading, start = _document(look, position)
    found = ablation_effect(
        *(model, reading, read_routing(model, parts)),
        position=None if position is None else position - start,
        stop=stop,
        on_text=on_text,
    )
    return effect_record(found) | {"position": found.position + start}


def _document(look: "RoutingLook", position: int | None) -> tuple[Reading, int]:
    """Return the text that a token stands in, or the first of the domain, and where it begins."""
    trace, at = look.trace, position
    if at is None:
        at = int(trace.select(look.domain)[0]) if look.domain else 0
    start, stop = look.document(at)
    ids = tuple(int(each) for each in trace.ids[start:stop])
    special = tuple(bool(each) for each in trace.special[start:stop])
    prompt = min(trace.prompt, len(ids))
    return Reading(trace.title, ids, tuple(trace.texts(start, stop)), special, prompt), start


def _places(given: Any, trace: "RoutingTrace") -> tuple[Place, ...] | None:
    if not isinstance(given, list) or len(given) > MOST_PLACES:
        return None
    for each in given:
        if not isinstance(each, list) or len(each) != 2 or any(type(number) is not int for number in each):
            return None
        if each[0] not in trace.layers or not 0 <= each[1] < trace.experts:
            return None
    return tuple(dict.fromkeys((layer, expert) for layer, expert in given))
