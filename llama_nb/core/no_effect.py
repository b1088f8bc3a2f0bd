"""Which sampling parameters change nothing because of others, and why: what a control or a note says."""

from collections.abc import Iterable, Mapping
from typing import Final

from llama_nb.core.sampling import Sampling

_GREEDY: Final = "at temperature 0 the likeliest token is always taken"
_ONE_LEFT: Final = "top_k 1 leaves the likeliest token alone"
_XTC_IDLE: Final = "no two tokens can both be likelier than xtc_threshold, which is above 0.5"

# Stages that shape or cut the distribution, with the parameters that belong to each.
_SHAPES: Final[Mapping[str, tuple[str, ...]]] = {
    "temperature": ("temperature", "dynatemp_range", "dynatemp_exponent"),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
    "typical_p": ("typical_p",),
    "epsilon_cutoff": ("epsilon_cutoff",),
    "eta_cutoff": ("eta_cutoff",),
    "top_n_sigma": ("top_n_sigma",),
    "xtc": ("xtc_probability", "xtc_threshold"),
    "mirostat": ("mirostat_tau", "mirostat_eta"),
}
_MAY_DROP_THE_BEST: Final = ("typical_p", "xtc")


def no_effect(sampling: Sampling) -> Mapping[str, str]:
    """Return the parameters that change no reply as the others stand, each with the reason.

    A parameter that is listed may have any value: alone it changes nothing. (Of tokens that are exactly
    equally likely `top_k` 1 keeps all, and among these a draw decides.)
    """
    found: dict[str, str] = {}
    _need(found, sampling.dynatemp_range, "dynatemp_range is off", ["dynatemp_exponent"])
    _need(found, sampling.xtc_probability, "xtc_probability is off", ["xtc_threshold"])
    _need(found, sampling.mirostat_tau, "mirostat_tau is off", ["mirostat_eta"])
    dry = ["dry_base", "dry_allowed_length", "dry_breakers"]
    _need(found, sampling.dry_multiplier, "dry_multiplier is off", dry)
    penalties = (
        sampling.repetition_penalty != 1.0
        or sampling.presence_penalty
        or sampling.frequency_penalty
        or sampling.dry_multiplier
    )
    _need(found, penalties, "no penalty that it limits is on", ["penalty_window"])
    if sampling.xtc_threshold > 0.5:
        found["xtc_probability"] = _XTC_IDLE
    if sampling.greedy:
        found |= {name: _GREEDY for names in _SHAPES.values() for name in names if name != "temperature"}
        found["seed"] = _GREEDY
    elif sampling.top_k == 1:
        found |= dict.fromkeys(_behind_one(sampling), _ONE_LEFT)
    return found


def sentences(names: Iterable[str], sampling: Sampling) -> list[str]:
    """Return a sentence a reason for those of `names` that have no effect."""
    reasons: dict[str, list[str]] = {}
    why = no_effect(sampling)
    for name in names:
        if name in why:
            reasons.setdefault(why[name], []).append(name)
    return [f"{_listed(idle)} no effect: {reason}." for reason, idle in reasons.items()]


def _need(found: dict[str, str], switch: float, reason: str, names: Iterable[str]) -> None:
    if not switch:
        found |= dict.fromkeys(names, reason)


def _behind_one(sampling: Sampling) -> list[str]:
    """The parameters that cannot change which token `top_k` 1 leaves."""
    order = sampling.stages()
    shaping = [stage in _SHAPES for stage in order]
    if shaping != sorted(shaping):
        return []  # behind a cut or another temperature, changes of single logits may choose another best
    before = order[: order.index("top_k")]
    names = [
        name
        for stage, parameters in _SHAPES.items()
        for name in parameters
        if stage != "top_k" and not (stage in before and stage in _MAY_DROP_THE_BEST)
    ]
    # What drops the best token does so by probabilities, which these shape.
    drops = sampling.typical_p != 1.0, bool(sampling.xtc_probability)
    dropping = [stage for stage, on in zip(_MAY_DROP_THE_BEST, drops, strict=True) if on and stage in before]
    return [] if dropping else [*names, "seed"]


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} has"
    return f"{', '.join(names[:-1])} and {names[-1]} have"
