"""What stands where in the folder of a training run, and how it is read and written.

A run needs nothing but its folder (and the base model that it names). Whoever executes it writes; panels,
notebooks and other processes read, at any time. Knows files; knows no torch and no model.
"""

import dataclasses
import errno
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from llama_nb.core.adapter import NO_ADAPTER
from llama_nb.core.errors import TrainingError, nearest
from llama_nb.tuning.json_lines import Record, append, line, read_json, records, replace_bytes, replace_json
from llama_nb.tuning.process import Process

if TYPE_CHECKING:
    from llama_nb.tuning.recipe import Recipe

SCHEMA: Final = 1
RUNS: Final = "runs"
State = Literal["waiting", "running", "paused", "stopped", "finished", "failed", "interrupted"]
# What may be said of a run whose process lives; a dead one in such a state was interrupted.
AT_WORK: Final = ("waiting", "running", "paused")
_STATES: Final = (*AT_WORK, "stopped", "finished", "failed", "interrupted")
# A run's name is its folder's, and that of its adapter in the model and in commands.
_NAME: Final = re.compile(r"[^\W_][\w.-]{0,63}")
_RESERVED: Final = (NO_ADAPTER, "none", "base")
_MOST_NAMES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Base:
    """The model that a run trains: enough to load it again and to know that it is the same.

    Parameters
    ----------
    source
        What `llama_nb.load` takes.
    name, fingerprint
        What it is called, and what tells its weights from others.
    quant, dtype, device, context
        How it was in memory when the run was started.
    """

    source: str
    name: str
    fingerprint: str
    quant: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    context: int | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """What `state.json` says: how far a run is and who works on it.

    Parameters
    ----------
    state
        "interrupted" is never written: it is what a reader says of a run whose process is dead.
    step, steps
        Optimiser steps done, and in all.
    executor
        "kernel", "process", or what launched it ("torchrun").
    process
        Who works on it.
    started, updated
        When this life of the run began, and when it last wrote, in seconds of the epoch.
    error, hint
        Why it failed, and what to do.
    reason
        Why it was paused or stopped, if anybody said.
    notes
        Sentences worth knowing: what was cut, which checkpoint it went on from.
    serving
        What the model does in between ("chat main"); "" while it trains.
    orders_from, orders_read
        The byte of control.jsonl from which orders are for this life; up to which they were obeyed when it
        was paused.
    """

    state: State = "waiting"
    step: int = 0
    steps: int = 0
    executor: str = "kernel"
    process: Process = Process("", 0, 0.0)
    started: float = 0.0
    updated: float = 0.0
    error: str = ""
    hint: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    serving: str = ""
    orders_from: int = 0
    orders_read: int = 0

    @property
    def at_work(self) -> bool:
        """Whether somebody works on it, or soon will."""
        return self.state in AT_WORK


class RunFolder:
    """One run on the disk.

    Parameters
    ----------
    path
        The folder. Nothing is read before it is asked for.
    """

    def __init__(self, path: Path) -> None:
        path = path.absolute()  # a notebook may change its directory while the run goes on
        self.path = path
        self.name = path.name
        self.recipe_file = path / "recipe.json"
        self.data_file = path / "data.json"
        self.train_file = path / "data" / "train.jsonl"
        self.validation_file = path / "data" / "validation.jsonl"
        self.state_file = path / "state.json"
        self.metrics_file = path / "metrics.jsonl"
        self.samples_file = path / "samples.jsonl"
        self.prompts_file = path / "prompts.jsonl"
        self.plan_file = path / "plan.json"
        self.log_file = path / "log.txt"
        self.checkpoints = path / "checkpoints"
        self.adapter = path / "adapter"
        self.model = path / "model"  # of a run that trains every weight

    @property
    def shown(self) -> str:
        """The folder as one writes it: from the current directory where it is below that."""
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    # --- what was asked for: written once ---------------------------------------------------------------

    @property
    def recipe(self) -> "Recipe":
        """The recipe; raises TrainingError if it is damaged."""
        from llama_nb.tuning.recipe import Recipe

        return Recipe.of(**self._asked("recipe"))

    @property
    def base(self) -> Base:
        """The model that it trains; raises TrainingError if the recipe is damaged."""
        known = {field.name for field in dataclasses.fields(Base)}
        try:
            return Base(**{key: value for key, value in self._asked("base").items() if key in known})
        except TypeError as error:
            raise self._damaged(self.recipe_file) from error

    @property
    def data(self) -> Record:
        """What is said of the data: format, source, counts, fingerprint; empty if that is lost."""
        return read_json(self.data_file) or {}

    @property
    def plan(self) -> Record:
        """Planned bytes and seconds, and what was measured; empty before there is any."""
        return read_json(self.plan_file) or {}

    def _asked(self, part: str) -> Record:
        value = (read_json(self.recipe_file) or {}).get(part)
        if not isinstance(value, dict):
            raise self._damaged(self.recipe_file)
        return value

    def _damaged(self, file: Path) -> TrainingError:
        what = "damaged" if file.exists() else "missing"
        return TrainingError(
            f"{file.name} of the run {self.name} is {what}: what was to be trained is not known.",
            "Start it anew with the data; its checkpoints are ordinary peft adapters.",
        )

    # --- how far it is: replaced and appended -------------------------------------------------------------

    def state(self) -> RunState:
        """Return what was last written, "interrupted" where whoever wrote it is dead."""
        found = self._written_state()
        if found.at_work and not found.process.lives(found.updated):
            return dataclasses.replace(found, state="interrupted", serving="")
        return found

    def _written_state(self) -> RunState:
        value = read_json(self.state_file) or {}
        known = {field.name for field in dataclasses.fields(RunState)}
        taken = {key: each for key, each in value.items() if key in known}
        process = taken.pop("process", None)
        if isinstance(process, dict) and set(process) == {"host", "pid", "born"}:
            taken["process"] = Process(**process)
        taken["notes"] = tuple(map(str, taken.get("notes") or ()))
        if taken.get("state") not in _STATES:
            return RunState(state="interrupted")
        return RunState(**taken)

    def write_state(self, state: RunState) -> None:
        """Replace the state; raises OSError if that fails."""
        replace_json(self.state_file, dataclasses.asdict(dataclasses.replace(state, updated=time.time())))

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one line: of an optimiser step, or of a validation."""
        append(self.metrics_file, record)

    def metrics(self) -> list[Record]:
        """Return all lines of metrics.jsonl."""
        return self._records(self.metrics_file)

    def append_sample(self, step: int, prompt: str, text: str, *, adapter: bool) -> None:
        """Append one sample answer; without the adapter it is the base's own."""
        append(self.samples_file, {"step": step, "prompt": prompt, "text": text, "adapter": adapter})

    def samples(self) -> list[Record]:
        """Return all sample answers, in the order they were given."""
        return self._records(self.samples_file)

    def add_prompt(self, prompt: str) -> None:
        """Have `prompt` answered with the others from the next time on; raises TrainingError if it cannot."""
        try:
            append(self.prompts_file, {"prompt": prompt})
        except OSError as error:
            raise TrainingError(f"The prompt cannot be kept: {error.strerror or error}.") from error

    def prompts(self) -> list[str]:
        """Return the prompts that were added while it ran, each once, in their order."""
        given = (record.get("prompt") for record in self._records(self.prompts_file))
        return list(dict.fromkeys(each for each in given if isinstance(each, str) and each.strip()))

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Merge `plan` into plan.json."""
        replace_json(self.plan_file, {**self.plan, **plan})

    def forget_after(self, step: int) -> None:
        """Drop metrics and samples of steps behind `step`, which will be done again."""
        for file in (self.metrics_file, self.samples_file):
            found = self._records(file)
            kept = [record for record in found if _step(record) <= step]
            if len(kept) < len(found):
                replace_bytes(file, b"".join(map(line, kept)))

    def _records(self, file: Path) -> list[Record]:
        try:
            return records(file.read_bytes())
        except OSError:
            return []

    def __repr__(self) -> str:
        return f"RunFolder({self.name!r})"


def _step(record: Record) -> int:
    step = record.get("step")
    return step if isinstance(step, int) else 0


# --- making and finding folders ----------------------------------------------------------------------------


def check_name(name: str) -> str:
    """Return `name` if it can be a folder's name.

    Raises
    ------
    TrainingError
        If it is empty, too long, or has characters that lead elsewhere.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _RESERVED:
        raise TrainingError(
            f"A run cannot be called {str(name)[:60]!r}.",
            "A name has up to 64 letters, digits, dots, - and _, and begins with a letter or digit; "
            f"{', '.join(_RESERVED)} stand for no adapter.",
        )
    return name


def name_from(source: str) -> str:
    """Return a name for a run on data that is called `source`: its stem, else "run"."""
    stem = re.sub(r"[^\w.-]+", "-", Path(source).stem).strip("-._")[:60]
    return stem if _NAME.fullmatch(stem) and stem.lower() not in _RESERVED else "run"


def create(
    root: Path,
    name: str,
    recipe: "Recipe",
    base: Base,
    fill: Callable[[RunFolder], None] = lambda _: None,
    *,
    taken: Collection[str] = (),
) -> RunFolder:
    """Make a folder for a new run under `root`; NAME-2, NAME-3 ... if the name is taken.

    It appears whole: it is written beside its place and renamed, so that no reader finds half of one.

    Parameters
    ----------
    fill
        Writes what else belongs into the folder before it gets its place: the data.
    taken
        Names that are none any more, beside those of folders: adapters in the model.

    Raises
    ------
    TrainingError
        If the folder cannot be written.
    """
    part = root / f".{name[:60]}-{secrets.token_hex(4)}"
    try:
        (part / "data").mkdir(parents=True)
        (part / "checkpoints").mkdir()
        asked = {"schema": SCHEMA, "recipe": recipe.to_dict(), "base": dataclasses.asdict(base)}
        fill(RunFolder(part))
        replace_json(part / "recipe.json", asked)
        return RunFolder(_take_place(part, root, name, taken))
    except OSError as error:
        raise TrainingError(
            f"The folder of the run {name} cannot be made: {error.strerror or error}.",
            "Work in a folder that you may write, with room on the disk.",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _take_place(part: Path, root: Path, name: str, taken: Collection[str]) -> Path:
    for wanted in names_after(name):
        if wanted in taken:
            continue
        try:
            return part.rename(root / wanted)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
    raise TrainingError(f"There are too many runs that are called {name}.", "Give another --name.")


def names_after(name: str) -> Iterator[str]:
    """Yield NAME, NAME-2, NAME-3 ..."""
    yield name
    for number in range(2, _MOST_NAMES):
        yield f"{name}-{number}"


def is_run(path: Path) -> bool:
    """Return whether `path` is a run's folder."""
    return (path / "recipe.json").is_file()


def find_folder(wanted: str | Path, root: Path | None = None) -> RunFolder:
    """Return the run that `wanted` names: a path, or a name under `root` (default: ./runs).

    Raises
    ------
    TrainingError
        If there is none; the hint has the nearest name.
    """
    root = root or Path(RUNS)
    for path in (root / wanted, Path(wanted).expanduser()):
        if is_run(path):
            return RunFolder(path)
    known = [folder.name for folder in folders(root)]
    near = nearest(Path(wanted).name, known)
    if near:
        hint = f"Did you mean {near[0]!r}?"
    else:
        hint = f"There are {', '.join(known[:8])}." if known else "Start one: %llama train data.jsonl"
    raise TrainingError(f"There is no run {str(wanted)!r} here.", hint)


def folders(root: Path | None = None) -> list[RunFolder]:
    """Return the runs under `root` (default: ./runs), the newest first."""
    found: Iterable[Path]
    try:
        found = [path for path in (root or Path(RUNS)).iterdir() if path.name[0] != "." and is_run(path)]
    except OSError:
        return []
    return [RunFolder(path) for path in sorted(found, key=_begun, reverse=True)]


def _begun(path: Path) -> tuple[float, str]:
    return (path / "recipe.json").stat().st_mtime, path.name
