"""A reply without a widget: as text that grows in a terminal, or once, whole, where nobody watches."""

import contextvars
from typing import Any

from llama_nb.core import events
from llama_nb.render import clean
from llama_nb.render import reply as rendered
from llama_nb.widgets.batching import Batcher
from llama_nb.widgets.output import Output

Event = events.ReplyAdvanced | events.Waiting


class FinalReply:
    """Shows a reply when it is whole, as the one display that nbval, nbclient and papermill keep."""

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

    def close(self) -> None:
        """Nothing is left to close."""


class TextReply:
    """Prints a reply as it is written; where nobody watches in one piece, so that the output never varies."""

    def __init__(self, reply: Any, output: Output, *, watched: bool) -> None:
        self._reply = reply
        self._output = output
        self._watched = watched
        self._clean = clean.CleanStream()
        self._tail = ""
        self._batcher: Batcher[Event] = Batcher(self._send)

    def advance(self, event: Event) -> None:
        """Print the event with the next batch."""
        if self._watched:
            self._batcher.put(event)

    def end(self) -> None:
        """Print the rest, the notes and, if somebody watches, the status line."""
        self._batcher.close()
        text = self._tail if self._watched else clean.clean(self._reply.text)
        lines = [text, *(f"[{clean.clean_line(note)}]" for note in self._reply.notes)]
        if self._watched:
            lines.append(f"[{rendered.status_line(self._reply.to_record(), watched=True)}]")
        self._output.write("\n".join(lines) + "\n")

    def close(self) -> None:
        """Nothing is left to close."""

    def _send(self, batch: list[Event]) -> None:
        shown = ""
        for event in batch:
            if isinstance(event, events.Waiting):
                shown += f"[waiting for {clean.clean_line(event.waits_for)}; interrupt to give up]\n"
            else:
                # The tail may still turn out to be half of a terminal sequence.
                final, self._tail = self._clean.feed(event.token.text)
                shown += final
        if shown:
            self._output.write(shown)
