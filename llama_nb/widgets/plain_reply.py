"""A reply without a widget: as text that grows in a terminal, or once, whole, where nobody watches."""

import contextvars
import re
from typing import Any, Final

from llama_nb.core import events
from llama_nb.render import clean, reply as rendered
from llama_nb.widgets.batching import Batcher
from llama_nb.widgets.output import Output

Event = events.ReplyAdvanced | events.Waiting | events.Note

# An escape sequence may be cut by a token's end: its beginning is held back this many characters.
HELD_BACK: Final = 64
_SEQUENCE_BEGINS: Final = re.compile("[\x1b\x90\x98\x9b\x9d-\x9f]")


class FinalReply:
    """Shows a reply when it is whole, as one display: nbval, nbclient and papermill compare and store just that."""

    def __init__(self, reply: Any, output: Output, *, watched: bool) -> None:
        self._reply = reply
        self._output = output
        self._watched = watched
        self._context = contextvars.copy_context()

    def advance(self, event: Event) -> None:
        """Show nothing yet."""

    def end(self) -> None:
        """Show the reply."""
        bundle = rendered.bundle(self._reply.to_record(), watched=self._watched)
        self._context.run(self._output.display, bundle)


class TextReply:
    """Prints a reply as it is written; where nobody watches, when it is whole."""

    def __init__(self, reply: Any, output: Output, *, watched: bool) -> None:
        self._reply = reply
        self._output = output
        self._watched = watched
        self._held = ""
        self._batcher: Batcher[Event] = Batcher(self._send)

    def advance(self, event: Event) -> None:
        """Print the event with the next batch."""
        if self._watched or isinstance(event, events.ReplyAdvanced):
            self._batcher.put(event)

    def end(self) -> None:
        """Print the rest and, if somebody watches, the status line."""
        self._batcher.put(events.ReplyAdvanced(self._reply, events.TokenEvent("\n")))
        if self._watched:
            line = rendered.status_line(self._reply.to_record(), watched=True)
            self._batcher.put(events.Note(line))
        self._batcher.close()

    def _send(self, batch: list[Event]) -> None:
        shown = ""
        for event in batch:
            if isinstance(event, events.ReplyAdvanced):
                shown += self._cleaned(event.token.text)
            elif isinstance(event, events.Note):
                shown += f"[{clean.clean(event.text)}]\n"
            else:
                shown += f"[waiting for {event.waits_for}; interrupt to give up]\n"
        if shown:
            self._output.write(shown)

    def _cleaned(self, text: str) -> str:
        self._held += text
        begins = _SEQUENCE_BEGINS.search(self._held, max(0, len(self._held) - HELD_BACK))
        cut = begins.start() if begins and not self._held.endswith("\n") else len(self._held)
        ready, self._held = self._held[:cut], self._held[cut:]
        return clean.clean(ready)
