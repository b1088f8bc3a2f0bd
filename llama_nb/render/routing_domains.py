"""What the experts of a layer tell of the texts' labels: bits, shares, and a control with shuffled labels.

Takes figures and names; how they are computed is `interpret.routing_domains`' business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llama_nb.render.clean import clean_line
from llama_nb.render.heat_map import table_html
from llama_nb.render.html import FIGURES, LINE, MUTED, SMALL, escape, styled, wall, without_math
from llama_nb.render.routing_load import points
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text

MOST_COLUMNS: Final = 16
MOST_DOMAINS: Final = 24

_TABLE: Final = f"border-collapse:collapse;color:inherit;font-size:0.85em;margin:0.2em 0;{FIGURES}"
_CELL: Final = f"border-bottom:1px solid {LINE};padding:2px 0 2px 16px;text-align:right"
_NAME: Final = f"border-bottom:1px solid {LINE};padding:2px 0;text-align:left"
_NOTE: Final = f"{SMALL};{MUTED};margin:0.2em 0;max-width:60em"
_TITLE: Final = "margin:0.9em 0 0.3em"
_HEADS: Final = ("layer", "bits", "shuffled", "95 %", "p", "\u03c7\u00b2", "degrees", "Cram\u00e9r\u2019s V")


@dataclass(frozen=True, slots=True)
class DomainLook:
    """What is shown of the domains; see `interpret.routing_domains.DomainTable`, whose names these are.

    Attributes
    ----------
    shares
        Each domain's shares of the experts of `shown`, the layer that is looked at.
    single
        The domains of one text only: shuffling tells nothing of those.
    """

    domains: tuple[str, ...]
    layers: tuple[int, ...]
    bits: Sequence[float]
    shuffled: Sequence[float]
    shuffled95: Sequence[float]
    p: Sequence[float]
    chi_square: Sequence[float]
    degrees: Sequence[int]
    cramers_v: Sequence[float]
    shuffles: int
    documents: int
    shown: int
    shares: Sequence[Sequence[float]]
    single: tuple[str, ...] = ()


def bundle(look: DomainLook, *, watched: bool) -> dict[str, str]:
    """Return the table as a mime bundle: text/plain and text/html."""
    page = without_math(wall(styled("div", FIGURES, domains_html(look, watched=watched))))
    return {"text/plain": domains_text(look, watched=watched), "text/html": page}


def domains_text(look: DomainLook, *, watched: bool) -> str:
    """Return the table as text."""
    nodes = [table_node(_HEADS, _rows(look, watched))]
    return "\n\n".join((_title(look), to_text(nodes), _note(look)))


def domains_html(look: DomainLook, *, watched: bool) -> str:
    """Return the table and the shares by domain as HTML; the caller passes it through `wall`."""
    head = "".join(styled("th", _CELL if at else _NAME, escape(name)) for at, name in enumerate(_HEADS))
    body = [styled("tr", "", head)]
    for row in _rows(look, watched):
        cells = "".join(styled("td", _CELL if at else _NAME, escape(text)) for at, text in enumerate(row))
        body.append(styled("tr", "", cells))
    parts = [styled("div", _TITLE, escape(_title(look)))]
    parts += [styled("table", _TABLE, "".join(body)), styled("div", _NOTE, escape(_note(look)))]
    if look.shares and len(look.shares[0]) <= MOST_COLUMNS:
        parts.append(_by_domain(look))
    return "".join(parts)


def _by_domain(look: DomainLook) -> str:
    """The shares of the looked-at layer as a heat map, a row a domain."""
    shares = look.shares[:MOST_DOMAINS]
    names = [clean_line(name) for name in look.domains[:MOST_DOMAINS]]
    columns = [f"E{expert}" for expert in range(len(shares[0]))]
    high = max(max(row) for row in shares) or 1.0
    texts = [[points(share) for share in row] for row in shares]
    title = f"Who goes where in L{look.shown}, in percent of each domain:"
    table = table_html(shares, names, columns, high=high, texts=texts, label=title)
    return styled("div", _TITLE, escape(title)) + table


def _rows(look: DomainLook, watched: bool) -> list[list[str]]:
    digits = 3 if watched else 2
    return [
        [
            f"L{layer}",
            f"{look.bits[at]:.{digits}f}",
            f"{look.shuffled[at]:.{digits}f}",
            f"{look.shuffled95[at]:.{digits}f}",
            f"{look.p[at]:.2f}",
            f"{look.chi_square[at]:,.0f}",
            str(look.degrees[at]),
            f"{look.cramers_v[at]:.2f}",
        ]
        for at, layer in enumerate(look.layers)
    ]


def _title(look: DomainLook) -> str:
    return f"What an expert tells of the domain ({len(look.domains)} domains, {look.documents:,} texts):"


def _note(look: DomainLook) -> str:
    notes = [
        "Bits are the mutual information of domain and expert, each domain counted alike; shuffled is what "
        f"{look.shuffles} shuffles of the texts\u2019 labels have on average, 95 % what one in twenty "
        "exceeds, p the share of shuffles (and the labels themselves) with as much."
    ]
    if look.single:
        names = ", ".join(clean_line(name) for name in look.single[:4])
        notes.append(f"Too few texts: {names} {'has' if len(look.single) == 1 else 'have'} only one.")
    return " ".join(notes)
