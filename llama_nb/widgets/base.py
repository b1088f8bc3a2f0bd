"""What every widget has: refused typos, errors shown in the page, a stable repr, twins without JavaScript.

Knows ipywidgets, anywidget and the kernel's comms; knows no model and no single widget.
"""

import functools
import html
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anywidget
import ipywidgets

from llama_nb.core.errors import LlamaError, did_you_mean
from llama_nb.widgets.traits import Text

STATIC: Final = Path(__file__).parent / "static"

_log = logging.getLogger("llama_nb")
# Traits of ipywidgets itself that a caller may set; ours are taken from the class.
_IPYWIDGETS: Final = ("layout", "tooltip", "tabbable")


class Widget(anywidget.AnyWidget):
    """Base of llama-nb's widgets.

    Parameters
    ----------
    **traits
        Values of the widget's own traits. An unknown name is refused with the nearest known one.
    """

    error = Text()

    def __init__(self, **traits: Any) -> None:
        known = self.own_traits()
        for name in traits:
            if name not in known and name not in _IPYWIDGETS:
                raise LlamaError(
                    f"{type(self).__name__} has no option {name!r}.",
                    did_you_mean(name, known) or f"It has: {', '.join(known)}.",
                )
        super().__init__(**traits)
        let_subshells_answer(self.comm)
        self.on_msg(self.guard(self._received))

    @classmethod
    def own_traits(cls) -> tuple[str, ...]:
        """Return the names of the synced traits that llama-nb's classes define, sorted."""
        inherited = set(anywidget.AnyWidget.class_traits())
        return tuple(sorted(set(cls.class_traits(sync=True)) - inherited - {"_esm", "_css"}))

    def received(self, message: dict[str, Any]) -> None:
        """Take a custom message from the page; subclasses override this."""

    def guard(self, callback: Callable[..., Any]) -> Callable[..., None]:
        """Wrap a callback so that an exception in it appears in the widget, not only in a log."""

        @functools.wraps(callback)
        def guarded(*arguments: Any, **options: Any) -> None:
            try:
                callback(*arguments, **options)
            except Exception as failure:  # noqa: BLE001 - whatever it is, the page shows it
                _log.exception("a callback of %r failed", self)
                self.fail(failure)

        return guarded

    def fail(self, failure: BaseException) -> None:
        """Show `failure` in the widget."""
        text = str(failure)
        self.error = (
            text if isinstance(failure, LlamaError) else f"{type(failure).__name__}: {text}".rstrip(": ")
        )

    def text_twin(self) -> str:
        """Return what a page or terminal without widgets shows."""
        return repr(self)

    def html_twin(self) -> str:
        """Return the twin as HTML with inline styles only."""
        return f'<pre style="white-space:pre-wrap">{html.escape(self.text_twin())}</pre>'

    def close(self) -> None:
        """Close the widget and the layout model that came with it; the page drops its views."""
        if self.comm is not None:
            self.layout.close()
        super().close()

    def _received(self, _widget: ipywidgets.Widget, message: Any, _buffers: Any) -> None:
        if isinstance(message, dict):
            self.received(message)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        made = super()._repr_mimebundle_(**options)
        if made is None:
            return None
        data, metadata = made
        return {**data, "text/plain": self.text_twin(), "text/html": self.html_twin()}, metadata


def let_subshells_answer(comm: Any) -> None:
    """Let the page's messages on `comm` be handled while a cell runs.

    JupyterLab >= 4.4 sends them on a subshell of the kernel. ipykernel 7.4 routes them back to the shell of
    the cell that opened the comm, where they wait for its end, unless the comm says otherwise; other
    versions do not ask.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default
