"""One sentence for the user as a bundle: a note, a warning or an error, with what to do about it."""

from typing import Any, Final, Literal

from llama_nb.render.clean import clean
from llama_nb.render.html import MUTED, escape, styled, wall

Kind = Literal["note", "warning", "error"]

# By the style of the bar and by a word, never by colour alone.
_BARS: Final[dict[Kind, str]] = {
    "note": "solid #64748b",
    "warning": "dashed #c65d2e",
    "error": "double #d64545",
}
_WORDS: Final[dict[Kind, str]] = {"note": "", "warning": "Warning: ", "error": "Error: "}


def note_bundle(text: str, *, kind: Kind = "note", hint: str = "") -> dict[str, Any]:
    """Return a sentence, and a hint in a line below it, as a mime bundle."""
    said, advice = _WORDS[kind] + clean(text), clean(hint)
    inner = escape(said) + (f"<br>{styled('span', MUTED, escape(advice))}" if advice else "")
    style = f"border-left:3px {_BARS[kind]};padding:2px 12px;margin:4px 0;white-space:pre-wrap"
    return {
        "text/plain": f"{said}\n{advice}" if advice else said,
        "text/html": wall(styled("div", style, inner, role="alert" if kind == "error" else "note")),
    }
