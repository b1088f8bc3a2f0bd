"""The live view of one reply: its blocks as they grow, one status line, a Stop button.

Knows node trees and the page; knows neither sessions nor Markdown. How the blocks travel is `growing`'s.

A page that was loaded again while the reply was written does not know the display id under which its output
will be replaced. To such a page the widget hands the finished output itself (`final`).
"""

from collections.abc import Callable
from typing import Any, Final

from llama_nb.widgets.base import STATIC
from llama_nb.widgets.growing import Growing
from llama_nb.widgets.traits import Flag, Record, Texts

MOST_PAGES: Final = 100


class ReplyView(Growing):
    """A reply in the page.

    Parameters
    ----------
    header
        What stands above the answer: `user_nodes`, `system`, `model`, `chat`.
    on_stop
        Called, from any thread, when somebody presses Stop.
    """

    HELD = (*Growing.HELD, "final")
    _esm = STATIC / "reply.js"
    _css = STATIC / "reply.css"

    header = Record("Header")
    running = Flag()
    stoppable = Flag()
    notes = Texts()
    final = Record("Bundle")

    def __init__(self, on_stop: Callable[[], None] = lambda: None, **traits: Any) -> None:
        self.on_stop = on_stop
        self._pages: set[str] = set()
        super().__init__(**traits)

    def start(self, header: dict[str, Any]) -> None:
        """Show the header and the skeleton of an answer."""
        self.header = header
        self.running = True

    def finish(self, final: dict[str, Any]) -> None:
        """End the caret; `final` is the mime bundle that takes this widget's place in the notebook."""
        self.final = final
        self.running = False
        self._hand_over()

    @property
    def reloaded(self) -> bool:
        """Whether more than one page has shown this reply."""
        return len(self._pages) > 1

    def received(self, message: dict[str, Any]) -> None:
        """Take the page's messages.

        "hello" comes from each page that begins to show the reply. That one arrives while the reply runs is
        what proves that a Stop can arrive too. "lost" comes from a page that missed a delta, "stop" from the
        button, "replaced" from a page that put the finished output in this widget's place.
        """
        kind = message.get("kind")
        if kind == "hello" and len(self._pages) < MOST_PAGES:
            self._pages.add(str(message.get("page"))[:64])
            self.stoppable = self.running
            self._hand_over()
        elif kind == "lost":
            self.checkpoint()
        elif kind == "stop":
            self.on_stop()
        elif kind == "replaced":
            self.close()

    def text_twin(self) -> str:
        """Return a line that says what would be here."""
        return f"{self.header.get('model') or 'The model'}: {self.status or 'a reply is being written'}"

    def _hand_over(self) -> None:
        if self.reloaded and self.final:
            self.send_state(["blocks", "revision", "status", "final"])
