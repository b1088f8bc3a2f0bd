"""Probabilities and entropies as people read them.

Where nobody watches two digits are shown and not three: those are the same on another processor.
"""

import math

from llama_nb.render.html import MONO, escape, styled
from llama_nb.render.tokens import PILL, visible_text

_SMALLEST = 1e-4  # a smaller probability is said to be below it


def percent(probability: float, *, watched: bool) -> str:
    """Write a probability: "43.2 %", "0.05 %", "<0.01 %", "0"."""
    if probability <= 0:
        return "0"
    if probability < _SMALLEST:
        return "<0.01 %"
    if probability >= 1:
        return "100 %"
    value = 100 * probability
    text = f"{value:.{3 if watched else 2}g}"
    if float(text) >= 100:  # rounding must not call it certain
        text = ">99.9" if watched else ">99"
    return f"{text} %"


def percent_of(logprob: float | None, *, watched: bool) -> str:
    """Write a natural-log probability as a percentage; a dash where there is none."""
    return "\u2013" if logprob is None else percent(math.exp(logprob), watched=watched)


def nats(entropy: float | None, *, watched: bool) -> str:
    """Write an entropy: "1.24"."""
    if entropy is None:
        return "\u2013"
    return f"{entropy:.2f}" if watched else f"{entropy:.1f}"


def token_html(text: str, *, special: bool) -> str:
    """Return a token as it stands in tables: monospaced, a control token as a pill."""
    shown = escape(visible_text(text))
    return styled("code", f"{PILL};{MONO}" if special else f"{MONO};white-space:pre-wrap", shown)
