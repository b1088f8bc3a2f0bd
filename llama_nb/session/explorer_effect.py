"""What a page turns off in a model, and what that does: switches in, figures out.

Knows names of parts and what is shown of an answer; how a part is turned off is the engine's business.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import ModelGone
from llama_nb.core.intervention import Intervention
from llama_nb.core.stop import StopFlag
from llama_nb.session.explorer import Explorer
from llama_nb.session.reading import Reading

if TYPE_CHECKING:
    from llama_nb.interpret.attention import AttentionTrace
    from llama_nb.session.ablation import AblationEffect, ChangedToken

Part = tuple[int, int | str]

MOST_PARTS: Final = 512
SHOWN: Final = 8  # tokens: the likeliest of either distribution
_BLOCKS: Final = ("attention", "mlp", "layer")


def read_parts(given: Any, trace: "AttentionTrace") -> tuple[Part, ...] | None:
    """Return the parts that a page names, each once; None where that is no list of parts of the trace."""
    if not isinstance(given, list) or len(given) > MOST_PARTS:
        return None
    parts = []
    for each in given:
        if not isinstance(each, list) or len(each) != 2 or type(each[0]) is not int:
            return None
        layer, what = each
        is_head = type(what) is int and 0 <= what < trace.heads
        if layer not in trace.layers or not (is_head or what in _BLOCKS):
            return None
        parts.append((layer, what))
    return tuple(dict.fromkeys(parts))


def interventions(parts: Iterable[Part], mode: str) -> tuple[Intervention, ...]:
    """Return the parts as a request carries them."""
    return tuple(
        Intervention("head", layer, what, mode=mode)  # type: ignore[arg-type]
        if isinstance(what, int)
        else Intervention(what, layer, mode=mode)  # type: ignore[arg-type]
        for layer, what in parts
    )


def names_of(parts: Iterable[Part]) -> list[str]:
    """Return what the parts are called: "L3 H5", "L3 MLP"."""
    return [each.name for each in interventions(parts, "zero")]


def turned_off(
    explorer: Explorer,
    parts: tuple[Part, ...],
    mode: str,
    stop: StopFlag,
    on_text: Callable[[str], None],
) -> dict[str, Any]:
    """Return what a page shows of the model without these parts, on the text of the trace.

    Raises
    ------
    ModelGone
        If the model is not loaded any more.
    Stopped
        If `stop` was set.
    """
    from llama_nb.session.ablation import ablation_effect

    model = explorer.model()
    if model is None:
        raise ModelGone(f"{explorer.trace.model} is not loaded any more.", "Load it to turn parts off.")
    trace = explorer.trace
    reading = Reading(trace.title, tuple(trace.ids), tuple(trace.texts), tuple(trace.special), trace.prompt)
    found = ablation_effect(
        model, reading, interventions(parts, mode), position=explorer.position, stop=stop, on_text=on_text
    )
    return effect_record(found)


def effect_record(found: "AblationEffect") -> dict[str, Any]:
    """Return an effect as pages show it."""
    likeliest = sorted(found.tokens, key=lambda token: -max(token.before, token.after))[:SHOWN]
    return {
        "position": found.position,
        # The same tokens, so that each has both of its probabilities.
        "before": _tokens(likeliest, lambda token: token.before),
        "after": _tokens(likeliest, lambda token: token.after),
        "kl": _digits(found.kl),
        "loss_before": _digits(found.loss_before),
        "loss_after": _digits(found.loss_after),
        "text_before": found.text_before,
        "text_after": found.text_after,
    }


def _tokens(
    tokens: "Iterable[ChangedToken]", chance: "Callable[[ChangedToken], float]"
) -> list[tuple[str, float | None]]:
    """Return texts with their probabilities, the likeliest first."""
    return [(token.text, _digits(chance(token))) for token in sorted(tokens, key=chance, reverse=True)]


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
