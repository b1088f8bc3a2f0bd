"""The model cards of models.json: names, hub ids, shapes and licences.

Data only: what a model takes is the planner's, whether it can be had is loading's.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["text", "guard", "vision", "mixture", "classifier"]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One published model.

    Attributes
    ----------
    name
        Ours: "llama-3.2-1b-instruct".
    hub_id
        The repository on huggingface.co; None for models that are not published there.
    kind
        "text" models write text; "guard" classify text by writing it; "vision", "mixture" (of experts) and
        "classifier" have other architectures.
    context
        The longest sequence in tokens; None where no source says it.
    gated
        Whether the licence must be accepted on the hub before the download.
    shape
        The numbers of config.json that decide the size, with the parameters computed from them; None where
        no sourced shape is known.
    sources
        Where the figures come from.
    """

    name: str
    hub_id: str | None
    family: str
    date: str
    kind: Kind
    size: str
    context: int | None
    licence: str
    gated: bool
    shape: Mapping[str, Any] | None
    sources: tuple[str, ...]

    @property
    def parameters(self) -> int | None:
        """Distinct parameters, None without a shape."""
        return int(self.shape["parameters"]) if self.shape else None

    @property
    def url(self) -> str | None:
        """The model's page, where a gated model's licence is accepted."""
        return f"https://huggingface.co/{self.hub_id}" if self.hub_id else None


@functools.cache
def cards() -> tuple[ModelCard, ...]:
    """Return every model card, oldest family first."""
    data = json.loads(Path(__file__).with_name("models.json").read_text(encoding="utf-8"))
    return tuple(
        ModelCard(
            name=model["name"],
            hub_id=model.get("hub"),
            family=family["family"],
            date=family["date"],
            kind=model["kind"],
            size=model["size"],
            context=model.get("context", family["context"]),
            licence=family["licence"],
            gated=family["gated"],
            shape=data["shapes"][model["shape"]] if "shape" in model else None,
            sources=tuple(data["sources"][key] for key in family["source"]),
        )
        for family in data["families"]
        for model in family["models"]
    )


def find(name: str) -> ModelCard | None:
    """Return the card with this name or hub id, in any case; None when there is none."""
    wanted = name.lower()
    return next((card for card in cards() if wanted in (card.name, (card.hub_id or "").lower())), None)


def names() -> tuple[str, ...]:
    """Return our names of all models that are published on the hub."""
    return tuple(card.name for card in cards() if card.hub_id)


def hub_ids() -> tuple[str, ...]:
    """Return the hub ids of all models that are published there."""
    return tuple(card.hub_id for card in cards() if card.hub_id)
