"""The sampling parameters, defined once for magics, widgets, engines and demos.

Only names, ranges and defaults. How a stage changes a distribution is the engines' business.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llama_nb.core.errors import SamplingError, did_you_mean

_NO_LIMIT: Final = 2**63 - 1  # what a seed may be at most; nobody needs to read it


@dataclass(frozen=True, slots=True)
class Range:
    """The values a parameter may take: `low` to `high`, whether `low` itself is allowed, and what it does."""

    low: float
    high: float
    meaning: str
    low_open: bool = False
    whole: bool = False

    def __str__(self) -> str:
        low = "more than " if self.low_open else ""
        high = f" to {self.high:g}" if self.high < _NO_LIMIT else " or more"
        return f"{low}{self.low:g}{high}{' (whole number)' if self.whole else ''}"


RANGES: Final[Mapping[str, Range]] = {
    "temperature": Range(0.0, 100.0, "0 is greedy; higher is more random"),
    "top_k": Range(0, math.inf, "keep the k most likely tokens; 0 is off", whole=True),
    "top_p": Range(0.0, 1.0, "keep the likeliest tokens that hold this mass; 1 is off", low_open=True),
    "min_p": Range(0.0, 1.0, "keep tokens at least this likely relative to the likeliest; 0 is off"),
    "repetition_penalty": Range(0.0, 10.0, "divide the logits of seen tokens; 1 is off", low_open=True),
    "presence_penalty": Range(-10.0, 10.0, "subtract once from the logits of seen tokens; 0 is off"),
    "frequency_penalty": Range(-10.0, 10.0, "subtract per occurrence from the logits; 0 is off"),
    "max_tokens": Range(1, math.inf, "the longest reply, in tokens", whole=True),
    "seed": Range(0, _NO_LIMIT, "the same seed gives the same reply", whole=True),
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Every value is checked when the object is made; numbers given as text ("0.7") are accepted.

    Parameters
    ----------
    temperature
        Divides the logits; 0 means greedy decoding.
    top_k, top_p, min_p
        Truncations of the distribution, off at 0, 1 and 0.
    repetition_penalty, presence_penalty, frequency_penalty
        Penalties on tokens of the prompt and the reply (repetition: CTRL, arXiv:1909.05858) or of the
        reply alone (presence, frequency: as in the OpenAI API), off at 1, 0 and 0.
    max_tokens
        The longest reply in tokens; None lets the context decide.
    stop
        Strings that end the reply; they are not part of it.
    seed
        The seed of this request's own random generator; None draws one, which the Reply records.

    Raises
    ------
    SamplingError
        If a value is not a number or outside its range in `RANGES`.
    """

    temperature: float = 0.6
    top_k: int = 0
    top_p: float = 0.9
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in RANGES:
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        object.__setattr__(self, "stop", _stop_strings(self.stop))

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0

    def replace(self, **changes: Any) -> "Sampling":
        """Return a copy with some parameters changed; unknown names are refused with the nearest one."""
        check_names(changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as plain JSON values."""
        return {**dataclasses.asdict(self), "stop": list(self.stop)}


FIELDS: Final = tuple(field.name for field in dataclasses.fields(Sampling))
_OPTIONAL: Final = {"max_tokens", "seed"}


def check_names(options: Mapping[str, Any]) -> None:
    """Raise SamplingError for the first name in `options` that is not a sampling parameter."""
    for name in options:
        if name not in FIELDS:
            raise SamplingError(
                f"{name!r} is not a sampling parameter.",
                did_you_mean(name, FIELDS) or f"The parameters are: {', '.join(FIELDS)}.",
            )


def _number(name: str, value: Any) -> float | int | None:
    if value is None and name in _OPTIONAL:
        return None
    limits = RANGES[name]
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError):
        raise SamplingError(f"{name} is {value!r}, which is not a number.", f"Allowed: {limits}.") from None
    inside = limits.low < number if limits.low_open else limits.low <= number
    if not inside or not number <= limits.high or not math.isfinite(number):
        raise SamplingError(
            f"{name} is {value!r}, outside its range.", f"Allowed: {limits}; {limits.meaning}."
        )
    if not limits.whole:
        return number
    if not number.is_integer():
        raise SamplingError(f"{name} is {value!r}, but must be a whole number.", f"Allowed: {limits}.")
    return int(value) if isinstance(value, int) else int(number)


def _stop_strings(stop: Any) -> tuple[str, ...]:
    if stop is None:
        return ()
    strings: Sequence[Any] = (stop,) if isinstance(stop, str) else tuple(stop)
    for text in strings:
        if not isinstance(text, str) or not text:
            raise SamplingError(
                f"stop holds {text!r}.", "Each stop string is a text of at least one character."
            )
    return tuple(strings)
