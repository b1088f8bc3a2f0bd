"""Amounts as people write them: `50M` tokens, a share of `0.8` or `80%`, hours."""

import math
import re
from typing import Final

from llama_nb.core.errors import CostError

_SCALES: Final = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_TOKENS: Final = re.compile(
    r"([0-9][0-9_,]{0,30}(?:\.[0-9]{1,12})?(?:e\+?[0-9]{1,2})?)\s*([kmbt]?)", re.IGNORECASE
)
_MOST_TOKENS: Final = 10**15


def parse_tokens(amount: str | float) -> float:
    """Return a number of tokens: 50e6 for "50M", also "1.5B", "200k", "1,000,000" and numbers.

    Raises
    ------
    CostError
        If it is no such number, below 1 or above 10^15.
    """
    hint = "Write a number such as 200k, 50M or 1.5B."
    if isinstance(amount, str):
        matched = _TOKENS.fullmatch(amount.strip())
        if matched is None:
            raise CostError(f"{_short(amount)} is no number of tokens.", hint)
        tokens = float(matched[1].replace("_", "").replace(",", "")) * _SCALES[matched[2].lower()]
    else:
        tokens = _number(amount, "tokens_per_month", hint)
    if not 1 <= tokens <= _MOST_TOKENS:
        raise CostError(f"{_short(amount)} tokens a month is outside 1 to 10^15.", hint)
    return tokens


def parse_share(name: str, share: str | float, *, above_zero: bool = False) -> float:
    """Return a share between 0 and 1 from 0.8, "0.8" or "80%"; CostError names it by `name`."""
    hint = "Write a share such as 0.8 or 80%."
    if isinstance(share, str):
        text = share.strip()
        try:
            value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            raise CostError(f"{name} is {_short(share)}; it must be a share between 0 and 1.", hint) from None
    else:
        value = _number(share, name, hint)
    if not 0 <= value <= 1 or (above_zero and value == 0):
        lowest = "above 0, at most 1" if above_zero else "between 0 and 1"
        raise CostError(f"{name} is {_short(share)}; it must be {lowest}.", hint)
    return value


def parse_number(
    name: str, value: str | float, lowest: float, highest: float, *, whole: bool = False
) -> float:
    """Return a number between `lowest` and `highest`; CostError names it by `name`."""
    kind = "a whole number" if whole else "a number"
    hint = f"{kind} from {lowest:g} to {highest:g}".capitalize() + "."
    try:
        number = float(value.replace(",", "")) if isinstance(value, str) else _number(value, name, hint)
    except ValueError:
        raise CostError(f"{name} is {_short(value)}; it must be {kind}.", hint) from None
    if not lowest <= number <= highest or (whole and number != int(number)):
        raise CostError(f"{name} is {_short(value)}; it must be {kind} from {lowest:g} to {highest:g}.", hint)
    return number


def _number(value: object, name: str, hint: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CostError(f"{name} is {_short(value)}; it must be a number.", hint)
    return float(value) if abs(value) < 1e300 else math.inf


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
