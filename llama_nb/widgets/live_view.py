"""Interactive widgets that stand in an output and can be read when their kernel is gone.

The output holds the widget's view, the twins, and a MIME type of ours that has JupyterLab ask our plugin.
The plugin (labextension/src/live.ts) shows the widget while its model exists and the twin otherwise. It also
puts a twin that changed into the notebook; display ids cannot: a page that was loaded again has lost them.
"""

import threading
from collections import defaultdict
from typing import Any, Final, TypeVar

from llama_nb.runtime.environment import detect
from llama_nb.widgets.base import Widget
from llama_nb.widgets.messages import Messages
from llama_nb.widgets.output import Output
from llama_nb.widgets.traits import Record

MIME: Final = "application/vnd.llama-nb.view+json"
SCHEMA: Final = 1
TWIN_AFTER_S: Final = 1.0
MOST_SHOWN: Final = 8  # of each kind; each holds what its model keeps for it
# Front ends that can have our plugin; others might take an unknown type for the best one that they have.
_WITH_PLUGIN: Final = ("lab", "notebook")


class LiveWidget(Widget):
    """A widget for an output that is saved.

    A subclass calls `standIn(model, el)` of labextension/widgets/live_mark.ts when it is drawn, overrides
    `text_twin` and `html_twin` (inline styles, passed through `render.html.wall`), and calls `twin_changed`
    after every change that somebody who opens the notebook later should see. What it takes from the page
    stands in two tables, `looks` and `actions`; what can be shown before it is computed comes by `fill`.
    """

    twin = Record("Bundle")

    def __init__(self, **traits: Any) -> None:
        self._twin_lock = threading.Lock()
        self._twin_timer: threading.Timer | None = None
        super().__init__(**traits)

    def fill(self) -> None:
        """Show what it is about; called once, when the page has it to draw."""

    def looks(self) -> Messages:
        """Return what is done with messages that only ask for more: an error that is shown stays."""
        return {}

    def actions(self) -> Messages:
        """Return what is done with messages that change something: an error from before is forgotten."""
        return {}

    def lasting_error(self) -> str:
        """Return what is still wrong, whatever is done."""
        return ""

    def received(self, message: dict[str, Any]) -> None:
        """Take the page's messages; what is none of these, or malformed, is ignored."""
        kind = str(message.get("kind"))
        look = self.looks().get(kind)
        if look is not None:
            look(message)
            return
        act = self.actions().get(kind)
        if act is not None:
            self.error = self.lasting_error()
            act(message)

    def twin_delay(self) -> float:
        """Return how many seconds the saved output may be behind; one with a large twin may say more."""
        return TWIN_AFTER_S

    def twin_changed(self) -> None:
        """Have the saved output follow: after `twin_delay`, once for all the changes until then."""
        with self._twin_lock:
            if self._twin_timer is None and self.comm is not None:
                self._twin_timer = threading.Timer(self.twin_delay(), self.guard(self.send_twin))
                self._twin_timer.daemon = True
                self._twin_timer.start()

    def send_twin(self) -> None:
        """Have the saved output follow now."""
        with self._twin_lock:
            if self._twin_timer is not None:
                self._twin_timer.cancel()
                self._twin_timer = None
        self.twin = {"text/plain": self.text_twin(), "text/html": self.html_twin()}

    def close(self) -> None:
        """Close the widget; its last twin stays in the output."""
        with self._twin_lock:
            waiting, self._twin_timer = self._twin_timer, None
        if waiting is not None:
            waiting.cancel()
            self.guard(self.send_twin)()
        super().close()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        made = super()._repr_mimebundle_(**options)
        if made is None or detect().kind not in _WITH_PLUGIN:
            return made
        data, metadata = made
        return {MIME: {"schema": SCHEMA, "model_id": self.model_id}, **data}, metadata


_Shown = TypeVar("_Shown", bound=LiveWidget)
# By the name of their class: anywidget gives every widget a class of its own, below the one that we wrote.
_shown: defaultdict[str, list[LiveWidget]] = defaultdict(list)


def show(widget: _Shown, output: Output | None = None) -> _Shown:
    """Display a widget, then begin it: the page draws it meanwhile."""
    made = widget._repr_mimebundle_()
    (output or Output()).display(made[0] if made else {})
    return begin(widget)


def begin(widget: _Shown) -> _Shown:
    """Fill a widget that is displayed, or will be at once; the oldest of its kind are closed."""
    widget.guard(widget.fill)()
    kind = type(widget).__name__
    alive = [other for other in _shown[kind] if other.comm is not None] + [widget]
    for oldest in alive[:-MOST_SHOWN]:
        oldest.close()
    _shown[kind] = alive[-MOST_SHOWN:]
    return widget


def shown(kind: type[_Shown]) -> list[_Shown]:
    """Return the widgets of a kind that were shown and are not closed, the newest last."""
    same = _shown[kind.__name__]
    return [widget for widget in same if isinstance(widget, kind) and widget.comm is not None]
