"""One expert for pages without widgets: its share, its tokens, its places in the text.

Knows figures and texts; how they are found is `interpret.routing_expert`'s business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llama_nb.render.bars import bar
from llama_nb.render.chances import percent, token_html
from llama_nb.render.clean import clean_line
from llama_nb.render.html import FIGURES, LINE, MONO, MUTED, SMALL, escape, styled, wall, without_math
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.tokens import count_text, visible_text

MOST_TOKENS: Final = 12
_LONGEST: Final = 60  # characters on each side of a token in its context

_TABLE: Final = f"border-collapse:collapse;color:inherit;font-size:0.85em;margin:0;{FIGURES}"
_CELL: Final = f"border-bottom:1px solid {LINE};padding:2px 12px 2px 0;text-align:left;white-space:nowrap"
_RIGHT: Final = _CELL.replace("text-align:left", "text-align:right")
_BESIDE: Final = "display:inline-block;vertical-align:top;margin:0.5em 2em 0.4em 0"
_TITLE: Final = "margin:0 0 0.3em"
_CONTEXT: Final = f"{MONO};{SMALL};white-space:pre-wrap;overflow-wrap:break-word;margin:0.2em 0"
_MARKED: Final = f"border-bottom:2px solid {LINE}"
_TOKENS: Final = ("token", "times", "lift")
_CONTEXTS: Final = "Where it weighs most:"
_TENTHS: Final = ("first tenth", *(f"tenth {number}" for number in range(2, 10)), "last tenth")

Place = tuple[str, str, str, float]


@dataclass(frozen=True, slots=True)
class ExpertLook:
    """What is shown of an expert; see `interpret.routing_expert.ExpertPage`.

    Attributes
    ----------
    name
        "L3 E2".
    even
        The share that it would get if all got the same.
    tokens
        Text, count, lift.
    contexts
        Text before, token, text behind, routing weight.
    """

    name: str
    share: float
    even: float
    count: int
    tokens_read: int
    by_domain: Sequence[tuple[str, float]]
    by_position: Sequence[float]
    tokens: Sequence[tuple[str, int, float]]
    contexts: Sequence[Place]


def bundle(look: ExpertLook, *, watched: bool) -> dict[str, str]:
    """Return an expert as a mime bundle: text/plain and text/html."""
    title = f"{look.name}: {count_text(look.count)} of {look.tokens_read:,}"
    fact = _fact(look, watched)
    text = [f"{title}\n{fact}"]
    html = [styled("div", "font-weight:bold", escape(title)), styled("div", f"{SMALL};{MUTED}", escape(fact))]
    if look.tokens:
        text.append(_tokens_text(look, watched))
        html.append(styled("div", _BESIDE, _tokens_html(look, watched)))
    if look.count:
        shares = [*look.by_domain, *zip(_TENTHS, look.by_position, strict=True)]
        rows = [(clean_line(name), percent(share, watched=watched)) for name, share in shares]
        text.append(to_text([table_node(("of", "it gets"), rows)]))
        domains = _shares_html("domain", look.by_domain, look.even, watched)
        tenths = _shares_html(
            "place in the text", [*zip(_TENTHS, look.by_position, strict=True)], look.even, watched
        )
        html += [styled("div", _BESIDE, block) for block in (domains, tenths) if block]
    if look.contexts:
        text.append("\n".join([_CONTEXTS, *(_context_text(place, watched) for place in look.contexts)]))
        html.append(styled("div", _TITLE, _CONTEXTS))
        html += [_context_html(place, watched) for place in look.contexts]
    page = without_math(wall(styled("div", FIGURES, "".join(html))))
    return {"text/plain": "\n\n".join(text), "text/html": page}


def _fact(look: ExpertLook, watched: bool) -> str:
    even = f"even would be {percent(look.even, watched=True)}"
    if not look.count:
        return f"No token chose it; {even}."
    return f"{percent(look.share, watched=watched)} of the choices of its layer; {even}."


def _tokens_text(look: ExpertLook, watched: bool) -> str:
    rows = [
        (clean_line(visible_text(text)), f"{count:,}", _times(lift, watched))
        for text, count, lift in look.tokens[:MOST_TOKENS]
    ]
    return to_text([table_node(_TOKENS, rows)])


def _tokens_html(look: ExpertLook, watched: bool) -> str:
    heads = zip(_TOKENS, (_CELL, _RIGHT, _RIGHT), strict=True)
    body = [styled("tr", "", "".join(styled("th", style, name) for name, style in heads))]
    for text, count, lift in look.tokens[:MOST_TOKENS]:
        cells = [styled("td", _CELL, token_html(text, special=False)), styled("td", _RIGHT, f"{count:,}")]
        cells.append(styled("td", _RIGHT, _times(lift, watched)))
        body.append(styled("tr", "", "".join(cells)))
    return styled("table", _TABLE, "".join(body))


def _shares_html(head: str, shares: Sequence[tuple[str, float]], even: float, watched: bool) -> str:
    """Shares of groups of tokens, each with a bar; "" without groups."""
    if not shares:
        return ""
    full = max(2 * even, *(share for _, share in shares))
    heads = ((head, _CELL), ("it gets", _RIGHT), ("", _CELL))
    body = [styled("tr", "", "".join(styled("th", style, name) for name, style in heads))]
    for name, share in shares:
        figure = percent(share, watched=watched)
        shown = clean_line(name)
        cells = [styled("td", _CELL, escape(shown)), styled("td", _RIGHT, escape(figure))]
        drawn = share if watched else round(share, 2)
        cells.append(styled("td", _CELL, bar([drawn], full, f"{shown}: {figure}")))
        body.append(styled("tr", "", "".join(cells)))
    return styled("table", _TABLE, "".join(body))


def _context_text(place: Place, watched: bool) -> str:
    before, token, after, weight = place
    line = f"{before[-_LONGEST:]}[{token}]{after[:_LONGEST]}"
    return f"  {_weight(weight, watched)}  {clean_line(visible_text(line))}"


def _context_html(place: Place, watched: bool) -> str:
    before, token, after, weight = place
    figure = styled("span", MUTED, f"{_weight(weight, watched)}  ")
    strong = styled("strong", _MARKED, escape(visible_text(token)))
    before, after = visible_text(before[-_LONGEST:] or " "), visible_text(after[:_LONGEST] or " ")
    return styled("div", _CONTEXT, figure + escape(before) + strong + escape(after))


def _times(lift: float, watched: bool) -> str:
    return f"{lift:.{2 if watched else 1}f}\u00d7"


def _weight(weight: float, watched: bool) -> str:
    return f"{weight:.{3 if watched else 2}f}"
