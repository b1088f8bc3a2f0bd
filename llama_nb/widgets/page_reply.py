"""A reply in a page: the widget while it is written, then a bundle without a widget in its place.

Runs the Markdown on the batcher's thread, so that a token costs the decoding loop a few microseconds.
"""

import contextvars
from typing import Any, Final

from llama_nb.core import events
from llama_nb.render import markdown
from llama_nb.render import reply as rendered
from llama_nb.widgets.batching import Batcher
from llama_nb.widgets.output import Output
from llama_nb.widgets.reply_view import ReplyView

END_TIMEOUT_S: Final = 10.0

Event = events.ReplyAdvanced | events.Waiting


class PageReply:
    """Shows `reply` at once, under a display id, in the cell that makes this object."""

    def __init__(self, reply: Any, output: Output) -> None:
        self._reply = reply
        self._output = output
        self._display_id = output.new_id()
        self._context = contextvars.copy_context()
        self._stream = markdown.BlockStream()
        held = reply.grammar is not None and reply.grammar.kind == "json"
        blocks = self._stream.feed(rendered.JSON_FENCE)[1] if held else []
        self._pulse = Pulse(_name(reply))
        self._view = ReplyView(on_stop=reply.stop, notes=list(reply.notes))
        self._view.start(_header(reply))
        self._view.push(0, blocks, self._pulse.line())
        bundle = self._view._repr_mimebundle_()
        output.display(bundle[0] if bundle else {}, self._display_id)
        self._batcher: Batcher[Event] = Batcher(self._send, failed=self._view.fail)

    def advance(self, event: Event) -> None:
        """Put a token, or what the reply waits for, into the next batch."""
        self._batcher.put(event)

    def end(self) -> None:
        """Send the rest and replace the widget by what a saved notebook keeps."""
        try:
            self._batcher.close(END_TIMEOUT_S)
        finally:
            final = rendered.bundle(self._reply.to_record(), watched=True)
            self._view.finish(final)
            # In the context of the cell that started the reply, also when another thread ends it.
            self._context.run(self._output.update, final, self._display_id)

    def close(self) -> None:
        """Take the widget from the page, unless a page that was loaded again may still show it."""
        if not self._view.reloaded:
            self._view.close()

    def _send(self, batch: list[Event]) -> None:
        text = ""
        for event in batch:
            self._pulse.take(event)
            if isinstance(event, events.ReplyAdvanced):
                text += event.token.text
        self._view.notes = list(self._reply.notes)
        changed, blocks = self._stream.feed(text) if text else (len(self._view.blocks), [])
        self._view.push(changed, blocks, self._pulse.line())


class Pulse:
    """The status line while a reply is written: who writes, how many tokens, how fast."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._waits_for = ""
        self._tokens = 0
        self._first_s = self._last_s = 0.0

    def take(self, event: events.ReplyAdvanced | events.Waiting) -> None:
        """Count a token, or remember what the reply waits for."""
        if isinstance(event, events.Waiting):
            self._waits_for = event.waits_for
            return
        self._waits_for = ""
        if event.token.id is None and not event.token.text:
            return
        self._last_s = event.token.elapsed_s
        if not self._tokens:
            self._first_s = self._last_s
        self._tokens += 1

    def line(self) -> str:
        """Return the line."""
        if self._waits_for:
            return f"{self._model} · waiting for {self._waits_for}"
        if not self._tokens:
            return f"{self._model} · reading the prompt"
        line = f"{self._model} · {self._tokens:,} {'token' if self._tokens == 1 else 'tokens'}"
        spent = self._last_s - self._first_s
        return f"{line} · {rendered.digits((self._tokens - 1) / spent)} tokens/s" if spent > 0 else line


def _header(reply: Any) -> dict[str, Any]:
    return {
        "user_nodes": rendered.user_nodes(reply.user or "", reply.kind),
        "system": reply.system or "",
        "model": _name(reply),
        "chat": reply.chat or "",
    }


def _name(reply: Any) -> str:
    return rendered.model_name({"model": {"name": reply.model_name}})
