"""How the catalogue looks: the table of models, one model with its sources, a licence as a checklist."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from llama_nb.catalog import catalog
from llama_nb.catalog.catalog import ModelCard
from llama_nb.catalog.licences import HEADINGS, Licence, Obligation, licence, licences
from llama_nb.catalog.models import by_family
from llama_nb.magics.shown import Shown, table
from llama_nb.magics.units import number

if TYPE_CHECKING:
    from llama_nb.render.nodes import Node

_NO_PLAN: Final = "No plan: the catalogue has no sourced shape, so nothing can be said about the memory."
_COLUMNS: Final = ("family", "model", "parameters", "context", "reads", "released", "access")


def models_table(cards: Iterable[ModelCard]) -> Shown:
    """Return a row for each model, put together by family in the order given."""
    rows = []
    shown = list(cards)
    for family, group in by_family(shown):
        for index, card in enumerate(group):
            rows.append(
                [
                    family if index == 0 else "",
                    card.name,
                    _parameters(card),
                    f"{card.context:,}" if card.context else "",
                    " and ".join(card.modalities),
                    card.date,
                    _access(card),
                ]
            )
    made = table(_COLUMNS, rows)
    return made + Shown(_NO_PLAN) if any(card.shape is None for card in shown) else made


def model_view(card: ModelCard) -> Shown:
    """Return what is known about a model, figure by figure, each with its source."""
    from llama_nb.render.nodes import element
    from llama_nb.render.table import table_node
    from llama_nb.render.text import to_text

    names, sources = catalog.languages(), catalog.sources()
    training = card.training
    tokens = (
        [f"{training.bound} {number(training.tokens)} tokens".strip()] if training and training.tokens else []
    )
    hours = [f"{training.gpu_hours:,} hours of {training.gpu}"] if training and training.gpu_hours else []
    scores = [f"{name.upper()} {score}" for name, score in card.scores.items()]
    chat = catalog.chat_formats()[card.chat_format]["name"] if card.chat_format else ""
    facts = {
        "hub": ("on the hub", card.hub_id or ""),
        "gated": ("access", _access(card)),
        "date": ("released", card.date),
        "size": ("size", card.size),
        "shape": ("parameters", _exactly(card)),
        "context": ("context", f"{card.context:,} tokens" if card.context else ""),
        "languages": ("languages", ", ".join(names[code] for code in card.languages)),
        "licence": ("licence", licence(card).name),
        "chat_format": ("chat format", chat),
        "knowledge": ("newest data", card.knowledge or ""),
        "training": ("training", ", ".join([*tokens, *hours])),
        "scores": ("accuracy, %", ", ".join(scores)),
    }
    used = list(dict.fromkeys(card.figures[key] for key, (_, value) in facts.items() if value))
    rows = [
        [label, value, f"{used.index(card.figures[key]) + 1}"]
        for key, (label, value) in facts.items()
        if value
    ]
    listed = element("ol", *(element("li", sources[key]) for key in used))
    notes = " ".join(filter(None, [card.note, "" if card.shape else _NO_PLAN]))
    nodes = [
        element("p", element("strong", card.name), *([f": {notes}"] if notes else [])),
        table_node(["", "", "source"], rows),
        listed,
    ]
    return Shown(to_text(nodes), nodes)


def licences_table() -> Shown:
    """Return what distinguishes the licences, one a row."""
    rows = [
        [
            each.name,
            each.released,
            each.display or ("nothing" if each.redistribution else ""),
            f"{each.name_prefix} ..." if each.name_prefix else ("any name" if each.redistribution else ""),
            each.outputs,
            "yes" if each.commercial else "no",
        ]
        for each in licences()
    ]
    headings = ["licence", "released", "to be shown", "derived models", "outputs may train", "commercial"]
    advice = "The checklist of one: %llama license MODEL. These are summaries and no legal advice."
    return table(headings, rows) + Shown(advice)


def licence_view(found: Licence, card: ModelCard | None = None) -> Shown:
    """Return a licence as a checklist; for a card with what applies to it."""
    from llama_nb.render.nodes import element
    from llama_nb.render.text import to_text

    nodes: list[Node] = [
        element("p", element("strong", found.name), *([f", for {card.name}"] if card else []))
    ]
    nodes.append(element("p", found.summary))
    for applies, heading in HEADINGS.items():
        items = [item for item in found.applying(card) if item.applies == applies]
        if items:
            nodes.append(element("p", element("strong", heading)))
            nodes.append(element("ul", *(element("li", *_line(item)) for item in items)))
    if found.notice:
        nodes.append(element("p", "The line for the Notice file: ", element("code", found.notice)))
    links = [element("a", found.url, href=found.url)]
    policy = [element("a", found.policy, href=found.policy)] if found.policy else []
    nodes.append(
        element(
            "p", "Read the text: ", *links, *(["; Acceptable Use Policy: ", *policy] if policy else []),
            ". This is a summary and no legal advice.",
        )
    )  # fmt: skip
    return Shown(to_text(nodes), nodes)


def _line(item: Obligation) -> "list[Node]":
    from llama_nb.render.nodes import element

    # A box to tick for what has to be done; a right has none.
    mark = "" if item.applies == "allowed" else "\u2610 "
    section = f" [{item.section}]" if item.section else ""
    return [mark, element("strong", f"{item.title}{section}"), f": {item.text}"]


def _access(card: ModelCard) -> str:
    if card.hub_id is None:
        return "by application"
    return "gated" if card.gated else "open"


def _parameters(card: ModelCard) -> str:
    if card.parameters is None or card.active_parameters is None:
        return f"{card.size} (no plan)"
    active = f" ({number(card.active_parameters)} active)" if card.kind == "mixture" else ""
    return f"{number(card.parameters)}{active}"


def _exactly(card: ModelCard) -> str:
    if card.parameters is None:
        return ""
    active = f" in all, {card.active_parameters:,} active" if card.kind == "mixture" else ""
    return f"{card.parameters:,}{active}"
