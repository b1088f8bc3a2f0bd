"""Which sampling parameters a call uses: its own, else the session's, else the model's, else ours."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from llama_nb.core.errors import SamplingError, did_you_mean
from llama_nb.core.no_effect import sentences
from llama_nb.core.sampling import FIELDS, Sampling
from llama_nb.runtime import presets
from llama_nb.runtime.settings import get_sampling_overrides

LONGEST_DEFAULT_REPLY: Final = 512
# The names of generation_config.json that mean the same as ours.
_FROM_CONFIG: Final = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "max_new_tokens": "max_tokens",
}


def resolve(options: Mapping[str, Any], generation: Mapping[str, Any], context: int) -> Sampling:
    """Merge a call's `options` with what holds for the session and for the model.

    `preset` among the options stands for its parameters; those that are given beside it win.
    `max_tokens` defaults to a quarter of the context, at most 512: long enough for an answer, short enough
    that a model which never ends its turn does not fill the page. With `max_tokens=None` the context decides.
    """
    asked = presets.expand(options)
    return Sampling(**{**model_defaults(generation, context), **get_sampling_overrides(), **asked})


def idle_options(options: Mapping[str, Any], sampling: Sampling) -> list[str]:
    """Return a sentence for each reason why parameters that a call named have no effect.

    Not for a seed: who asks for the same reply twice gets it from greedy decoding, too.
    """
    return sentences((name for name in options if name != "seed"), sampling)


def model_defaults(generation: Mapping[str, Any], context: int) -> dict[str, Any]:
    """Return what a model's generation_config.json says, in our names; values out of range are left out.

    `do_sample: false` asks for greedy decoding.
    """
    chosen: dict[str, Any] = {"max_tokens": reply_room(context, LONGEST_DEFAULT_REPLY)}
    for theirs, ours in _FROM_CONFIG.items():
        value = generation.get(theirs)
        if value is None or isinstance(value, bool):
            continue
        try:
            chosen[ours] = getattr(Sampling(**{ours: value}), ours)
        except SamplingError:
            continue
    if generation.get("do_sample") is False:
        chosen["temperature"] = 0.0
    return chosen


def reply_room(context: int, max_tokens: int | None) -> int:
    """Return how many tokens of the context are kept free for a reply: a quarter of it at most."""
    quarter = max(1, context // 4)
    return quarter if max_tokens is None else min(max_tokens, quarter)


def check_options(options: Mapping[str, Any], others: Iterable[str]) -> None:
    """Refuse the first option that is no sampling parameter, naming the nearest of all that exist."""
    for name in options:
        if name not in FIELDS and name != "preset":
            known = (*FIELDS, "preset", *others)
            raise SamplingError(
                f"{name!r} is not an option here.",
                did_you_mean(name, known) or f"The options are: {', '.join(known)}.",
            )
