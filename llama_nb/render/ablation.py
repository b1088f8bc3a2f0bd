"""What changes in a model when parts of it are turned off: likeliest tokens, distance, loss and both texts.

It takes the record of `session.ablation.AblationEffect` (JSON values) and knows no models. Bars only repeat
what the figures beside them say.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.bars import COLOURS, bar
from llama_nb.render.chances import nats, percent, token_html
from llama_nb.render.clean import clean, clean_line
from llama_nb.render.html import FIGURES, LINE, MONO, MUTED, SMALL, escape, styled, wall, without_math
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.tokens import visible_text

MOST_SHOWN: Final = 12  # tokens

_CELL: Final = f"border-bottom:1px solid {LINE};padding:2px 10px 2px 0;text-align:left;vertical-align:top"
_RIGHT: Final = _CELL.replace("text-align:left", "text-align:right")
_TABLE: Final = f"border-collapse:collapse;color:inherit;font-size:inherit;margin:0.3em 0 0.8em;{FIGURES}"
_BEFORE, _AFTER = COLOURS[:1], COLOURS[5:6]
_TEXT: Final = f"{MONO};white-space:pre-wrap;overflow-wrap:break-word"
_NO_TEXT: Final = "(nothing)"


def bundle(record: Mapping[str, Any], *, watched: bool) -> dict[str, str]:
    """Return an effect as a mime bundle: text/plain and text/html."""
    title, facts = _title(record), _facts(record, watched)
    rows = _rows(record, watched)
    figures = [[name, before, after] for name, before, after in rows]
    text = [title, to_text([table_node(("next token", "whole", "changed"), figures)]), "\n".join(facts)]
    html = [styled("div", "font-weight:bold", escape(title)), _tokens_html(record, rows, watched)]
    html += [styled("div", SMALL, escape(fact)) for fact in facts]
    if record["text_before"] or record["text_after"]:
        both = [("whole", _said(record["text_before"])), ("changed", _said(record["text_after"]))]
        text.append("\n".join(f"{name + ':':9}{said}" for name, said in both))
        html.append(_texts_html(both))
    page = wall(styled("div", FIGURES, "".join(html)))
    return {"text/plain": "\n\n".join(text), "text/html": without_math(page)}


def _title(record: Mapping[str, Any]) -> str:
    model, context = clean_line(record["model"]), clean_line(visible_text(record["context"]))
    return f"{model} with {record['off']}, behind {context}"


def _facts(record: Mapping[str, Any], watched: bool) -> list[str]:
    facts = [f"Kullback-Leibler divergence from the whole model: {nats(record['kl'], watched=watched)} nats"]
    before, after = record["loss_before"], record["loss_after"]
    if before is not None and after is not None:
        figures = f"{nats(before, watched=watched)} \u2192 {nats(after, watched=watched)}"
        facts.append(f"Mean loss on the {clean_line(record['title'])}: {figures} nats a token")
    if record["text_before"] or record["text_after"]:
        facts.append("How it goes on, with the likeliest token each time:")
    return facts


def _rows(record: Mapping[str, Any], watched: bool) -> list[tuple[str, str, str]]:
    return [
        (
            visible_text(token["text"]),
            percent(token["before"], watched=watched),
            percent(token["after"], watched=watched),
        )
        for token in _shown(record)
    ]


def _shown(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tokens = sorted(record["tokens"], key=lambda token: -max(token["before"], token["after"]))
    return sorted(tokens[:MOST_SHOWN], key=lambda token: -token["before"])


def _tokens_html(record: Mapping[str, Any], rows: Sequence[tuple[str, str, str]], watched: bool) -> str:
    heads = (("next token", _CELL), ("whole", _RIGHT), ("", _CELL), ("changed", _RIGHT), ("", _CELL))
    body = [styled("tr", "", "".join(styled("th", style, head) for head, style in heads))]
    for token, (_, before, after) in zip(_shown(record), rows, strict=True):
        whole, off = (share if watched else round(share, 2) for share in (token["before"], token["after"]))
        name = token_html(token["text"], special=token["special"])
        cells = [
            styled("td", _CELL, name, title=f"id {token['id']}"),
            styled("td", _RIGHT, escape(before)),
            styled("td", _CELL, bar([whole], 1, f"whole: {before}", colours=_BEFORE)),
            styled("td", _RIGHT, escape(after)),
            styled("td", _CELL, bar([off], 1, f"changed: {after}", colours=_AFTER)),
        ]
        body.append(styled("tr", "", "".join(cells)))
    return styled("table", _TABLE, "".join(body))


def _texts_html(both: Sequence[tuple[str, str]]) -> str:
    rows = []
    for name, said in both:
        head, text = styled("th", f"{_CELL};{MUTED}", name), styled("span", _TEXT, escape(said))
        rows.append(styled("tr", "", head + styled("td", _CELL, text)))
    return styled("table", _TABLE, "".join(rows))


def _said(text: str) -> str:
    return clean(text).strip("\n") or _NO_TEXT
