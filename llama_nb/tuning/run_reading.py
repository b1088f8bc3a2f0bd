"""A run's folder as records for a page, a picture or a table, read as it grows.

Each look reads what is new. The folder may come from anywhere, so every value is checked: what is not of its
kind is left out. Knows the files' meaning; knows no page, no model and no torch.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any, Final

from llama_nb.core.errors import TrainingError
from llama_nb.render import training as rendered
from llama_nb.render.clean import clean, clean_line
from llama_nb.render.markdown import tree
from llama_nb.render.nodes import Node
from llama_nb.tuning.control import FILE as ORDERS
from llama_nb.tuning.control import orders_end
from llama_nb.tuning.curves import Curves, figure
from llama_nb.tuning.json_lines import Tail
from llama_nb.tuning.run_folder import RunFolder, RunState

MOST_PROMPTS: Final = 12
_LONGEST: Final = 2_000  # characters of a sentence
_MOST_NOTES: Final = 20
_CHECKPOINT: Final = re.compile(r"step-(\d{1,15})")
_DAMAGED: Final = RunState(state="interrupted", error="state.json of the run is damaged.")
_EXECUTORS: Final = {"kernel": "in a notebook's kernel", "process": "in a process of its own"}
_DPO_BETA: Final = "beta"


class RunReading:
    """What stands in a run's folder; `look` reads what came since.

    Attributes
    ----------
    folder
        Whose folder.
    curves
        What was measured so far.
    state
        How far it is, as of the last look.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.curves = Curves()
        self.state: RunState = _DAMAGED
        self._metrics = Tail(folder.metrics_file)
        self._samples = Tail(folder.samples_file)
        self._orders = Tail(folder.path / ORDERS, orders_end(folder.path))
        self._ordered = ""
        self._before: dict[str, str] = {}
        self._after: dict[str, dict[int, str]] = {}
        self._saved: int | None = None
        self._saved_when_ordered: int | None = None
        self._steps_when_ordered = 0

    # --- reading ----------------------------------------------------------------------------------------

    def look(self) -> None:
        """Read what is new."""
        # The state first: what was measured may be ahead of it, and never behind.
        self.state = self._read_state()
        lines = self._metrics.new()
        if self._metrics.restarted:
            self.curves = Curves()
        self.curves.add(lines)
        answers = self._samples.new()
        if self._samples.restarted:
            self._before, self._after = {}, {}
        for answer in answers:
            self._take_answer(answer)
        self._saved = self._newest_checkpoint()
        self._follow_orders()

    @property
    def going_on(self) -> bool:
        """Whether somebody works on it, or soon will."""
        return self.state.at_work

    def _read_state(self) -> RunState:
        try:
            return self.folder.state()
        except (TypeError, ValueError, AttributeError, OverflowError):
            return _DAMAGED

    def _take_answer(self, answer: Mapping[str, Any]) -> None:
        prompt, text, step = answer.get("prompt"), answer.get("text"), whole(answer.get("step"))
        if not isinstance(prompt, str) or not isinstance(text, str) or step is None:
            return
        if prompt not in self._after:
            if len(self._after) >= MOST_PROMPTS:
                return
            self._after[prompt] = {}
        if answer.get("adapter") is True:
            self._after[prompt][step] = text
        else:
            self._before[prompt] = text

    def _newest_checkpoint(self) -> int | None:
        try:
            names = [path.name for path in self.folder.checkpoints.iterdir()]
        except OSError:
            return None
        return max((int(found[1]) for name in names if (found := _CHECKPOINT.fullmatch(name))), default=None)

    def _follow_orders(self) -> None:
        """Remember the last order until it is obeyed."""
        for order in self._orders.new():
            self._ordered = str(order.get("order"))
            self._saved_when_ordered, self._steps_when_ordered = self._saved, len(self.curves)
        obeyed = {
            "pause": self.state.state != "running",
            "resume": self.state.state == "running",
            "stop": not self.going_on,
            "save": self._saved != self._saved_when_ordered,
            "lr": len(self.curves) != self._steps_when_ordered,
        }
        if not self.going_on or obeyed.get(self._ordered, True):
            self._ordered = ""

    # --- records ----------------------------------------------------------------------------------------

    def head(self) -> dict[str, Any]:
        """Return who the run is and how far (TrainingHead of the page, without what a model adds to it)."""
        state, curves = self.state, self.curves
        done = max([whole(state.step) or 0, *curves.steps[-1:]])
        steps = whole(state.steps) or 0
        per_step = curves.seconds_per_step()
        plan = self.folder.plan
        best = curves.best()
        return {
            "name": _text(self.folder.name),
            "folder": _text(self.folder.shown),
            "state": state.state,
            "sentence": self._sentence(done, steps),
            "step": done,
            "steps": steps,
            "executor": _EXECUTORS.get(state.executor, _text(state.executor)),
            **{name: value for name, value in self._asked.items() if name != "damage"},
            "parameters": whole(plan.get("parameters")),
            "eta_s": per_step * max(0, steps - done) if per_step is not None and self.going_on else None,
            "spent_s": sum(curves.seconds) if curves.seconds else None,
            "tokens_per_s": curves.rate(),
            "loss": curves.loss[-1] if curves.loss else None,
            "smoothed": curves.smoothed[-1] if curves.smoothed else None,
            "validation": curves.validation[-1][1] if curves.validation else None,
            "best": best[1] if best else None,
            "best_step": best[0] if best else None,
            "lr": curves.lr[-1] if curves.lr else None,
            "gradient_norm": curves.gradient_norm[-1] if curves.gradient_norm else None,
            "memory": max((value for value in curves.memory if value is not None), default=None),
            "planned_memory": figure(plan.get("memory")),
            "planned_s": figure(plan.get("seconds")),
            "serving": _text(state.serving),
            "notes": [_text(note) for note in state.notes[:_MOST_NOTES]],
            "error": _text(state.error) or self._asked.get("damage", ""),
            "hint": _text(state.hint),
            "data": self._data,
            "saved_step": self._saved,
            "orders": self._orders_now(),
            "ordered": self._ordered,
            "keeps": self._keeps(done),
        }

    def samples(self, step: int | None = None) -> dict[str, Any]:
        """Return the answers after `step` steps, or the newest ones, beside those before the training."""
        steps = sorted({each for answers in self._after.values() for each in answers})
        shown = step if step in steps else (steps[-1] if steps else 0)
        answers = [
            {
                "prompt": clean(prompt),
                "before": _nodes(self._before.get(prompt)),
                "after": _nodes(after.get(shown)),
            }
            for prompt, after in self._after.items()
        ]
        return {"steps": steps, "step": shown, "answers": answers} if answers else {}

    def recipe(self) -> dict[str, Any]:
        """Return the parameters with what each is and what happens when it is turned."""
        from llama_nb.tuning.recipe import HELP, Recipe

        try:
            recipe = self.folder.recipe
        except TrainingError:
            return {"rows": []}
        values, usual = recipe.to_dict(), Recipe().to_dict()
        rows = [
            {
                "name": name,
                "value": written(value),
                "usual": value == usual[name],
                "help": HELP[name][0],
                "turn": HELP[name][1],
            }
            for name, value in values.items()
            if name != _DPO_BETA or recipe.objective == "dpo"
        ]
        return {"rows": rows}

    @functools.cached_property
    def _asked(self) -> dict[str, Any]:
        """What was asked for once, and does not change."""
        found: dict[str, Any] = {"adapter": _text(self.folder.name)}
        try:
            recipe, base = self.folder.recipe, self.folder.base
        except TrainingError as damage:
            return {**found, "damage": _text(damage.message)}
        return {
            **found,
            "model": _text(base.name),
            "method": recipe.method,
            "objective": recipe.objective,
            "rank": None if recipe.method == "full" else recipe.rank,
        }

    @property
    def _data(self) -> dict[str, Any]:
        data = self.folder.data  # tokens are counted when the run begins
        counts = {name: whole(data.get(name)) for name in ("rows", "validation_rows", "tokens", "trained")}
        notes = data.get("notes")
        return {
            "source": _text(data.get("source")),
            "format": _text(data.get("format")),
            **counts,
            "notes": [_text(note) for note in notes[:_MOST_NOTES]] if isinstance(notes, list) else [],
        }

    def _orders_now(self) -> list[str]:
        match self.state.state:
            case "running":
                return ["pause", "stop", "save", "lr"]
            case "paused":
                return ["resume", "stop", "lr"]
            case "waiting":
                return ["stop"]
            case "stopped" | "interrupted" | "failed":
                return ["resume"]
        return []

    def _sentence(self, done: int, steps: int) -> str:
        state, name = self.state, self.folder.name
        why = f" ({reason})" if (reason := _text(state.reason)) else ""
        again = f"%llama train --resume {name}"
        saved = "" if self._saved is None else f" from step {self._saved:,}"
        match state.state:
            case "paused":
                return f"Paused{why}: %llama train resume {name} goes on."
            case "stopped":
                return f"Stopped{why} at step {done:,} of {steps:,}; {again} goes on{saved}."
            case "interrupted":
                return f"Whoever trained it is gone, at step {done:,}; {again} goes on{saved}."
        return ""

    def _keeps(self, done: int) -> str:
        if not self.going_on:
            return ""
        return f"Stopping keeps a checkpoint of step {done:,}; the run can go on from it exactly."


def bundle(folder: RunFolder, *, watched: bool) -> dict[str, str]:
    """Return a run as text and as HTML that stands alone.

    Where outputs are compared, one that goes on says no more than that: how far it is differs each time.
    """
    reading = RunReading(folder)
    reading.look()
    head, samples = reading.head(), reading.samples()
    if reading.state.state in ("waiting", "running") and not watched:
        said = f"{rendered.title(head)}\ngoing on"
        return {"text/plain": said, "text/html": rendered.lines(said)}
    html = rendered.to_page(head, reading.curves.points().to_record(), samples, watched=watched)
    return {"text/plain": rendered.to_plain(head, samples, watched=watched), "text/html": html}


def written(value: object) -> str:
    """Return a parameter's value as a person writes it."""
    if value is None:
        return "automatic"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return clean_line(", ".join(map(str, value))) or "none"
    return clean_line(str(value))


def whole(value: object) -> int | None:
    """Return a whole number from 0, or None for everything else."""
    return value if type(value) is int and value >= 0 else None


def _text(value: object) -> str:
    return clean_line(value[:_LONGEST]) if isinstance(value, str) else ""


@functools.lru_cache(maxsize=64)
def _tree(text: str) -> list[Node]:
    return tree(text)


def _nodes(text: str | None) -> list[Node] | None:
    return None if text is None else _tree(text)
