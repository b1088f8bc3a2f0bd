"""The sampling laboratory in a page: a place, sliders, stages, and at once what they make of a distribution.

Knows the page and its messages; what is computed is `session.laboratory`'s business. What the page sends is
untrusted: it is looked up and checked, never taken as it is.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from llama_nb.core import events
from llama_nb.core.errors import MessageError
from llama_nb.core.stop import StopFlag
from llama_nb.render import laboratory as rendered
from llama_nb.session.laboratory import Laboratory
from llama_nb.session.laboratory_view import controls_record, place_record, view_record
from llama_nb.session.latest import Latest
from llama_nb.session.model import Model
from llama_nb.session.subject import Subject, reply_subject, text_subject
from llama_nb.widgets import live_view
from llama_nb.widgets.base import STATIC
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.messages import Messages, Said, number, text, texts, whole
from llama_nb.widgets.output import Output
from llama_nb.widgets.traits import Record, Text

AHEAD_AFTER_S: Final = 0.35  # of rest, so that a slider on its way asks for no text
_SHOW_EVERY_S: Final = 0.1
_LONGEST_TEXT: Final = 20_000


class SamplingLab(LiveWidget):
    """Sampling parameters to try on one place after another. Empty until `fill`."""

    _esm = STATIC / "sampling.js"
    _css = STATIC / "sampling.css"

    place = Record("LabPlace")
    sampling = Record("SamplingState")
    view = Record("LabView")
    ahead = Record("LabAhead")
    status = Text()

    def __init__(self, model: Model, subject: Subject, position: int | None = None, **traits: Any) -> None:
        # Messages come on the shell's or a subshell's thread, looks and texts on their own.
        self._lock = threading.RLock()
        self._laboratory = Laboratory(model, subject)
        subject.check(position)
        self._wanted = position
        self._drawing = False
        self._going_on = False
        self._instead: int | None = None
        self._newer = False
        self._shown_at = 0.0
        self._look, self._text = Latest("laboratory"), Latest("continuation")
        super().__init__(**traits)
        self._unsubscribe = events.subscribe(self.guard(self._watch))

    def fill(self) -> None:
        """Show the tokens and begin to look at the place."""
        self._show_place()
        self.sampling = controls_record(self._laboratory)
        self._go(self._wanted)

    def actions(self) -> Messages:
        """Return what a page does.

        "look" at a position; "set" a parameter, a "preset", an "order" of stages, "reset" or take the
        "session"'s; "draw" and "ahead" on or off, with other dice by "roll"; "apply"; the "newest" reply, or
        a "text".
        """
        return {
            "look": lambda said: self._go(whole(said, "position")),
            "set": self._set,
            "preset": lambda said: self._try(lambda lab: lab.change({"preset": text(said, "name")})),
            "order": lambda said: self._try(lambda lab: lab.reorder(texts(said, "names"))),
            "reset": lambda _: self._try(Laboratory.reset),
            "session": lambda _: self._try(Laboratory.as_session),
            "roll": lambda _: self._try(Laboratory.roll),
            "draw": self._draw,
            "ahead": self._go_on,
            "apply": lambda _: self._apply(),
            "newest": lambda _: self._newest(),
            "text": lambda said: self._other_text(text(said, "text", _LONGEST_TEXT)),
        }

    def text_twin(self) -> str:
        """Return the distribution as tables."""
        return rendered.to_text(self._twin())

    def html_twin(self) -> str:
        """Return the same with bars."""
        return rendered.to_html(self._twin())

    def close(self) -> None:
        """Close the laboratory and give back what the model keeps for it."""
        self._unsubscribe()
        self._look.stop()
        self._text.stop()
        self._laboratory.close()
        super().close()

    def settle(self, timeout: float | None = None) -> None:
        """Wait until what was asked for is shown."""
        self._look.join(timeout)
        self._text.join(timeout)

    # --- places ---------------------------------------------------------------------------------------

    def _go(self, position: int | None) -> None:
        laboratory = self._laboratory
        laboratory.subject.check(position)

        def look(flag: StopFlag) -> None:
            waiting = threading.Timer(0.2, self._say, [flag, laboratory])
            waiting.daemon = True
            waiting.start()
            try:
                with_place = laboratory.look(position, flag)
            finally:
                waiting.cancel()
            with self._lock:
                if with_place and laboratory is self._laboratory and not flag.is_set():
                    self._instead = None
                    self._show()
            if with_place and laboratory.subject.kind == "text" and laboratory.unread:
                laboratory.read_chances(flag, self._show_chances)
                self._show_place()

        self._look.put(self.guard(look))

    def _say(self, flag: StopFlag, laboratory: Laboratory) -> None:
        running = laboratory.model.engine.busy() if laboratory.model.alive else None
        if not flag.is_set():
            mine = running in (None, "the sampling laboratory", "a look at the next token")
            self.status = "Looking …" if mine else f"Waiting for {running} …"

    def _show_chances(self) -> None:
        now = time.monotonic()
        if now - self._shown_at > 5 * _SHOW_EVERY_S:
            self._shown_at = now
            self._show_place()

    def _show_place(self) -> None:
        with self._lock:
            self.place = place_record(self._laboratory, newer=self._newer)

    def _newest(self) -> None:
        reply = self._laboratory.model.last
        if reply is None:
            raise MessageError("There is no reply yet.")
        self._walk(reply_subject(reply))

    def _other_text(self, typed: str) -> None:
        if typed:
            self._walk(text_subject(self._laboratory.model.engine, typed))

    def _walk(self, subject: Subject) -> None:
        """Walk through something else, with the parameters as they are."""
        with self._lock:
            old = self._laboratory
            self._laboratory = Laboratory(old.model, subject)
            self._laboratory.sampling = old.sampling
            self._newer = False
            old.close()
        self._show_place()
        self._go(None)

    # --- parameters -----------------------------------------------------------------------------------

    def _set(self, message: Said) -> None:
        name, value = text(message, "name"), number(message, "value")
        if name and (value is not None or message.get("value") is None):
            self._try(lambda lab: lab.change({name: value}))

    def _try(self, act: Callable[[Laboratory], None]) -> None:
        with self._lock:
            act(self._laboratory)
            self._show()

    def _draw(self, message: Said) -> None:
        with self._lock:
            self._drawing = message.get("on") is True
            self._show()

    def _apply(self) -> None:
        # Without the lock: other panels, which have theirs, are told. The session's change then shows it.
        self._laboratory.apply()

    def _show(self) -> None:
        """Send what changed, in one message."""
        self.view = view_record(self._laboratory, draws=self._drawing)
        self.status = ""
        if self._going_on:
            self._write_on(AHEAD_AFTER_S)
        self.twin_changed()

    # --- the text that would follow ---------------------------------------------------------------------

    def _go_on(self, message: Said) -> None:
        with self._lock:
            self._going_on = message.get("on") is True
            self._instead = whole(message, "token")
            if self._going_on:
                self._write_on(0.0)
            else:
                self._text.stop()
                self.ahead = {}

    def _write_on(self, delay_s: float) -> None:
        laboratory, instead = self._laboratory, self._instead
        place = {"first": laboratory.name_of(instead), "token": instead, "seed": laboratory.seed}
        # What was written before stays to be seen until there is something newer.
        self.ahead = {**place, "state": "waiting", "text": self.ahead.get("text", "")}

        def write(flag: StopFlag) -> None:
            written: list[str] = []
            shown = time.monotonic()
            for event in laboratory.ahead(flag, instead):
                written.append(event.text)
                if time.monotonic() - shown > _SHOW_EVERY_S and not flag.is_set():
                    shown = time.monotonic()
                    self.ahead = {**place, "state": "running", "text": "".join(written)}
            if not flag.is_set():
                self.ahead = {**place, "state": "done", "text": "".join(written)}
                self.twin_changed()

        self._text.put(self.guard(write), delay_s)

    # --- what happens elsewhere ---------------------------------------------------------------------------

    def _watch(self, event: events.Event) -> None:
        if self.comm is None:
            return
        laboratory = self._laboratory
        if isinstance(event, events.SamplingChanged):
            with self._lock:
                if self.view:
                    applied = {"applied": laboratory.applied(), "line": laboratory.line()}
                    self.view = {**self.view, **applied}
        elif isinstance(event, events.ModelsChanged) and self.place.get("alive") != laboratory.model.alive:
            self._show_place()
        elif isinstance(event, events.ReplyEnded) and not self._newer and self._is_newer(event.reply):
            self._newer = True
            self._show_place()

    def _is_newer(self, reply: Any) -> bool:
        laboratory = self._laboratory
        own = reply.model_name == laboratory.model.name and reply.fingerprint == laboratory.model.fingerprint
        return own and bool(reply.tokens) and reply is not laboratory.subject.reply

    def _twin(self) -> rendered.LaboratoryTwin:
        with self._lock:
            laboratory = self._laboratory
            found, position = laboratory.distribution, laboratory.position
        return rendered.LaboratoryTwin(
            title=f"{laboratory.subject.title} of {laboratory.model.name}",
            record=None if found is None else found.to_record(),
            before="" if position is None else laboratory.subject.context(position),
            line=laboratory.line(),
            ahead=str(self.ahead.get("first", "")) + str(self.ahead.get("text", "")),
        )


def show(
    model: Model, subject: Subject, position: int | None = None, output: Output | None = None
) -> SamplingLab:
    """Display a new laboratory."""
    return live_view.show(SamplingLab(model, subject, position), output)
