"""A text that grows in the page: a tree of blocks and a status line, told as differences.

A reply's view and the chat panel share it. Both sides hold the same tree: the page is told the difference
each time (`delta`), and the whole tree in checkpoints and when it asks, so that a page that missed messages
comes back. Knows replies by what they say of themselves; knows no session.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from llama_nb.core import events
from llama_nb.render import markdown
from llama_nb.render import reply as rendered
from llama_nb.render.nodes import Node
from llama_nb.widgets.base import Widget
from llama_nb.widgets.batching import Batcher
from llama_nb.widgets.delta import difference
from llama_nb.widgets.traits import Count, Nodes, Text

CHECKPOINT_S: Final = 1.0
# A long tree is checkpointed more rarely, so that checkpoints never cost more than this on average.
CHECKPOINT_BYTES_PER_S: Final = 1536
END_TIMEOUT_S: Final = 10.0

Event = events.ReplyAdvanced | events.Waiting


class Growing(Widget):
    """A widget with a text that grows. Its page sends "lost" when it missed a delta (`checkpoint`)."""

    # Sent with a delta, at a checkpoint or when a page asks, never because the kernel's copy changed.
    HELD: tuple[str, ...] = ("blocks", "revision", "status")

    blocks = Nodes()
    revision = Count()
    status = Text()

    def __init__(self, **traits: Any) -> None:
        self._checkpoint_due = 0.0
        # Pushes come from the batcher's thread, what the page asks for from a subshell's.
        self._growing = threading.RLock()
        super().__init__(**traits)

    def push(self, from_index: int, blocks: Sequence[Node], status: str) -> None:
        """Show `blocks` from number `from_index` on and the status line: one message, if anything changed."""
        with self._growing:
            tree = [*self.blocks[:from_index], *blocks]
            change = difference(self.blocks, tree)
            if change is None and status == self.status:
                return
            self.revision, self.blocks, self.status = self.revision + 1, tree, status
            if time.monotonic() >= self._checkpoint_due:
                self.checkpoint()
            else:
                self.send({"kind": "delta", "revision": self.revision, "status": status, "change": change})

    def checkpoint(self) -> None:
        """Send the whole tree."""
        with self._growing:
            size = len(str(self.blocks))
            self._checkpoint_due = time.monotonic() + max(CHECKPOINT_S, size / CHECKPOINT_BYTES_PER_S)
            self.send_state(["blocks", "revision", "status"])

    def get_state(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Return the state as ipywidgets does, but always of one revision."""
        with self._growing:
            return super().get_state(*arguments, **options)

    def _should_send_property(self, key: str, value: Any) -> bool:
        return key not in self.HELD and super()._should_send_property(key, value)


class Writing:
    """Shows in `view` what `reply` has written and goes on to write, until `end`.

    Runs the Markdown on the batcher's thread, so that a token costs the decoding loop a few microseconds. The
    text is read from the reply, so that one that is on its way already is shown from its beginning.

    Parameters
    ----------
    also
        Called before each batch is sent.
    """

    def __init__(self, reply: Any, view: Growing, also: Callable[[], None] = lambda: None) -> None:
        self.reply = reply
        self._view = view
        self._also = also
        self._read = 0
        self._stream = markdown.BlockStream()
        held = reply.grammar is not None and reply.grammar.kind == "json"
        blocks = self._stream.feed(rendered.JSON_FENCE)[1] if held else []
        self._pulse = Pulse(name_of(reply))
        view.push(0, blocks, self._pulse.line())
        self._batcher: Batcher[Event | str] = Batcher(self._send, failed=view.fail)
        if reply.text:
            self._batcher.put("begun")  # no event tells of what is there already

    def advance(self, event: Event) -> None:
        """Put a token, or what the reply waits for, into the next batch."""
        self._batcher.put(event)

    def end(self) -> None:
        """Send the rest."""
        self._batcher.close(END_TIMEOUT_S)

    def _send(self, batch: list[Event | str]) -> None:
        for event in batch:
            if not isinstance(event, str):
                self._pulse.take(event)
        self._also()
        text = self.reply.text[self._read :]
        self._read += len(text)
        changed, blocks = self._stream.feed(text) if text else (len(self._view.blocks), [])
        self._view.push(changed, blocks, self._pulse.line())


class Pulse:
    """The status line while a reply is written: who writes, how many tokens, how fast."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._waits_for = ""
        self._tokens = self._timed = 0
        self._first_s = self._last_s = 0.0

    def take(self, event: Event) -> None:
        """Count a token, or remember what the reply waits for."""
        if isinstance(event, events.Waiting):
            self._waits_for = event.waits_for
            return
        self._waits_for = ""
        if event.token.id is None and not event.token.text:
            return
        self._tokens += 1
        if not event.token.elapsed_s:
            return  # taken over from another reply
        self._last_s = event.token.elapsed_s
        if not self._timed:
            self._first_s = self._last_s
        self._timed += 1

    def line(self) -> str:
        """Return the line."""
        if self._waits_for:
            return f"{self._model} · waiting for {self._waits_for}"
        if not self._tokens:
            return f"{self._model} · reading the prompt"
        line = f"{self._model} · {self._tokens:,} {'token' if self._tokens == 1 else 'tokens'}"
        spent = self._last_s - self._first_s
        return f"{line} · {rendered.digits((self._timed - 1) / spent)} tokens/s" if spent > 0 else line


def name_of(reply: Any) -> str:
    """Return the name of the model that writes `reply`, and its adapters; of a path only its last part."""
    return rendered.model_name({"model": {"name": reply.model_name, "adapter": reply.adapter}})
