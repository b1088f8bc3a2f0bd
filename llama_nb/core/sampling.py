"""The sampling parameters, defined once for magics, widgets, engines and demos.

Only names, ranges, defaults and the order of the stages. How a stage changes a distribution is the engines'
business, what a user calls a set of them is that of presets.
"""

import dataclasses
import json
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
    "penalty_window": Range(0, math.inf, "how many last tokens the penalties see; 0 is all", whole=True),
    "no_repeat_ngram": Range(0, math.inf, "never write n tokens in a row twice; 0 is off", whole=True),
    "dry_multiplier": Range(0.0, 100.0, "DRY: strength of the penalty on repeated sequences; 0 is off"),
    "dry_base": Range(1.0, 10.0, "DRY: growth of the penalty with each repeated token"),
    "dry_allowed_length": Range(1, math.inf, "DRY: the longest sequence that may repeat freely", whole=True),
    "dynatemp_range": Range(0.0, 100.0, "dynamic temperature: plus and minus, by entropy; 0 is off"),
    "dynatemp_exponent": Range(0.0, 10.0, "dynamic temperature: how it follows the entropy", low_open=True),
    "typical_p": Range(0.0, 1.0, "keep the tokens of typical surprise; 1 is off", low_open=True),
    "epsilon_cutoff": Range(0.0, 1.0, "drop tokens below this probability; 0 is off"),
    "eta_cutoff": Range(0.0, 1.0, "the same, lowered where the entropy is high; 0 is off"),
    "top_n_sigma": Range(0.0, 100.0, "keep logits within n standard deviations of the best; 0 is off"),
    "xtc_probability": Range(0.0, 1.0, "XTC: how often all likely tokens but the last go; 0 is off"),
    "xtc_threshold": Range(0.0, 1.0, "XTC: from which probability a token counts as likely"),
    "mirostat_tau": Range(0.0, 100.0, "mirostat 2: the surprise to keep to, in bits; 0 is off"),
    "mirostat_eta": Range(0.0, 1.0, "mirostat 2: how fast it adapts", low_open=True),
    "max_tokens": Range(1, math.inf, "the longest reply, in tokens", whole=True),
    "seed": Range(0, _NO_LIMIT, "the same seed gives the same reply", whole=True),
}

# The parameters that are texts, with what they do.
TEXTS: Final[Mapping[str, str]] = {
    "stop": "strings that end the reply",
    "dry_breakers": "DRY: strings at which repeated sequences end",
    "logit_bias": 'added to logits, as JSON: {"sun": 2, "1234": -100}',
    "banned": "words that are never written",
    "order": "names of stages, in the order in which they act",
}

# The parameters as help, tables and panels show them: what most people need first.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Sampling": ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_tokens"),
    "The reply": ("seed", "stop"),
    "Penalties": (
        "presence_penalty",
        "frequency_penalty",
        "penalty_window",
        "no_repeat_ngram",
        "dry_multiplier",
        "dry_base",
        "dry_allowed_length",
        "dry_breakers",
    ),
    "Truncation": ("typical_p", "epsilon_cutoff", "eta_cutoff", "top_n_sigma"),
    "Special": (
        "dynatemp_range",
        "dynatemp_exponent",
        "xtc_probability",
        "xtc_threshold",
        "mirostat_tau",
        "mirostat_eta",
        "logit_bias",
        "banned",
        "order",
    ),
}

# Every stage of the chain, in the order that holds unless `order` says otherwise: that of transformers'
# processors where it has the stage. Stages that change single logits come first, then those that cut.
STAGES: Final = (
    "logit_bias",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "dry",
    "no_repeat_ngram",
    "banned",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "top_n_sigma",
    "xtc",
    "mirostat",
)
BREAKERS: Final = ("\n", ":", '"', "*")  # those of DRY's first description
_LARGEST_BIAS: Final = 100.0


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
    penalty_window
        How many of the last tokens the penalties and DRY look at; 0 is all.
    no_repeat_ngram
        Forbid any token that would complete a sequence of so many tokens a second time.
    dry_multiplier, dry_base, dry_allowed_length, dry_breakers
        DRY ("don't repeat yourself", github.com/oobabooga/text-generation-webui, pull request 5677): subtract
        multiplier * base ** (n - allowed_length) from the logit of a token that would make a repeated
        sequence n + 1 long. Sequences end at tokens that hold one of the breakers.
    dynatemp_range, dynatemp_exponent
        The temperature goes from `temperature - range` to `temperature + range` with the normalised entropy
        to the power of the exponent (as in llama.cpp).
    typical_p
        Locally typical sampling (arXiv:2202.00666).
    epsilon_cutoff, eta_cutoff
        Truncation sampling as desmoothing (arXiv:2210.15191).
    top_n_sigma
        Top-n-sigma (arXiv:2411.07641).
    xtc_probability, xtc_threshold
        XTC, "exclude top choices" (github.com/oobabooga/text-generation-webui, pull request 6335).
    mirostat_tau, mirostat_eta
        Mirostat, second version (arXiv:2007.14966); surprise in bits.
    logit_bias
        What is added to logits, by token: an id, or a text that is one token. A mapping, or pairs.
    banned
        Words that are never written: texts, each with and without a space before it.
    order
        Names of `STAGES` in the order in which they act; those left out follow in their usual order.

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
    penalty_window: int = 0
    no_repeat_ngram: int = 0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_breakers: tuple[str, ...] = BREAKERS
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    top_n_sigma: float = 0.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    mirostat_tau: float = 0.0
    mirostat_eta: float = 0.1
    logit_bias: tuple[tuple[int | str, float], ...] = ()
    banned: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in RANGES:
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name in ("stop", "dry_breakers", "banned"):
            object.__setattr__(self, name, _strings(name, getattr(self, name)))
        object.__setattr__(self, "logit_bias", _bias(self.logit_bias))
        object.__setattr__(self, "order", _order(self.order))

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0

    def replace(self, **changes: Any) -> "Sampling":
        """Return a copy with some parameters changed; unknown names are refused with the nearest one."""
        check_names(changes)
        return dataclasses.replace(self, **changes)

    def stages(self) -> tuple[str, ...]:
        """Return the names of all stages in the order in which they act."""
        return (*self.order, *(name for name in STAGES if name not in self.order))

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as plain JSON values."""
        listed = {name: list(getattr(self, name)) for name in ("stop", "dry_breakers", "banned", "order")}
        bias = [list(pair) for pair in self.logit_bias]
        return {**dataclasses.asdict(self), **listed, "logit_bias": bias}

    def to_record(self) -> dict[str, Any]:
        """Return what a saved reply keeps: the usual parameters, and of the others what is not at rest.

        `Sampling(**record)` gives the same parameters again.
        """
        rest = Sampling().to_dict()
        return {
            name: value for name, value in self.to_dict().items() if name in _USUAL or value != rest[name]
        }


FIELDS: Final = tuple(field.name for field in dataclasses.fields(Sampling))
_OPTIONAL: Final = {"max_tokens", "seed"}
_USUAL: Final = {*GROUPS["Sampling"], *GROUPS["The reply"], "presence_penalty", "frequency_penalty"}


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


def _strings(name: str, given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    texts: Sequence[Any] = (given,) if isinstance(given, str) else tuple(given)
    for text in texts:
        if not isinstance(text, str) or not text:
            raise SamplingError(f"{name} holds {text!r}.", "Each entry is a text of at least one character.")
    return tuple(texts)


def _bias(given: Any) -> tuple[tuple[int | str, float], ...]:
    if isinstance(given, str):
        given = _json(given)
    pairs = tuple(given.items()) if isinstance(given, Mapping) else tuple(given or ())
    checked: list[tuple[int | str, float]] = []
    for pair in pairs:
        try:
            token, value = pair
            bias = float(value)
        except (TypeError, ValueError):
            raise SamplingError(
                f"logit_bias holds {pair!r}.", 'It maps tokens to numbers: {"sun": 2, 1234: -100}.'
            ) from None
        if isinstance(token, bool) or not isinstance(token, int | str) or token == "":
            raise SamplingError(f"logit_bias has the key {token!r}.", "A key is a token's id or its text.")
        if not -_LARGEST_BIAS <= bias <= _LARGEST_BIAS:
            raise SamplingError(
                f"logit_bias of {token!r} is {value!r}, outside its range.", "Allowed: -100 to 100."
            )
        checked.append((int(token) if isinstance(token, str) and token.isdecimal() else token, bias))
    return tuple(checked)


def _json(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SamplingError(f"logit_bias is {text!r}.", 'It is a JSON object: {"sun": 2, "1234": -100}.')
    return found


def _order(given: Any) -> tuple[str, ...]:
    names = tuple(part.strip() for part in given.split(",")) if isinstance(given, str) else tuple(given or ())
    for place, name in enumerate(names):
        if name not in STAGES:
            hint = did_you_mean(str(name), STAGES) or f"The stages are: {', '.join(STAGES)}."
            raise SamplingError(f"order names {name!r}, which is no stage.", hint)
        if name in names[:place]:
            raise SamplingError(f"order names {name} twice.", "Each stage acts once.")
    return names
