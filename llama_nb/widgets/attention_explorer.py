"""The attention explorer in a page: maps of heads, links between tokens, parts of the model to turn off.

Knows the page and its messages; what is computed is `session.explorer`'s business. What the page sends is
untrusted: it is looked up and checked, never taken as it is.
"""

from typing import Any

from llama_nb.widgets.base import STATIC
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.traits import Binary, Record, Text


class AttentionExplorer(LiveWidget):
    """What the heads of a model attend to."""

    _esm = STATIC / "attention.js"
    _css = STATIC / "attention.css"

    head = Record("AttentionHead")
    tokens = Record("AttentionTokens")
    view = Record("AttentionView")
    thumbs = Binary()
    thumbs_info = Record("AttentionThumbs")
    tile = Binary()
    tile_info = Record("AttentionTile")
    tile2 = Binary()
    tile2_info = Record("AttentionTile")
    effect = Record("AttentionEffect")
    status = Text()

    def __init__(self, trace: Any, **traits: Any) -> None:
        self._trace = trace
        super().__init__(**traits)
