"""The sampling parameters as controls that a page can draw, and how a page's values become the session's.

Ends and steps of the sliders are a matter of taste: what a person moves a control over. What is allowed is
core.sampling's business, and values beyond a slider's ends can be typed.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from llama_nb.core.no_effect import no_effect
from llama_nb.core.sampling import FIELDS, GROUPS, RANGES, Sampling, check_names
from llama_nb.runtime import presets, settings
from llama_nb.session.handle import Handle

CORE: Final = GROUPS["Sampling"]
NUMERIC: Final = tuple(RANGES)

# low, high, step, scale; for "log" the step is a share of the whole way.
_LINEAR, _LOG = "linear", "log"
_SLIDERS: Final[Mapping[str, tuple[float, float, float, str]]] = {
    "temperature": (0.0, 2.0, 0.05, _LINEAR),
    "top_k": (1, 1000, 0.01, _LOG),
    "top_p": (0.05, 1.0, 0.01, _LINEAR),
    "min_p": (0.0, 0.5, 0.01, _LINEAR),
    "repetition_penalty": (1.0, 2.0, 0.01, _LINEAR),
    "max_tokens": (1, 4096, 0.01, _LOG),
    "seed": (0, 9999, 1, _LINEAR),
    "presence_penalty": (-2.0, 2.0, 0.05, _LINEAR),
    "frequency_penalty": (-2.0, 2.0, 0.05, _LINEAR),
    "penalty_window": (1, 1024, 0.01, _LOG),
    "no_repeat_ngram": (0, 10, 1, _LINEAR),
    "dry_multiplier": (0.0, 4.0, 0.1, _LINEAR),
    "dry_base": (1.0, 4.0, 0.05, _LINEAR),
    "dry_allowed_length": (1, 20, 1, _LINEAR),
    "typical_p": (0.05, 1.0, 0.01, _LINEAR),
    "epsilon_cutoff": (1e-5, 0.1, 0.01, _LOG),
    "eta_cutoff": (1e-5, 0.1, 0.01, _LOG),
    "top_n_sigma": (0.0, 5.0, 0.1, _LINEAR),
    "dynatemp_range": (0.0, 2.0, 0.05, _LINEAR),
    "dynatemp_exponent": (0.1, 4.0, 0.1, _LINEAR),
    "xtc_probability": (0.0, 1.0, 0.05, _LINEAR),
    "xtc_threshold": (0.01, 0.5, 0.01, _LINEAR),
    "mirostat_tau": (0.0, 10.0, 0.1, _LINEAR),
    "mirostat_eta": (0.01, 1.0, 0.01, _LINEAR),
}
# Where a parameter is off: for the cuts, where everything is kept.
_OFF: Final[Mapping[str, float | None]] = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "max_tokens": None,
    "seed": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "penalty_window": 0,
    "no_repeat_ngram": 0,
    "dry_multiplier": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "top_n_sigma": 0.0,
    "dynatemp_range": 0.0,
    "xtc_probability": 0.0,
    "mirostat_tau": 0.0,
}
_OFF_IS_LOW: Final = ("epsilon_cutoff", "eta_cutoff")
# What some values are called where neither a number nor "off" would say it.
_WORDS: Final[Mapping[str, Mapping[float | None, str]]] = {
    "temperature": {0.0: "greedy", 1.0: "1"},
    "max_tokens": {None: "no limit"},
    "seed": {None: "drawn"},
    "penalty_window": {0: "all"},
}
_LABELS: Final[Mapping[str, str]] = {
    "repetition_penalty": "repetition",
    "presence_penalty": "presence",
    "frequency_penalty": "frequency",
    "top_k": "top-k",
    "top_p": "top-p",
    "min_p": "min-p",
    "typical_p": "typical-p",
    "top_n_sigma": "top-n-sigma",
    "no_repeat_ngram": "no-repeat",
    "dry_multiplier": "DRY multiplier",
    "dry_base": "DRY base",
    "dry_allowed_length": "DRY length",
    "xtc_probability": "XTC probability",
    "xtc_threshold": "XTC threshold",
    "dynatemp_range": "dynamic range",
    "dynatemp_exponent": "dyn. exponent",
}


def label(name: str) -> str:
    """Return what a parameter or a stage is called in a page: "top-p"."""
    return _LABELS.get(name, name.replace("_", " "))


def controls(sampling: Sampling, default: Sampling, names: Iterable[str] = CORE) -> list[dict[str, Any]]:
    """Return the parameters as controls, in JSON values.

    Parameters
    ----------
    sampling
        Where they stand.
    default
        Where they go back to.
    names
        Which, of the numeric ones.

    Returns
    -------
    list of dict
        name, label, meaning, group; low, high, step and scale of a slider (at "log" the step is a share of
        the whole way); off, a number or None, with `can_be_off`, and `off_end`, the slider's end at which it
        stands when it is not between low and high; value and default; idle, why it has no effect, or "";
        least, most, open (least itself is not allowed) and whole, for what is typed; words, what some values
        are called, as pairs.
    """
    check_names(dict.fromkeys(names := tuple(names)))
    idle = no_effect(sampling)
    return [_control(name, sampling, default, idle) for name in names if name in RANGES]


def sampling_state(model: Handle | None, names: Iterable[str] = CORE) -> dict[str, Any]:
    """Return the session's sampling as a page shows it: controls, the line that sets it, the presets.

    Parameters
    ----------
    model
        Whose defaults hold; None for ours.
    """
    default = Sampling() if model is None else model.default_sampling
    current = default.replace(**settings.get_sampling_overrides())
    return {
        "controls": controls(current, default, names),
        "line": session_line(),
        "presets": presets.names(),
    }


def apply(values: Mapping[str, Any], *, clear: Iterable[str] = ()) -> str:
    """Make `values` (and a `preset` among them) the session's parameters, those in `clear` their defaults.

    Returns
    -------
    str
        The line that does the same in a new session; "" when everything is at its default.

    Raises
    ------
    SamplingError, PresetError
        If a name or a value is wrong; nothing is changed then.
    """
    settings.change_sampling(presets.expand(values), clear=clear)
    return session_line()


def session_line() -> str:
    """Return the line that sets what is set for the session; "" when nothing is."""
    return set_line(settings.get_sampling_overrides())


def set_line(values: Mapping[str, Any]) -> str:
    """Return the line that sets `values` for the session: "%llama set --temperature 0.8 --top-p 0.95"."""
    words = [word for name in FIELDS if name in values for word in _option(name, values[name])]
    return " ".join(["%llama set", *words]) if words else ""


def as_typed(value: Any) -> str:
    """Return a number as one types it: no more digits than it needs."""
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def _option(name: str, value: Any) -> list[str]:
    option = "--" + name.replace("_", "-")
    if value is None:
        return []  # an option cannot say it, and nothing set says the same
    if name == "order":
        return [option, ",".join(value)] if value else []
    if name == "logit_bias":
        return [option, json.dumps(dict(value), ensure_ascii=False)] if value else []
    if isinstance(value, tuple):
        return [word for text in value for word in (option, _quoted(_escaped(text)))]
    return [option, as_typed(value)]


def _escaped(text: str) -> str:
    for meant, typed in (("\n", r"\n"), ("\t", r"\t"), ("\r", r"\r")):
        text = text.replace(meant, typed)
    return text


def _quoted(text: str) -> str:
    inner = text.replace('"', '\\"')
    return f'"{inner}"'


def _control(name: str, sampling: Sampling, default: Sampling, idle: Mapping[str, str]) -> dict[str, Any]:
    limits = RANGES[name]
    low, high, step, scale = _SLIDERS[name]
    return {
        "name": name,
        "label": label(name),
        "meaning": limits.meaning,
        "group": next(title for title, members in GROUPS.items() if name in members),
        "low": low,
        "high": high,
        "step": step,
        "scale": scale,
        "off": _OFF.get(name),
        "can_be_off": name in _OFF,
        "off_end": "low" if name in _OFF_IS_LOW else "high",
        "value": getattr(sampling, name),
        "default": getattr(default, name),
        "idle": idle.get(name, ""),
        "least": limits.low,
        "most": limits.high if math.isfinite(limits.high) else None,
        "open": limits.low_open,
        "whole": limits.whole,
        "words": [[value, word] for value, word in _WORDS.get(name, {}).items()],
    }
