"""The live view of one reply: its blocks as they grow, one status line, a Stop button.

Knows node trees and the page; knows neither sessions nor Markdown. Both sides hold the same tree: the page
is told the difference each time (`delta`), and the whole tree in checkpoints and when it asks, so that a page
that missed messages comes back.

A page that was loaded again while the reply was written does not know the display id under which its output
will be replaced. To such a page the widget hands the finished output itself (`final`).
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from llama_nb.render.nodes import Node
from llama_nb.widgets.base import STATIC, Widget
from llama_nb.widgets.delta import difference
from llama_nb.widgets.traits import Count, Flag, Nodes, Record, Text, Texts

CHECKPOINT_S: Final = 1.0
# A long tree is checkpointed more rarely, so that checkpoints never cost more than this on average.
CHECKPOINT_BYTES_PER_S: Final = 1536
MOST_PAGES: Final = 100
# Sent with a delta, at a checkpoint or when a page asks, never because the kernel's copy changed.
_HELD: Final = ("blocks", "revision", "status", "final")


class ReplyView(Widget):
    """A reply in the page.

    Parameters
    ----------
    header
        What stands above the answer: `user_nodes`, `system`, `model`, `chat`.
    on_stop
        Called, from any thread, when somebody presses Stop.
    """

    _esm = STATIC / "reply.js"
    _css = STATIC / "reply.css"

    header = Record("Header")
    blocks = Nodes()
    revision = Count()
    status = Text()
    running = Flag()
    stoppable = Flag()
    notes = Texts()
    final = Record("Bundle")

    def __init__(self, on_stop: Callable[[], None] = lambda: None, **traits: Any) -> None:
        self.on_stop = on_stop
        self._checkpoint_due = 0.0
        self._pages: set[str] = set()
        # Pushes come from the batcher's thread, what the page asks for from a subshell's.
        self._lock = threading.RLock()
        super().__init__(**traits)

    def start(self, header: dict[str, Any]) -> None:
        """Show the header and the skeleton of an answer."""
        self.header = header
        self.running = True

    def push(self, from_index: int, blocks: Sequence[Node], status: str) -> None:
        """Show `blocks` from number `from_index` on and the status line: one message, if anything changed."""
        with self._lock:
            tree = [*self.blocks[:from_index], *blocks]
            change = difference(self.blocks, tree)
            if change is None and status == self.status:
                return
            self.revision, self.blocks, self.status = self.revision + 1, tree, status
            if time.monotonic() >= self._checkpoint_due:
                self._checkpoint()
            else:
                self.send({"kind": "delta", "revision": self.revision, "status": status, "change": change})

    def get_state(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Return the state as ipywidgets does, but always of one revision."""
        with self._lock:
            return super().get_state(*arguments, **options)

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
            self._checkpoint()
        elif kind == "stop":
            self.on_stop()
        elif kind == "replaced":
            self.close()

    def text_twin(self) -> str:
        """Return a line that says what would be here."""
        return f"{self.header.get('model') or 'The model'}: {self.status or 'a reply is being written'}"

    def _checkpoint(self) -> None:
        size = len(str(self.blocks))
        self._checkpoint_due = time.monotonic() + max(CHECKPOINT_S, size / CHECKPOINT_BYTES_PER_S)
        self.send_state(["blocks", "revision", "status"])

    def _hand_over(self) -> None:
        if self.reloaded and self.final:
            self.send_state(["blocks", "revision", "status", "final"])

    def _should_send_property(self, key: str, value: Any) -> bool:
        return key not in _HELD and super()._should_send_property(key, value)
