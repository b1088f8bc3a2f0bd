"""The model cards of models.json: names, hub ids, shapes, licences, and the source of each figure.

Data only, looked up by exact names; `models` finds what a person types. What a model takes is the planner's,
whether it can be had is loading's.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llama_nb.core.errors import UnsupportedError

Kind = Literal["text", "guard", "vision", "mixture", "classifier"]
Modality = Literal["text", "image"]


@dataclass(frozen=True, slots=True)
class Training:
    """What the pre-training took, as the model card says.

    Attributes
    ----------
    tokens
        Tokens of text (Llama 4: of text and images); None where the card counts something else.
    bound
        How exactly that is: "over", "up to", "about", or "" for a plain figure.
    gpu_hours, gpu
        Hours of one GPU of the kind `gpu`, added up; for the base model where only that is stated.
    """

    tokens: int | None = None
    bound: str = ""
    gpu_hours: int | None = None
    gpu: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ModelCard:
    """One published model; there is one object for each, so cards can be compared and hashed.

    Attributes
    ----------
    name
        Ours: "llama-3.2-1b-instruct".
    hub_id
        The repository on huggingface.co; None for models that are not published there.
    date
        Of the release: "2024-09-25", or as much of it as the source says.
    kind
        "text" models write text; "guard" classify text by writing it; "vision", "mixture" (of experts) and
        "classifier" have other architectures.
    context
        The longest sequence in tokens; None where no source says it.
    languages
        Codes (ISO 639-1) of the languages that the model card supports.
    licence
        Key of the licence in `licences`.
    gated
        Whether the licence must be accepted on the hub before the download.
    modalities
        What the model reads; all of them write text only.
    chat_format
        Key of `chat_formats()`; None for base models and classifiers.
    training
        What the pre-training took; None where the card does not say.
    knowledge
        Month of the newest pre-training data.
    scores
        Accuracies in percent on the model card: "mmlu" (5-shot) and "mmlu-pro", of the tuned model.
    shape
        The numbers of config.json that decide the size, under their names there, with "parameters" (and
        "active_parameters" of a mixture) computed from them; None where no sourced shape is known.
    note
        What else must be known.
    figures
        For each figure above, the key of its source.
    """

    name: str
    hub_id: str | None
    family: str
    date: str
    kind: Kind
    size: str
    context: int | None
    languages: tuple[str, ...]
    licence: str
    gated: bool
    modalities: tuple[Modality, ...]
    chat_format: str | None
    training: Training | None
    knowledge: str | None
    scores: Mapping[str, float]
    shape: Mapping[str, Any] | None
    note: str
    figures: Mapping[str, str]

    @property
    def parameters(self) -> int | None:
        """Distinct parameters, None without a shape."""
        return int(self.shape["parameters"]) if self.shape else None

    @property
    def active_parameters(self) -> int | None:
        """Parameters that take part in one token: all of them in a dense model; None without a shape."""
        return int(self.shape.get("active_parameters", self.shape["parameters"])) if self.shape else None

    @property
    def config(self) -> dict[str, Any]:
        """The shape as the keys of a config.json, with the context.

        Raises
        ------
        UnsupportedError
            If no sourced shape is known: there is no plan for this model.
        """
        if self.shape is None:
            raise UnsupportedError(
                f"{self.name} has no sourced shape in the catalogue, so there is no plan for it.",
                "With its config.json in a folder or in the cache: `%llama plan FOLDER`",
            )
        counts = ("parameters", "active_parameters")
        config = {key: value for key, value in self.shape.items() if key not in counts}
        return config if self.context is None else {**config, "max_position_embeddings": self.context}

    @property
    def multimodal(self) -> bool:
        """Whether it reads images too."""
        return "image" in self.modalities

    @property
    def chats(self) -> bool:
        """Whether it was tuned to answer messages (guards, which judge them, do not count)."""
        return self.chat_format not in (None, "guard")

    @property
    def url(self) -> str | None:
        """The model's page, where a gated model's licence is accepted."""
        return f"https://huggingface.co/{self.hub_id}" if self.hub_id else None

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the figures come from."""
        return tuple(dict.fromkeys(sources()[key] for key in self.figures.values()))

    def __repr__(self) -> str:
        facts = [f"{self.context:,} tokens of context"] if self.context else []
        if self.parameters is not None:
            facts.insert(0, f"{self.parameters:,} parameters")
        place = self.hub_id or "not on the hub"
        return f"<{', '.join([f'{self.name}: {place}', *facts])}>"


@functools.cache
def cards() -> tuple[ModelCard, ...]:
    """Return every model card, oldest family first."""
    return tuple(_card(family, model) for family in _data()["families"] for model in family["models"])


def find(name: str) -> ModelCard | None:
    """Return the card with this name or hub id, in any case; None when there is none."""
    wanted = name.lower()
    known = {card.name: card for card in cards()} | {
        card.hub_id.lower(): card for card in cards() if card.hub_id
    }
    return known.get(wanted)


def names() -> tuple[str, ...]:
    """Return our names of all models that are published on the hub."""
    return tuple(card.name for card in cards() if card.hub_id)


def hub_ids() -> tuple[str, ...]:
    """Return the hub ids of all models that are published there."""
    return tuple(card.hub_id for card in cards() if card.hub_id)


def sources() -> Mapping[str, str]:
    """Return the sources of the figures by their keys."""
    return dict(_data()["sources"])


def languages() -> Mapping[str, str]:
    """Return the names of the languages by their codes: "de" is "German"."""
    return dict(_data()["languages"])


def chat_formats() -> Mapping[str, Mapping[str, str]]:
    """Return each chat format by its key: its "name", how it "looks", the key of its "source"."""
    return dict(_data()["chat_formats"])


@functools.cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Path(__file__).with_name("models.json").read_text(encoding="utf-8"))
    return data


def _card(family: Mapping[str, Any], model: Mapping[str, Any]) -> ModelCard:
    """Return a model's card; what the model does not say itself, its family says."""
    known = {**family, **model}
    shape = dict(_data()["shapes"][model["shape"]]) if "shape" in model else None
    figures = {**family["source"], **model.get("source", {})}
    if shape is not None:
        figures["shape"] = shape.pop("source")
    if known.get("chat_format"):
        figures["chat_format"] = _data()["chat_formats"][known["chat_format"]]["source"]
    stated = {"training": known.get("training"), "scores": known.get("scores"), "hub": known.get("hub")}
    absent = {figure for figure, value in stated.items() if not value}
    absent |= {"context"} if known["context"] is None else set()
    return ModelCard(
        name=known["name"],
        hub_id=known.get("hub"),
        family=known["family"],
        date=known["date"],
        kind=known["kind"],
        size=known["size"],
        context=known["context"],
        languages=tuple(known["languages"]),
        licence=known["licence"],
        gated=known["gated"],
        modalities=tuple(known.get("modalities", ["text"])),
        chat_format=known.get("chat_format"),
        training=Training(**known["training"]) if known.get("training") else None,
        knowledge=known.get("knowledge"),
        scores=known.get("scores", {}),
        shape=shape,
        note=known.get("note", ""),
        figures={figure: key for figure, key in figures.items() if figure not in absent},
    )
