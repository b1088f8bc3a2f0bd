"""What each licence asks for: a checklist in our own words, with the section numbers of the text.

A summary to read beside the text, never instead of it: this is no legal advice.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from llama_nb.catalog import models
from llama_nb.catalog.catalog import ModelCard
from llama_nb.core.errors import CatalogError, did_you_mean

Applies = Literal["allowed", "distributing", "training", "always", "large", "eu"]

# In the order of the checklist.
HEADINGS: Final[Mapping[Applies, str]] = {
    "allowed": "You may",
    "distributing": "When you pass on the model, or something that contains it",
    "training": "When you train or improve a model with it",
    "always": "Always",
    "large": "If you are very large",
    "eu": "If you are in the European Union",
}


@dataclass(frozen=True, slots=True)
class Obligation:
    """One line of the checklist.

    Attributes
    ----------
    section
        Number in the agreement's text, "1.b.i"; None where it stands elsewhere (the Acceptable Use
        Policy), or the text is not public.
    title, text
        In our words.
    applies
        When: a key of `HEADINGS`.
    """

    section: str | None
    title: str
    text: str
    applies: Applies


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence in a few facts, and its obligations.

    Attributes
    ----------
    url, policy
        The agreement's text, and the Acceptable Use Policy that belongs to it.
    commercial
        Whether commercial use is allowed, under the conditions below.
    redistribution
        Whether the weights may be passed on, under the conditions below; None where no public text says.
    display
        What must be shown prominently: "Built with Llama".
    name_prefix
        What names of derived models that are passed on begin with.
    outputs
        What the outputs may train: "any model", "own derivatives" (of the same Llama) or "ask Meta".
    notice
        The line that each copy carries in its Notice file, word for word.
    source
        What was read for this summary.
    """

    key: str
    name: str
    released: str
    url: str
    policy: str | None
    commercial: bool
    redistribution: bool | None
    display: str | None
    name_prefix: str | None
    outputs: Literal["any model", "own derivatives", "ask Meta"]
    notice: str | None
    summary: str
    source: str
    obligations: tuple[Obligation, ...]

    @property
    def advice(self) -> str:
        """What must stand beside every summary."""
        return f"Read the text: {self.url} This is a summary and no legal advice."

    def applying(self, card: ModelCard | None = None) -> tuple[Obligation, ...]:
        """Return the obligations; for a card, without those that are for multimodal models if it is none."""
        text_only = card is not None and not card.multimodal
        return tuple(item for item in self.obligations if not (text_only and item.applies == "eu"))

    def __repr__(self) -> str:
        lines = [self.name, self.summary]
        for applies, heading in HEADINGS.items():
            items = [item for item in self.obligations if item.applies == applies]
            lines += [f"{heading}:"] if items else []
            lines += [f"  [{item.section or '-'}] {item.title}. {item.text}" for item in items]
        lines += [f"Notice: {self.notice}"] if self.notice else []
        return "\n".join([*lines, self.advice])


@functools.cache
def licences() -> tuple[Licence, ...]:
    """Return every licence, oldest first."""
    data: dict[str, Any] = json.loads(Path(__file__).with_name("licences.json").read_text(encoding="utf-8"))
    return tuple(
        Licence(
            **{
                **entry,
                "source": data["sources"][entry["source"]],
                "obligations": tuple(Obligation(**item) for item in entry["obligations"]),
            }
        )
        for entry in data["licences"]
    )


def licence(of: str | ModelCard) -> Licence:
    """Return the licence with a key, or the licence of a model.

    Parameters
    ----------
    of
        "llama-3.1", a model card, or anything that `llama.models.find` understands ("3.3 70b").

    Raises
    ------
    CatalogError
        If it names neither; with the nearest that exist.
    """
    by_key = {entry.key: entry for entry in licences()}
    if isinstance(of, ModelCard):
        return by_key[of.licence]
    if not isinstance(of, str):
        raise CatalogError(f"{of!r} is neither a model nor a licence.", f"Licences: {', '.join(by_key)}")
    text = "-".join(of.lower().split())
    for key in (text, f"llama-{text.removeprefix('llama').removeprefix('-')}"):
        if key in by_key:
            return by_key[key]
    keys = {card.licence for card in models.models.candidates(of)}
    if len(keys) == 1:
        return by_key[keys.pop()]
    try:
        return by_key[models.models.find(of).licence]
    except CatalogError as error:
        near = did_you_mean(text, by_key) or f"Licences: {', '.join(by_key)}."
        raise CatalogError(error.message, f"{error.hint} {near}".strip()) from None
