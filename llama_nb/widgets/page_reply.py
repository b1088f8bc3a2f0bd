"""A reply in a page: the widget while it is written, then a bundle without a widget in its place."""

import contextvars
from typing import Any

from llama_nb.render import reply as rendered
from llama_nb.widgets.growing import Event, Writing, name_of
from llama_nb.widgets.output import Output
from llama_nb.widgets.reply_view import ReplyView


class PageReply:
    """Shows `reply` at once, under a display id, in the cell that makes this object."""

    def __init__(self, reply: Any, output: Output) -> None:
        self._reply = reply
        self._output = output
        self._display_id = output.new_id()
        self._context = contextvars.copy_context()
        self._view = ReplyView(on_stop=reply.stop, notes=list(reply.notes))
        self._view.start(_header(reply))
        self._writing = Writing(reply, self._view, also=self._show_notes)
        bundle = self._view._repr_mimebundle_()
        output.display(bundle[0] if bundle else {}, self._display_id)

    def advance(self, event: Event) -> None:
        """Put a token, or what the reply waits for, into the next batch."""
        self._writing.advance(event)

    def end(self) -> None:
        """Send the rest and replace the widget by what a saved notebook keeps."""
        try:
            self._writing.end()
        finally:
            final = rendered.bundle(self._reply.to_record(), watched=True)
            self._view.finish(final)
            # In the context of the cell that started the reply, also when another thread ends it.
            self._context.run(self._output.update, final, self._display_id)

    def close(self) -> None:
        """Take the widget from the page, unless a page that was loaded again may still show it."""
        if not self._view.reloaded:
            self._view.close()

    def _show_notes(self) -> None:
        self._view.notes = list(self._reply.notes)


def _header(reply: Any) -> dict[str, Any]:
    return {
        "user_nodes": rendered.user_nodes(reply.user or "", reply.kind),
        "system": reply.system or "",
        "model": name_of(reply),
        "chat": reply.chat or "",
    }
