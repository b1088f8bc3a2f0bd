"""A training run in a page: its curves, its answers, its recipe, and the buttons that order it about.

Knows the page and its messages; what stands in the run's folder, and what orders do, is
`session.training_view`'s business. It looks at the folder twice a second while the run goes on, whoever
executes it, so it does not matter how often a page or a kernel begins anew.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

from llama_nb.core import events
from llama_nb.core.stop import StopFlag
from llama_nb.session.latest import Jobs
from llama_nb.session.training_view import ORDERS, TrainingView
from llama_nb.tuning.curves import Points, common
from llama_nb.widgets.base import STATIC
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.messages import Messages, Said, number, text, whole
from llama_nb.widgets.traits import Record

LOOK_S: Final = 0.5
IDLE_S: Final = 3.0  # a run that is over may be resumed in another cell
_TWIN_S: Final = 5.0  # the picture of the curves is drawn for it
_MORE: Final = STATIC / "training_more.js"  # answers, recipe, data: what is opened by a tab
_LONGEST: Final = 10_000  # characters of a prompt


class TrainingPanel(LiveWidget):
    """A run of a training. Empty until `fill`.

    Parameters
    ----------
    view
        Which run.
    """

    _esm = STATIC / "training.js"
    _css = STATIC / "training.css"

    head = Record("TrainingHead")
    curves = Record("TrainingCurves")
    samples = Record("TrainingSamples")
    recipe = Record("TrainingRecipe")

    def __init__(self, view: TrainingView, **traits: Any) -> None:
        self.view = view
        # Messages come on the shell's or a subshell's thread, what is new on the one that looks.
        self._lock = threading.RLock()
        self._points = Points()
        self._ended = threading.Event()
        self._wake = threading.Event()
        self._jobs = Jobs("training", ("resume", "adapter"), self.guard)
        self._looking: threading.Thread | None = None
        super().__init__(**traits)
        self._unsubscribe = events.subscribe(self.guard(self._watch))

    # --- what is shown ----------------------------------------------------------------------------------

    def fill(self) -> None:
        """Show the run as it is, and follow it from now on."""
        self.recipe = self.view.recipe()
        self.refresh()
        self._looking = threading.Thread(target=self._follow, name="llama-nb training panel", daemon=True)
        self._looking.start()

    def refresh(self) -> None:
        """Show what is new in the folder."""
        with self._lock:
            before = self.head
            self.view.look()
            self._show_points()
            self.samples = self.view.samples()
            self.head = self.view.head()
            if before == self.head:
                return
        if before and before.get("state") != self.head["state"] and not self.view.going_on:
            self.send_twin()  # a kernel may end at once behind a run
        else:
            self.twin_changed()

    def get_state(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Return the state as ipywidgets does, but always of one look."""
        with self._lock:
            return super().get_state(*arguments, **options)

    def notify_change(self, change: Any) -> None:
        """Send a change; never while another thread is in the middle of several."""
        with self._lock:
            super().notify_change(change)

    def text_twin(self) -> str:
        """Return the run as text."""
        return self.view.text(watched=True)

    def html_twin(self) -> str:
        """Return the run with its curves as a picture."""
        return self.view.html(watched=True)

    def twin_delay(self) -> float:
        """Return how far behind the saved output may be."""
        return _TWIN_S

    def close(self) -> None:
        """Close the panel; the run goes on."""
        self._ended.set()
        self._wake.set()
        self._unsubscribe()
        self._jobs.stop()
        super().close()

    # --- what the page says -------------------------------------------------------------------------------

    def looks(self) -> Messages:
        """Return what a page asks for; the shapes are `TrainingAsk`'s."""
        return {
            "lost": lambda _: self._send_curves(),
            "sample": self._choose_sample,
            "code": lambda _: self.send({"kind": "code", "text": _MORE.read_text("utf-8")}),
        }

    def actions(self) -> Messages:
        """Return what a page does."""
        return {
            **dict.fromkeys(ORDERS, self._order),
            "lr": self._set_lr,
            "prompt": self._add_prompt,
            "adapter": self._use_adapter,
        }

    def _order(self, said: Said) -> None:
        kind = text(said, "kind")
        if kind == "resume":  # may have to read a checkpoint, for which other messages need not wait
            self._soon(kind, lambda: self.view.order(kind))
            return
        self.view.order(kind)
        self._wake.set()

    def _set_lr(self, said: Said) -> None:
        value = number(said, "value")
        if value is not None:
            self.view.run.set_lr(value)
            self._wake.set()

    def _add_prompt(self, said: Said) -> None:
        prompt = text(said, "text", _LONGEST).strip()
        if prompt:
            self.view.add_prompt(prompt)

    def _use_adapter(self, said: Said) -> None:
        use = said.get("use")
        if isinstance(use, bool):
            self._soon("adapter", lambda: self.view.use_adapter(use))

    def _choose_sample(self, said: Said) -> None:
        step = whole(said, "step")
        if step is None:
            return
        with self._lock:
            steps = self.samples.get("steps", [])
            # Whoever looks at the newest answers wants to see the next ones, too.
            self.view.sample_step = step if step in steps[:-1] else None
            self.samples = self.view.samples()

    def _soon(self, kind: str, act: Callable[[], None]) -> None:
        def work(_flag: StopFlag) -> None:
            act()
            self._wake.set()

        self._jobs.put(kind, work)

    # --- looking again and again ----------------------------------------------------------------------------

    def _follow(self) -> None:
        look = self.guard(self.refresh)
        while not self._ended.is_set():
            self._wake.wait(LOOK_S if self.view.going_on else IDLE_S)
            self._wake.clear()
            if not self._ended.is_set():
                look()

    def _show_points(self) -> None:
        """Tell the page what changed in the curves, or all of them where they are thinned anew."""
        new = self.view.reading.curves.points()
        kept = common(self._points, new)
        if kept == (len(new.steps), len(new.validation)) and self._lengths() == kept:
            return
        self._points = new
        revision = self.curves.get("revision", 0) + 1
        self.curves = {"revision": revision, **new.to_record()}
        if kept is None or self.curves["revision"] == 1:
            self._send_curves()
            return
        self.send(
            {
                "kind": "points",
                "revision": revision,
                "keep": kept[0],
                "keep_validation": kept[1],
                "add": new.behind(*kept).to_record(),
            }
        )

    def _lengths(self) -> tuple[int, int]:
        return len(self._points.steps), len(self._points.validation)

    def _send_curves(self) -> None:
        with self._lock:
            self.send_state(["curves"])

    def _should_send_property(self, key: str, value: Any) -> bool:
        # The curves are sent as differences, and whole when a page asks.
        return key != "curves" and super()._should_send_property(key, value)

    def _watch(self, event: events.Event) -> None:
        if isinstance(event, events.ModelsChanged | events.AdaptersChanged):
            self._wake.set()
