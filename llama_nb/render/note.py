"""One sentence beside the replies as a bundle: a note, or how far some work is."""

from typing import Any

from llama_nb.render.clean import clean
from llama_nb.render.html import FIGURES, MUTED, SMALL, escape, styled, wall


def note_bundle(text: str) -> dict[str, Any]:
    """Return a sentence, muted, as a mime bundle."""
    said = clean(text)
    return {
        "text/plain": said,
        "text/html": wall(styled("div", f"{SMALL};{MUTED};{FIGURES}", escape(said), role="note")),
    }
