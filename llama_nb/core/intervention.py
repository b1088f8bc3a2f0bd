"""What is changed in a model, as plain data: parts of layers that are off, experts forbidden or forced.

Knows names and numbers only; how a part is turned off is `engines/interventions.py`, how a router is made to
choose otherwise `engines/rerouting.py`.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from llama_nb.core.errors import InterventionError

Site = Literal["head", "attention", "mlp", "layer", "shared expert", "expert", "top_k"]
Mode = Literal["zero", "mean"]
Choice = Literal["ban", "force"]

_WRITTEN: Final = re.compile(
    r"L?(\d{1,4})(?:[. ](?:H?(\d{1,4})|E(\d{1,4})|(attn|attention|mlp|shared|shared expert)))?", re.IGNORECASE
)
_BLOCKS: Final[Mapping[str, Site]] = {
    "attn": "attention", "attention": "attention", "mlp": "mlp",
    "shared": "shared expert", "shared expert": "shared expert",
}  # fmt: skip
_FORMS: Final = (
    "3.5 is head 5 of layer 3; 3.attn and 3.mlp are its attention and its MLP, 3 is all of it. "
    "In an MoE layer 3.E5 is expert 5, and 3.shared the shared expert."
)


@dataclass(frozen=True, slots=True)
class Intervention:
    """One part of a model that does not do its work, or a router that chooses otherwise.

    Every part adds something to the residual stream. That is set to zero, or to its mean over the positions
    of a text: then what the part says at every place stays, and what it says about this place is gone.

    Of a mixture, an expert can be forbidden or forced: the router then gives its tokens to others. And every
    router can be made to choose more or fewer experts.

    Parameters
    ----------
    site
        "head" (one head's share of what attention adds), "attention" or "mlp" (what the block of a layer
        adds), "layer" (both: the residual stream passes through), "shared expert" (what the expert of every
        token adds); "expert" (one that a router chooses), "top_k" (how many each router chooses).
    layer, head
        Counted from 0; `head` for the site "head" alone. None for "top_k", which is every layer's.
    mode
        "zero" or "mean"; for an expert "ban" (it is never chosen) or "force" (every token goes there, in
        place of the last one that is chosen). "top_k" has no mode.
    over
        The token ids of the text over which the mean is taken; empty: the prompt's own.
    expert
        Counted from 0, for the site "expert" alone.
    top_k, experts
        How many experts each router chooses, of how many; for the site "top_k" alone.

    Raises
    ------
    InterventionError
        If that is no part, whatever the model.
    """

    site: Site
    layer: int | None
    head: int | None = None
    mode: Mode | Choice = "zero"
    over: tuple[int, ...] = ()
    expert: int | None = None
    top_k: int | None = None
    experts: int | None = None

    def __post_init__(self) -> None:
        _check_choice("site", self.site, get_args(Site))
        _check_choice("mode", self.mode, get_args(Choice if self.site == "expert" else Mode))
        if self.site == "top_k":
            self._check_top_k()
        elif not _whole(self.layer):
            raise InterventionError(f"A layer is a whole number from 0, not {self.layer!r}.", _FORMS)
        for name in ("head", "expert"):
            number = getattr(self, name)
            if self.site == name and not _whole(number):
                article = "An" if name == "expert" else "A"
                raise InterventionError(f"{article} {name} is a whole number from 0, not {number!r}.", _FORMS)
            if self.site != name and number is not None:
                raise InterventionError(f"The {self.site} of a layer has no {name} {number!r}.", _FORMS)

    def _check_top_k(self) -> None:
        if not _whole(self.top_k) or self.top_k == 0:
            raise InterventionError(
                f"top_k is {_shown(self.top_k)}; it must be a whole number, 1 or more.",
                "It says how many experts each router chooses: top_k=2.",
            )
        if self.layer is not None:
            raise InterventionError("top_k is that of all layers.", f"top_k={self.top_k}")

    @property
    def place(self) -> tuple[Site, int | None, int | None]:
        """Which part it is: of two interventions in one place only the later one counts."""
        return self.site, self.layer, self.head if self.expert is None else self.expert

    @property
    def reroutes(self) -> bool:
        """Whether it changes what a router chooses; all others change what a part adds."""
        return self.site in ("expert", "top_k")

    @property
    def of_mixtures(self) -> bool:
        """Whether only a mixture of experts can have it."""
        return self.reroutes or self.site == "shared expert"

    @property
    def name(self) -> str:
        """The part's name: "L3 H5", "L3 attention", "L3 MLP", "L3", "L3 E2", "L3 shared expert", "top-1"."""
        if self.site == "top_k":
            return f"top-{self.top_k}" + (f" of {self.experts}" if self.experts is not None else "")
        return f"L{self.layer}" + {
            "head": f" H{self.head}",
            "attention": " attention",
            "mlp": " MLP",
            "layer": "",
            "expert": f" E{self.expert}",
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

    In a mixture "3.E5" (or "L3 E5") is an expert, which is forbidden, and "3.shared" the shared one.

    Raises
    ------
    InterventionError
        If it is nothing of that.
    """
    found = _WRITTEN.fullmatch(written.strip()) if isinstance(written, str) else None
    if found is None:
        raise InterventionError(f"{_shown(written)} names no part of a model.", _FORMS)
    layer, head, expert, block = found.groups()
    if expert is not None:
        if mode != "zero" or over:
            raise InterventionError(
                f"{written.strip()} is an expert: it is forbidden, and has no mean.",
                "A mean can stand for the shared expert, 3.shared, or for all of the MoE layer, 3.mlp.",
            )
        return Intervention("expert", int(layer), mode="ban", expert=int(expert))
    if head is not None:
        return Intervention("head", int(layer), int(head), mode, tuple(over))
    site = _BLOCKS[block.lower()] if block else "layer"
    return Intervention(site, int(layer), None, mode, tuple(over))


def merged(before: Iterable[Intervention], after: Iterable[Intervention]) -> tuple[Intervention, ...]:
    """Return all of them, each place once: the later one counts."""
    return tuple({each.place: each for each in (*before, *after)}.values())


def names(interventions: Iterable[Intervention]) -> str:
    """Return what is changed in words: "L3 H5, L4 MLP at their mean", "L3 E2 forbidden; top-1 of 8"."""
    said: dict[str, list[str]] = {}
    for each in interventions:
        said.setdefault("" if each.site == "top_k" else each.mode, []).append(each.name)
    their = "its mean" if len(said.get("mean", ())) == 1 else "their mean"
    verdicts = {"zero": " off", "mean": f" at {their}", "ban": " forbidden", "force": " forced", "": ""}
    return "; ".join(", ".join(said[mode]) + verdict for mode, verdict in verdicts.items() if mode in said)


def check_parts(interventions: Iterable[Intervention], layers: int, heads: int, model: str) -> None:
    """Raise InterventionError for a part that a model of so many layers and heads has not.

    Of its experts `core.mixture.check_routing` knows.
    """
    for each in interventions:
        if each.layer is not None and each.layer >= layers:
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
