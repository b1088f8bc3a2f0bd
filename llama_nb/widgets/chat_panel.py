"""The chat panel: a conversation that is talked to, branched and looked at in the page.

Knows the page and its messages; what there is to show and to do is `session.panel`'s. What the page sends is
untrusted: it is looked up, never taken as it is.
"""

from llama_nb.widgets.base import STATIC
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.traits import Count, Flag, Nodes, Record, Text


class ChatPanel(LiveWidget):
    """A panel to talk with a model in."""

    _esm = STATIC / "chat.js"
    _css = STATIC / "chat.css"

    head = Record("ChatHead")
    path = Record("ChatPath")
    sampling = Record("SamplingState")
    blocks = Nodes()
    revision = Count()
    status = Text()
    running = Flag()
    live = Record("ChatLive")
