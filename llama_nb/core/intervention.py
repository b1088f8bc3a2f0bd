"""What is turned off in a model, as plain data: parts of layers, and what stands in their place.

Knows names and numbers only; how a part is turned off is `engines/interventions.py`.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from llama_nb.core.errors import InterventionError

Site = Literal["head", "attention", "mlp", "layer"]
Mode = Literal["zero", "mean"]

_WRITTEN: Final = re.compile(r"L?(\d{1,4})(?:[. ](?:H?(\d{1,4})|(attn|attention|mlp)))?", re.IGNORECASE)
_FORMS: Final = "3.5 is head 5 of layer 3; 3.attn and 3.mlp are its attention and its MLP, 3 is all of it."


@dataclass(frozen=True, slots=True)
class Intervention:
    """One part of a model that does not do its work.

    Every part adds something to the residual stream. That is set to zero, or to its mean over the positions
    of a text: then what the part says at every place stays, and what it says about this place is gone.

    Parameters
    ----------
    site
        "head" (one head's share of what attention adds), "attention" or "mlp" (what the block of a layer
        adds), "layer" (both: the residual stream passes through).
    layer, head
        Counted from 0; `head` for the site "head" alone.
    mode
        "zero" or "mean".
    over
        The token ids of the text over which the mean is taken; empty: the prompt's own.

    Raises
    ------
    InterventionError
        If that is no part, whatever the model.
    """

    site: Site
    layer: int
    head: int | None = None
    mode: Mode = "zero"
    over: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_choice("site", self.site, get_args(Site))
        _check_choice("mode", self.mode, get_args(Mode))
        if not _whole(self.layer):
            raise InterventionError(f"A layer is a whole number from 0, not {self.layer!r}.", _FORMS)
        if self.site == "head" and not _whole(self.head):
            raise InterventionError(f"A head is a whole number from 0, not {self.head!r}.", _FORMS)
        if self.site != "head" and self.head is not None:
            raise InterventionError(f"The {self.site} of a layer has no head {self.head!r}.", _FORMS)

    @property
    def place(self) -> tuple[Site, int, int | None]:
        """Which part it is: of two interventions in one place only the later one counts."""
        return self.site, self.layer, self.head

    @property
    def name(self) -> str:
        """The part's name: "L3 H5", "L3 attention", "L3 MLP", "L3"."""
        return f"L{self.layer}" + {
            "head": f" H{self.head}",
            "attention": " attention",
            "mlp": " MLP",
            "layer": "",
        }.get(self.site, f" {self.site}")

    def record(self) -> dict[str, Any]:
        """Return it as JSON values, without what is at rest."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }


def read_part(written: Any, *, mode: Mode = "zero", over: Sequence[int] = ()) -> Intervention:
    """Read a part as it is written: "3.5" (a head), "3.attn", "3.mlp", "3", or as it is shown: "L3 H5".

    Raises
    ------
    InterventionError
        If it is nothing of that.
    """
    found = _WRITTEN.fullmatch(written.strip()) if isinstance(written, str) else None
    if found is None:
        raise InterventionError(f"{_shown(written)} names no part of a model.", _FORMS)
    layer, head, block = found.groups()
    if head is not None:
        return Intervention("head", int(layer), int(head), mode, tuple(over))
    sites: dict[str, Site] = {"": "layer", "mlp": "mlp", "attn": "attention", "attention": "attention"}
    return Intervention(sites[(block or "").lower()], int(layer), None, mode, tuple(over))


def merged(before: Iterable[Intervention], after: Iterable[Intervention]) -> tuple[Intervention, ...]:
    """Return all of them, each place once: the later one counts."""
    return tuple({each.place: each for each in (*before, *after)}.values())


def names(interventions: Iterable[Intervention]) -> str:
    """Return what is off in words: "L3 H5, L4 MLP at their mean"."""
    zero, mean = ([each.name for each in interventions if each.mode == mode] for mode in ("zero", "mean"))
    their = "its mean" if len(mean) == 1 else "their mean"
    said = [", ".join(zero) + " off"] * bool(zero) + [f"{', '.join(mean)} at {their}"] * bool(mean)
    return "; ".join(said)


def check_parts(interventions: Iterable[Intervention], layers: int, heads: int, model: str) -> None:
    """Raise InterventionError for a part that a model of so many layers and heads has not."""
    for each in interventions:
        if each.layer >= layers:
            raise InterventionError(
                f"{model} has no layer {each.layer}: it has {layers:,}, from 0 to {layers - 1}.", _FORMS
            )
        if each.head is not None and each.head >= heads:
            raise InterventionError(
                f"{model} has no head {each.head} in layer {each.layer}: a layer has {heads:,}, "
                f"from 0 to {heads - 1}.",
                _FORMS,
            )


def _check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise InterventionError(f"{name} is {_shown(value)}.", f"It is one of: {', '.join(known)}.")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"
