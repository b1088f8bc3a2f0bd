"""What a mixture of experts costs, as text and static HTML: sentences, and a row for each size of a cache.

Takes the cost as it is (its attributes, by name) and computes nothing.
"""

from typing import Any, Final

from llama_nb.render.clean import clean, clean_line
from llama_nb.render.html import FIGURES, MUTED, SMALL, escape, styled, to_html, wall
from llama_nb.render.nodes import Element
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.units import size

_HEADINGS: Final = ("experts kept", "bytes kept", "last used", "at best", "no pattern", "brought for a token")
_CAPTION: Final = (
    "How often an expert that a token needs is among those kept of its layer. None is at first, so each is "
    "missed once: of a short text that is much."
)


def bundle(cost: Any) -> dict[str, str]:
    """Return a RoutingCost as a mime bundle: text/plain and text/html."""
    title = clean_line(f"{cost.model}, {cost.title}: what its experts cost")
    lines = [clean(line) for line in cost.lines]
    plan = clean_line(cost.plan)
    text = [title, "\n".join(lines)]
    html = [styled("div", "font-weight:600", escape(title))]
    html += [styled("div", "margin:0.3em 0", escape(line)) for line in lines]
    if cost.cache:
        table = _table(cost)
        text += [_CAPTION, to_text([table])]
        html += [styled("div", f"{SMALL};{MUTED};margin:0.6em 0 0", escape(_CAPTION)), to_html([table])]
    text.append(plan)
    html.append(styled("div", f"{SMALL};{MUTED}", escape(plan)))
    return {
        "text/plain": "\n\n".join(text),
        "text/html": wall(styled("div", f"max-width:720px;{FIGURES}", "".join(html))),
    }


def _table(cost: Any) -> Element:
    rows = [
        [
            f"{each.experts} of {cost.sizes.experts}",
            size(cost.kept_bytes(each.experts)),
            *(f"{100 * share:.0f} %" for share in (each.lru, each.optimum, each.random)),
            size(cost.moved_bytes(each.experts)),
        ]
        for each in cost.cache
    ]
    return table_node(_HEADINGS, rows)
