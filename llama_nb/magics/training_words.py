"""What stands on a `%llama train` line beside the recipe: data, orders, and which run is meant."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from IPython.display import display

from llama_nb.core.errors import DataError, TrainingError, did_you_mean, nearest
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    from llama_nb.tuning.run import Run

_ORDERS: Final = ("pause", "resume", "stop", "save", "lr", "status")
_ENDINGS: Final = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_LEFT: Final = ("stopped", "interrupted", "failed", "paused")
_DATA: Final = "Name a file or a variable: %llama train persona.jsonl; or write records into the cell's body."
_SAID: Final = {
    "pause": "{name} pauses after what it computes now. %llama train resume {name} goes on.",
    "resume": "{name} goes on.",
    "stop": "{name} has stopped at step {step:,} of {steps:,}. %llama train --resume {name} goes on exactly.",
    "save": "{name} writes a checkpoint after this step.",
}


# --- data -----------------------------------------------------------------------------------------------


def find_data(words: Sequence[str], call: Call) -> tuple[Any, str | None]:
    """Return what is to be learned, and what a run on it is called where data does not say.

    Raises
    ------
    CommandError
        If there is no data, or more than one.
    DataError
        If a line of the cell's body is no JSON.
    """
    if call.body:
        if words:
            raise CommandError(
                f"There is data on the line ({words[0][:40]!r}) and in the cell.", "Leave one of them out."
            )
        return _records(call.body), None
    if not words:
        raise CommandError("What is to be learned?", _DATA)
    if len(words) > 1:
        raise CommandError(f"There is more than one word: {' '.join(words)[:60]!r}.", _known(words[0]))
    word = words[0]
    if word.isidentifier() and word in call.namespace:
        return call.namespace[word], word
    if not word.lower().endswith(_ENDINGS) and not Path(word).expanduser().exists():
        raise CommandError(f"There is no file and no variable {word[:60]!r}.", _hint(word, call.namespace))
    return word, None


def _records(body: str) -> list[Any]:
    """Return the records of a cell, one JSON value a line."""
    found = []
    for number, line in enumerate(body.splitlines(), 2):
        if not line.strip():
            continue
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            place = getattr(error, "colno", 1)
            raise DataError(
                f"Line {number} of the cell, column {place}: {getattr(error, 'msg', error)}.",
                'Each line is one JSON record: {"prompt": "...", "completion": "..."}',
            ) from None
    return found


def _known(word: str) -> str:
    near = did_you_mean(word, _ORDERS)
    return near or f"{_DATA} A path with spaces stands in quotes."


def _hint(word: str, namespace: Mapping[str, Any]) -> str:
    variables = [name for name in namespace if not name.startswith("_")]
    near = nearest(word, (*_ORDERS, *data_files(), *variables), 1)
    return f"Did you mean {near[0]!r}?" if near else _DATA


def data_files() -> list[str]:
    """Return the files in this folder that could be learned from."""
    try:
        return sorted(path.name for path in Path().iterdir() if path.suffix.lower() in _ENDINGS)
    except OSError:
        return []


def format_names() -> Iterable[str]:
    """Return the formats that `--format` knows."""
    from llama_nb.tuning import formats

    return formats.all_formats()


# --- runs -----------------------------------------------------------------------------------------------


def run_names() -> list[str]:
    """Return the names of the runs under ./runs, the newest first."""
    from llama_nb.tuning.run_folder import folders

    return [folder.name for folder in folders()]


def is_order(words: Sequence[str]) -> bool:
    """Return whether a line orders a run about, whatever variables there are: `lr` is often one."""
    return bool(words) and words[0] in _ORDERS


def obey(words: Sequence[str]) -> "Shown | Run":
    """Give the order that a line says, to the run that it names or the one that goes on.

    Raises
    ------
    CommandError
        If words are missing or left over.
    TrainingError
        If there is no such run, or it takes no orders.
    """
    order, *rest = words
    rate = _rate(rest.pop(0) if rest else None) if order == "lr" else None
    if len(rest) > 1:
        raise CommandError(f"%llama train {order} takes one name, not {len(rest)}.", "See: %llama runs")
    found = _at_work(rest[0] if rest else None, order)
    if order == "status":
        return found
    if rate is not None:
        found.set_lr(rate)
        return Shown(f"{found.name} learns at {rate:g} from the next step on.")
    if order == "resume":
        from llama_nb.session.resuming import resume

        resume(found)
    else:
        {"pause": found.pause, "stop": found.stop, "save": found.save_now}[order]()
    status = found.status
    return Shown(_SAID[order].format(name=found.name, step=status.step, steps=status.steps))


def _rate(typed: str | None) -> float:
    try:
        return float(typed or "")
    except ValueError:
        raise CommandError(
            "Which learning rate?" if typed is None else f"The learning rate is {typed[:40]!r}.",
            "%llama train lr 1e-4",
        ) from None


def _at_work(name: str | None, order: str) -> "Run":
    """Return the run of this name; without one the newest that goes on, or that the order could be for."""
    from llama_nb.tuning.run import list_runs, open_run

    if name is not None:
        return open_run(name)
    runs = list_runs()
    at_work = {run.state: run for run in reversed(runs)}
    # One that waits for another is meant last.
    for state in ("paused", "running") if order == "resume" else ("running", "paused", "waiting"):
        if state in at_work:
            return at_work[state]
    if runs and order in ("status", "resume"):
        return runs[0] if order == "status" else left("")
    hint = (
        f"The last one is {runs[0].name}: {runs[0].state}." if runs else "Start one: %llama train data.jsonl"
    )
    raise TrainingError("No run is going on here.", hint)


def left(name: str) -> "Run":
    """Return the run of this name, or the newest one that can go on."""
    from llama_nb.tuning.run import list_runs, open_run

    if name:
        return open_run(name)
    runs = list_runs()
    for run in runs:
        if run.state in _LEFT:
            return run
    hint = (
        f"{runs[0].name} is {runs[0].state}. See: %llama runs"
        if runs
        else "Start one: %llama train data.jsonl"
    )
    raise TrainingError("There is no run here that could go on.", hint)


# --- what a line shows ------------------------------------------------------------------------------------


def shown(run: "Run", call: Call, *, wait: bool) -> "Run | None":
    """Return a run that was started as the line's value: at once in a page, at its end where nobody watches.

    A page shows the panel. A terminal shows a line that counts, and an interrupt leaves the run going on.
    """
    environment = detect()
    if environment.watched and environment.widgets:
        if wait or call.keep is not None:
            display(run)
        if wait:
            run.wait()
        return None if wait and call.keep is None else run
    from llama_nb.session.training_progress import follow

    return follow(run)
