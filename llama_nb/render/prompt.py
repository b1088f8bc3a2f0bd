"""What the model really sees: the prompt token by token, message by message, and what of it is cached."""

from collections.abc import Mapping
from typing import Any, Final

from llama_nb.render.clean import clean, clean_line, shorten
from llama_nb.render.html import FIGURES, MONO, MUTED, escape, styled, wall
from llama_nb.render.tokens import MOST_SHOWN, MOST_WITH_IDS, TokenRow, chips_html, count_text

_ROW: Final = f"border-left:3px solid rgba(128,128,128,0.35);padding:1px 12px;margin:0 0 6px;{FIGURES}"
_LABEL: Final = f"font-weight:600;font-size:0.85em;{MUTED}"
_TOKENS: Final = f"{MONO};line-height:1.9;overflow-wrap:break-word"
_CACHED: Final = "font-style:italic;opacity:0.7"
_MARK: Final = "border-top:1px dashed #64748b;margin:4px 0;font-size:0.85em"
_ANSWER: Final = "answer"


def prompt_bundle(view: Mapping[str, Any]) -> dict[str, Any]:
    """Return a prompt as a mime bundle.

    Parameters
    ----------
    view
        "text": the rendered text; "tokens": a `TokenRow` for each token; "messages": "role" and "tokens" (how
        many) for each message, in order, the last one perhaps with the role "answer": the header that asks
        for it; "cached": how many leading tokens are in the KV cache; "context": the model's context.
    """
    tokens: list[TokenRow] = view["tokens"]
    cached = min(int(view["cached"]), len(tokens))
    parts = _parts(view, cached)
    summary = f"{count_text(len(tokens))}, {cached:,} of them cached; the context is {view['context']:,}"
    return {"text/plain": _text(view, parts, summary), "text/html": _html(tokens, parts, cached, summary)}


def _parts(view: Mapping[str, Any], cached: int) -> list[tuple[str, int, int, int]]:
    """Return role, first token, last token + 1 and the number of cached ones for each message."""
    parts = []
    end, most = 0, len(view["tokens"])
    for row in view["messages"]:
        start, end = end, min(end + int(row["tokens"]), most)
        parts.append((clean_line(row["role"]), start, end, max(0, min(cached, end) - start)))
    if end < most:
        parts.append((_ANSWER if parts else "text", end, most, max(0, cached - end)))
    return parts


def _label(role: str, start: int, end: int, cached: int) -> str:
    named = "the beginning of the answer" if role == _ANSWER else role
    return f"{named} \u00b7 {count_text(end - start)}" + (f" \u00b7 {cached:,} cached" if cached else "")


def _text(view: Mapping[str, Any], parts: list[tuple[str, int, int, int]], summary: str) -> str:
    shown, more = shorten(view["text"])
    lines = [summary, *(f"  {_label(*part)}" for part in parts), "", clean(shown)]
    return "\n".join([*lines, more] if more else lines)


def _html(tokens: list[TokenRow], parts: list[tuple[str, int, int, int]], cached: int, summary: str) -> str:
    pieces = [styled("div", f"{MUTED};{FIGURES};font-size:0.85em;margin:0 0 6px", escape(summary))]
    most, ids = max(40, MOST_SHOWN // max(1, len(parts))), len(tokens) <= MOST_WITH_IDS
    for role, start, end, known in parts:
        old = chips_html(tokens[start : start + known], most=most, ids=ids, first=start, style=_CACHED)
        new = chips_html(tokens[start + known : end], most=most, ids=ids, first=start + known)
        mark = styled("div", _MARK, escape(f"\u2191 {cached:,} tokens are cached and not computed again"))
        ends_here = start < cached <= end
        inner = old + (mark if ends_here else "") + new
        label = styled("div", _LABEL, escape(_label(role, start, end, known)))
        pieces.append(styled("div", _ROW, label + styled("div", _TOKENS, inner)))
    return wall("".join(pieces))
