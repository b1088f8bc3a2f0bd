"""What a person wishes of a model, checked: numbers in their ranges, languages that exist, no contradictions.

Knows no model: whether one fulfils the wishes is `selection`'s.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from llama_nb.catalog import catalog
from llama_nb.core.errors import SelectionError, did_you_mean

Aim = Literal["max_quality", "balanced", "on_device"]
AIMS: Final[tuple[Aim, ...]] = ("max_quality", "balanced", "on_device")

# What an aim takes for the memory when no figure is given, in GB: our own round numbers, a consumer GPU and
# what a laptop or a phone can spare.
BUDGETS: Final[Mapping[Aim, float | None]] = {"max_quality": None, "balanced": 24.0, "on_device": 4.0}

_TOKENS: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([km]?)", re.IGNORECASE)
_TIMES: Final = {"": 1, "k": 1024, "m": 1024**2}


@dataclass(frozen=True, slots=True)
class Wishes:
    """Everything that was asked for.

    Attributes
    ----------
    aim
        What to choose by; "balanced" when nothing says otherwise, "max_quality" when a memory is given.
    vram_gb
        Memory in GB (10^9 bytes) that was given; None when it was not.
    context_tokens
        Tokens of context that are needed; None for a usual chat.
    languages
        Codes of languages that must be supported.
    multimodal, commercial, eu
        Must it read images; is its use commercial; is the user domiciled in the European Union.
    """

    aim: Aim
    vram_gb: float | None = None
    context_tokens: int | None = None
    languages: tuple[str, ...] = ()
    multimodal: bool = False
    commercial: bool = False
    eu: bool = False

    @property
    def budget(self) -> int | None:
        """Bytes that the model may take; None without a limit."""
        memory = BUDGETS[self.aim] if self.vram_gb is None else self.vram_gb
        return None if memory is None else int(memory * 1e9)

    def without(self, field: str) -> "Wishes":
        """Return the same with one wish dropped."""
        changes: dict[str, Any] = {
            each.name: each.default for each in dataclasses.fields(Wishes) if each.name == field
        }
        return dataclasses.replace(self, **changes)

    def given(self) -> tuple[str, ...]:
        """Return the names of what was wished for besides the aim."""
        fields = [each for each in dataclasses.fields(Wishes) if each.name != "aim"]
        return tuple(each.name for each in fields if getattr(self, each.name) != each.default)


def read_wishes(
    *,
    vram_gb: float | str | None = None,
    context_tokens: int | str | None = None,
    languages: str | Iterable[str] = (),
    multimodal: bool = False,
    commercial: bool = False,
    eu: bool = False,
    **aims: Any,
) -> Wishes:
    """Return checked wishes.

    Raises
    ------
    SelectionError
        If a wish is unknown, out of its range, or contradicts another one.
    """
    for name in aims:
        if name not in AIMS:
            known = [*AIMS, *(field.name for field in dataclasses.fields(Wishes) if field.name != "aim")]
            hint = did_you_mean(name, known) or f"One of: {', '.join(known)}."
            raise SelectionError(f"A model cannot be selected by {name!r}.", hint)
    asked = [aim for aim in AIMS if aims.get(aim)]
    if {"max_quality", "balanced"} <= set(asked):
        raise SelectionError(
            "max_quality and balanced contradict each other: one takes 4 bits to get the larger model, the "
            "other does not.",
            "Choose one of them.",
        )
    memory = None if vram_gb is None else _gigabytes(vram_gb)
    default: Aim = "balanced" if memory is None else "max_quality"
    # The best that fits on a device is what on_device means already.
    aim = "on_device" if "on_device" in asked else asked[0] if asked else default
    return Wishes(
        aim,
        memory,
        _tokens(context_tokens),
        _languages(languages),
        bool(multimodal),
        bool(commercial),
        bool(eu),
    )


def _gigabytes(value: float | str) -> float:
    text = str(value).lower().removesuffix("gb").strip()
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise SelectionError(f"vram_gb is {value!r}; it must be a number of GB above 0.", "An example: 24")
    return number


def _tokens(value: int | str | None) -> int | None:
    if value is None:
        return None
    match = _TOKENS.fullmatch(str(value).strip().replace(",", "").replace("_", ""))
    count = int(float(match[1]) * _TIMES[match[2].lower()]) if match else 0
    if count < 1:
        raise SelectionError(
            f"context_tokens is {value!r}; it must be a number of tokens above 0.", "Examples: 8192, 128k, 1m"
        )
    return count


def _languages(value: str | Iterable[str]) -> tuple[str, ...]:
    """Return codes for codes or names: "German, fr" is ("de", "fr")."""
    names = catalog.languages()
    codes = {name.lower(): code for code, name in names.items()} | {code: code for code in names}
    asked = re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else list(value)
    found = []
    for each in filter(None, asked):
        code = codes.get(str(each).lower())
        if code is None:
            near = did_you_mean(str(each), [*names.values()])
            spoken = ", ".join(f"{name} ({code})" for code, name in names.items())
            raise SelectionError(
                f"No model card supports the language {each!r}.",
                f"{near} Supported by some: {spoken}.".strip(),
            )
        found.append(code)
    return tuple(dict.fromkeys(found))
