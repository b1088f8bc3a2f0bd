"""The loader panel: search a model, choose how it is loaded, load it, and give it back.

Knows the page and its messages; what there is, what fits and how loading goes is `session.loader`'s and
`session.load_job`'s. What the page sends is untrusted: it is looked up, never taken as it is.
"""

import dataclasses
import threading
from collections.abc import Mapping
from typing import Any, Final

from llama_nb.core import events
from llama_nb.core.errors import LlamaError
from llama_nb.planner.fit import gigabytes
from llama_nb.render import loader as rendered
from llama_nb.session import loader, loader_plan, registry
from llama_nb.session.load_job import Choice, JobState, LoadJob
from llama_nb.widgets import live_view
from llama_nb.widgets.base import STATIC
from llama_nb.widgets.live_view import LiveWidget
from llama_nb.widgets.messages import Messages, text
from llama_nb.widgets.output import Output
from llama_nb.widgets.traits import Record

# When the free memory has changed by more than this share, what fits is worked out anew.
_MOVED: Final = 0.03
_LONGEST: Final = 4096


class LoaderPanel(LiveWidget):
    """A panel to load models with. Empty until `fill`, so that the page can draw it at once."""

    _esm = STATIC / "loader.js"
    _css = STATIC / "loader.css"

    catalogue = Record("LoaderCatalogue")
    choice = Record("LoaderChoice")
    plan = Record("LoaderPlan")
    models = Record("LoaderModels")
    job = Record("LoaderJob")

    def __init__(self, **traits: Any) -> None:
        # Messages come on the shell's or a subshell's thread, progress on the job's, changes on any.
        self._lock = threading.RLock()
        self._job: LoadJob | None = None
        self._typed: list[str] = []
        self._freed = ""
        self._free = 0
        super().__init__(**traits)
        self._unsubscribe = events.subscribe(self.guard(self._watch))

    def fill(self) -> None:
        """Fill the panel: what can be loaded, and the first of it chosen."""
        self.refresh()
        if not self.choice:
            first = loader.suggested(self._entries())
            if first is not None:
                self._show(first.source)

    def refresh(self) -> None:
        """Show what is there now: models, catalogue, the free memory."""
        with self._lock, self.hold_sync():
            self._free = loader_plan.place().memory or 0
            if self.job.get("state") == "done" and self.job["model"] not in registry.loaded():
                self.job = {}
            self.models = {
                "models": [dataclasses.asdict(model) for model in loader.loaded()],
                "freed": self._freed,
            }
            self.catalogue = {
                "entries": [dataclasses.asdict(entry) for entry in self._entries()],
                "offline": loader.offline_sentence(),
                "machine": loader.machine_sentence(),
            }
            source = self.choice.get("source")
            if source:
                self.plan = loader_plan.plan_for(source, self.choice.get("device") or "auto")
        self.twin_changed()

    def looks(self) -> Messages:
        """Return what a page asks for: "hello" comes from one that begins to show the panel."""
        return {"hello": lambda _: self._hello()}

    def actions(self) -> Messages:
        """Return what a page does.

        "choose" an entry, "find" what was typed, "chose" how it would be loaded, "load" it, "cancel" that;
        "use" and "unload" a loaded model.
        """
        return {
            "choose": lambda said: self._show(text(said, "source", _LONGEST).strip()),
            "find": lambda said: self._find(text(said, "text", _LONGEST).strip()),
            "chose": self._chose,
            "load": self._load,
            "cancel": lambda _: self._cancel(),
            "use": lambda said: self._use(text(said, "name").strip()),
            "unload": lambda said: self._unload(text(said, "name").strip()),
        }

    def received(self, message: dict[str, Any]) -> None:
        """Take the page's messages, and see whether the machine's free memory moved since the last."""
        super().received(message)
        if self._free and abs((loader_plan.place().memory or 0) - self._free) > _MOVED * self._free:
            self.refresh()

    def text_twin(self) -> str:
        """Return what is loaded and what was chosen."""
        return rendered.to_text(self._twin())

    def html_twin(self) -> str:
        """Return the same as a table."""
        return rendered.to_html(self._twin())

    def close(self) -> None:
        """Close the panel; what it loads goes on."""
        self._unsubscribe()
        super().close()

    def _twin(self) -> rendered.LoaderTwin:
        return rendered.LoaderTwin(
            models=[
                (model["name"], model["detail"], "current" if model["current"] else "")
                for model in self.models.get("models", ())
            ],
            command=loader_plan.command(self.plan, self.choice) if self.plan else "",
            sentence=loader_plan.sentence(self.plan, self.choice) if self.plan else "",
        )

    def _hello(self) -> None:
        """A page begins to show the panel: in a notebook that was left for a while things have changed."""
        if self.catalogue:
            self.refresh()

    def _entries(self) -> list[loader.Entry]:
        return loader.entries(tuple(self._typed))

    def _show(self, source: str, device: str = "auto") -> None:
        """Choose an entry, as the plan suggests to load it."""
        if not source:
            return
        plan = loader_plan.plan_for(source, device)
        with self._lock, self.hold_sync():
            self.plan = plan
            self.choice = loader_plan.suggestion(plan)
        self.twin_changed()

    def _find(self, typed: str) -> None:
        """Add what was typed, if it names something, and choose it."""
        if not typed:
            return
        source = loader.look_up(typed)
        with self._lock:
            if source not in self._typed:
                self._typed.append(source)
        self._show(source)
        self.refresh()

    def _chose(self, message: Mapping[str, Any]) -> None:
        choice = self._checked(message)
        if choice is None:
            return
        moved = choice.get("device") != self.choice.get("device")
        with self._lock:
            self.choice = choice
        if moved:
            self.refresh()
        self.twin_changed()

    def _checked(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        """The choice that a message names, if the plan that the page shows offers it."""
        plan = self.plan
        if not plan or message.get("source") != plan.get("source"):
            return None
        return loader_plan.offered(plan, message.get("quant"), message.get("context"), message.get("device"))

    def _load(self, message: Mapping[str, Any]) -> None:
        choice = self._checked(message)
        if choice is None:
            raise LlamaError("The page asked for something that the panel does not offer.", "Choose again.")
        with self._lock:
            if self._job is not None and not self._job.state.ended:
                return
            self.choice = choice
            self._freed = ""
            self._job = LoadJob(_choice(choice), self._follow)
        self._job.start()

    def _cancel(self) -> None:
        job = self._job
        if job is not None:
            job.cancel()

    def _follow(self, job: LoadJob) -> None:
        with self._lock:
            if job is self._job:
                self.job = _job_record(job.state)
        if job.state.ended:
            self.refresh()  # of a failed load, too: what refused it may have gone

    def _use(self, name: str) -> None:
        registry.use(name)

    def _unload(self, name: str) -> None:
        freed = registry.unload(name)
        self._freed = f"{name} unloaded: {gigabytes(freed)} given back."
        self.refresh()

    def _watch(self, event: events.Event) -> None:
        if isinstance(event, events.ModelsChanged) and self.comm is not None:
            self.refresh()


def show(output: Output | None = None) -> LoaderPanel:
    """Display a new panel."""
    return live_view.show(LoaderPanel(), output)


def _choice(record: Mapping[str, Any]) -> Choice:
    return Choice(record["source"], record["quant"], record["device"], record["context"])


def _job_record(state: JobState) -> dict[str, Any]:
    record = dataclasses.asdict(state)
    return record | {"source": record.pop("choice")["source"], "notes": list(state.notes)}
