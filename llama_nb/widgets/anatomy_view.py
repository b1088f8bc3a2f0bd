"""The anatomy of a model in a page: its blocks as a diagram, each to be opened, and what ran through them.

Knows the page and its messages; what is counted and measured is `session.anatomy`'s business. What the page
sends is untrusted: it is looked up and checked, never taken as it is.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from llama_nb.core import events
from llama_nb.core.errors import MessageError, Stopped
from llama_nb.core.stop import StopFlag
from llama_nb.render import anatomy as rendered
from llama_nb.session import registry
from llama_nb.session.anatomy import EXAMPLE, Anatomy, measure_text
from llama_nb.session.anatomy_view import body_record, detail_record, measured_record
from llama_nb.session.latest import Latest
from llama_nb.session.reading import find_reading
from llama_nb.widgets.base import STATIC
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.traits import Record, Text

# What can be seen of a block; the page has the same list.
TABS: Final = ("block", "heads", "rope", "norm", "gate", "activations")
_MORE: Final = STATIC / "anatomy_more.js"  # what opens on demand; a page asks for it once
MOST_VIEWS: Final = 8
_LONGEST_TEXT: Final = 20_000
_NORM: Final = "norm"


class AnatomyView(LiveWidget):
    """An anatomy to walk through.

    Parameters
    ----------
    anatomy
        What to show. Where its model is still loaded, the page can have it read other texts.
    """

    _esm = STATIC / "anatomy.js"
    _css = STATIC / "anatomy.css"

    body = Record("AnatomyBody")
    measured = Record("AnatomyMeasured")
    detail = Record("AnatomyDetail")
    look = Record("AnatomyLook")
    status = Text()

    def __init__(self, anatomy: Anatomy) -> None:
        # Messages come on the shell's or a subshell's thread, measurements on their own.
        self._lock = threading.RLock()
        self._anatomy = anatomy
        self._work = Latest("anatomy")
        body, measured = body_record(anatomy), measured_record(anatomy) or {}
        look = {"block": "", "tab": "block", "layer": 0, "token": _last_token(measured)}
        super().__init__(
            body={**body, "example": EXAMPLE, "alive": self._model() is not None},
            measured=measured,
            look=look,
            detail=self._detail(body, look),
        )
        self._unsubscribe = events.subscribe(self.guard(self._watch))

    def received(self, message: dict[str, Any]) -> None:
        """Take the page's messages; what is none of these, or malformed, is ignored.

        "look" at a block, a tab, a layer, a token; "measure" what runs through the model on a text; "cancel"
        that; the "code" of the panels that open on demand; "hello" from a page that begins to show it.
        """
        kinds: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "look": self._look,
            "measure": self._measure,
            "cancel": lambda _: self._work.stop(),
            "code": lambda _: self.send({"kind": "code", "text": _MORE.read_text("utf-8")}),
        }
        act = kinds.get(str(message.get("kind")))
        if act is None:
            return
        self.error = ""
        act(message)

    def text_twin(self) -> str:
        """Return the anatomy as text."""
        return rendered.to_plain(self._anatomy.to_record(), watched=True)

    def html_twin(self) -> str:
        """Return it as static HTML."""
        return rendered.to_static(self._anatomy.to_record(), watched=True)

    def close(self) -> None:
        """Close the view and stop what it measures."""
        self._unsubscribe()
        self._work.stop()
        super().close()

    def settle(self, timeout: float | None = None) -> None:
        """Wait until what was asked for is measured."""
        self._work.join(timeout)

    # --- what the page asks for -----------------------------------------------------------------------

    def _look(self, message: Mapping[str, Any]) -> None:
        """Remember where the page looks, for the next page, and send what it needs there."""
        with self._lock:
            look = {**self.look, **self._place(message)}
            with self.hold_sync():
                self.look, self.detail = look, self._detail(self.body, look)

    def _place(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """What of a message is a place that there is."""
        found: dict[str, Any] = {}
        blocks = {block["id"] for block in self.body["blocks"]} | {""}
        if _text(message, "block") in blocks and isinstance(message.get("block"), str):
            found["block"] = message["block"]
        if message.get("tab") in TABS:
            found["tab"] = message["tab"]
        layer, token = _whole(message, "layer"), _whole(message, "token")
        if layer is not None and layer < self._anatomy.layers:
            found["layer"] = layer
        if token in [position[0] for position in self.measured.get("positions", [])]:
            found["token"] = token
        return found

    def _detail(self, body: Mapping[str, Any], look: Mapping[str, Any]) -> dict[str, Any]:
        """The gates of the layer that is looked at, and the token's way through the norm that is."""
        block = next((one for one in body["blocks"] if one["id"] == look["block"]), None)
        name = block["name"].rpartition(".")[2] if block is not None and block["kind"] == _NORM else ""
        measured = self._anatomy.measured
        norms = () if measured is None else measured.activations.vectors
        shown = name if name in norms else next(iter(norms), "")
        return detail_record(self._anatomy, look["layer"], shown, look["token"]) if shown else {}

    def _measure(self, message: Mapping[str, Any]) -> None:
        text = _text(message, "text") or EXAMPLE
        model = self._model()
        if model is None:
            raise MessageError(
                f"{self._anatomy.model} is not loaded any more: nothing can be read.",
                "Load it again, and %llama anatomy",
            )
        reading = find_reading(model, text, what="anatomy")

        def work(flag: StopFlag) -> None:
            running = model.engine.busy()
            self.status = f"Waiting for {running} …" if running else f"Reading {len(reading):,} tokens …"
            try:
                self._take(measure_text(model, self._anatomy, reading, stop=flag, told=self._told))
            except Stopped:
                pass  # what was measured before stays
            finally:
                self.status = ""

        self._work.put(self.guard(work))

    def _told(self, done: int, of: int) -> None:
        self.status = f"Reading: layer {done} of {of} …"

    def _take(self, found: Anatomy) -> None:
        with self._lock:
            self._anatomy = found
            record = measured_record(found) or {}
            look = {**self.look, "token": _last_token(record)}
            with self.hold_sync():
                self.measured, self.look, self.detail = record, look, self._detail(self.body, look)
        self.twin_changed()

    # --- what happens elsewhere -------------------------------------------------------------------------

    def _model(self) -> Any:
        """The model that this is the anatomy of, while it is loaded."""
        model = registry.loaded().get(self._anatomy.model)
        return model if model is not None and model.fingerprint == self._anatomy.fingerprint else None

    def _watch(self, event: events.Event) -> None:
        if isinstance(event, events.ModelsChanged) and self.comm is not None:
            alive = self._model() is not None
            with self._lock:
                if alive != self.body["alive"]:
                    self.body = {**self.body, "alive": alive}


_open: deque[AnatomyView] = deque()


def show(anatomy: Anatomy) -> AnatomyView:
    """Return a view of an anatomy; the oldest of many are closed, what they showed stays in the notebook."""
    made = AnatomyView(anatomy)
    _open.append(made)
    while len(_open) > MOST_VIEWS:
        _open.popleft().close()
    return made


def _last_token(measured: Mapping[str, Any]) -> int:
    return int(measured["positions"][-1][0]) if measured else 0


def _text(message: Mapping[str, Any], key: str) -> str:
    value = message.get(key)
    return value if isinstance(value, str) and len(value) <= _LONGEST_TEXT else ""


def _whole(message: Mapping[str, Any], key: str) -> int | None:
    value = message.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
