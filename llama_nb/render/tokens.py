"""Tokens as one sees them: each with a background and an underline of its own, spaces and line ends visible.

Colours are of Okabe and Ito's set for colour-blind readers, thin enough for black and for white text; the
underline's style changes too. Without any style each token is still a `code` element of its own.
"""

from collections.abc import Sequence
from typing import Any, Final, NotRequired, TypedDict

from llama_nb.render.clean import clean
from llama_nb.render.html import FIGURES, MONO, MUTED, escape, styled, wall

# More would make a page slow; those in the middle are left out.
MOST_SHOWN: Final = 2_000
MOST_WITH_IDS: Final = 400
_MOST_IN_TEXT: Final = 400

COLOURS: Final = ("0,114,178", "230,159,0", "0,158,115", "204,121,167")
UNDERLINES: Final = ("solid", "dashed", "double", "dotted")
BACKGROUND_ALPHA: Final = 0.2
PILL: Final = f"border:1px solid rgba(128,128,128,0.9);border-radius:9px;padding:0 6px;{MUTED}"
_CHIP: Final = "border-radius:2px;padding:1px 0;white-space:pre-wrap"
_FRAME: Final = f"{MONO};line-height:1.9;overflow-wrap:break-word;{FIGURES}"
_ID: Final = f"display:block;font-size:0.7em;line-height:1.2;{MUTED}"


class TokenRow(TypedDict):
    """One token: its id, what it shows as, and whether it is a control token."""

    id: int
    text: str
    special: NotRequired[bool]


def tokens_bundle(rows: Sequence[TokenRow]) -> dict[str, Any]:
    """Return tokens as a mime bundle: coloured, with their ids, and as one line of text."""
    count = count_text(len(rows))
    summary = styled("div", f"{MUTED};{FIGURES};font-size:0.85em", escape(count))
    chips = styled("div", _FRAME, chips_html(rows, most=MOST_SHOWN, ids=len(rows) <= MOST_WITH_IDS))
    return {"text/plain": f"{count}: {tokens_line(rows)}", "text/html": wall(summary + chips)}


def count_text(count: int) -> str:
    """Write a number of tokens."""
    return f"{count:,} {'token' if count == 1 else 'tokens'}"


def tokens_line(rows: Sequence[TokenRow]) -> str:
    """Return tokens as one line: `Once|·upon|·a`."""
    head, left_out, tail = _without_middle(rows, _MOST_IN_TEXT)
    middle = [f" \u2026 {left_out:,} more \u2026 "] if left_out else []
    return "|".join([*map(_visible, head), *middle, *map(_visible, tail)])


def chips_html(rows: Sequence[TokenRow], *, most: int, ids: bool, first: int = 0, style: str = "") -> str:
    """Return tokens as HTML; at most `most`, those in the middle left out.

    Parameters
    ----------
    ids
        Whether ids stand below the tokens; they are in the title always.
    first
        The number of the first token, which decides its colour.
    style
        More style for each token.
    """
    head, left_out, tail = _without_middle(rows, most)
    chips = [_chip(row, first + index, ids, style) for index, row in enumerate(head)]
    if left_out:
        chips.append(styled("span", MUTED, escape(f" \u2026 {left_out:,} more tokens \u2026 ")))
    start = first + len(head) + left_out
    chips += [_chip(row, start + index, ids, style) for index, row in enumerate(tail)]
    # A line may break between tokens; with ids the space keeps them apart where styles are dropped.
    return (" " if ids else "\u200b").join(chips)


def _without_middle(
    rows: Sequence[TokenRow], most: int
) -> tuple[Sequence[TokenRow], int, Sequence[TokenRow]]:
    if len(rows) <= most:
        return rows, 0, ()
    tail = most // 4
    return rows[: most - tail], len(rows) - most, rows[len(rows) - tail :]


def _chip(row: TokenRow, number: int, ids: bool, style: str) -> str:
    if row.get("special"):
        look = PILL
    else:
        colour, line = COLOURS[number % len(COLOURS)], UNDERLINES[number % len(UNDERLINES)]
        ground = f"background-color:rgba({colour},{BACKGROUND_ALPHA})"
        look = f"{ground};border-bottom:2px {line} rgba({colour},0.9);{_CHIP}"
    chip = styled("code", f"{look};{style}", escape(_visible(row)), title=f"id {row['id']}")
    if ids:
        under = styled("span", _ID, str(row["id"]))
        chip = styled("span", "display:inline-block;text-align:center;margin:0 0 4px", f"{chip} {under}")
    return chip + ("<br>" if row["text"].endswith("\n") else "")


def _visible(row: TokenRow) -> str:
    """Return what a token shows as, spaces, tabs and line ends as marks."""
    return visible_text(row["text"])


def visible_text(text: str) -> str:
    """Return a token's text with spaces, tabs and line ends as marks; "∅" for an empty one."""
    shown = clean(text).replace(" ", "\u00b7").replace("\n", "\u23ce").replace("\t", "\u21e5")
    return shown or "\u2205"
