"""Several processes train one run: the first executes it and leads, the others do the same steps beside it.

Only the first one touches the run's folder. What it decides (where to begin, orders of the user) it tells the
others at the same micro-batch, so all take the same steps. Knows folders and the loop; no launcher.
"""

import contextlib
import dataclasses
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llama_nb.core.errors import LlamaError, UnsupportedError
from llama_nb.tuning.loop import Observer, Order, Setup, StepMetrics, train
from llama_nb.tuning.process import Process
from llama_nb.tuning.ranks import Ranks
from llama_nb.tuning.run_folder import RunFolder
from llama_nb.tuning.sharding import shard_base

if TYPE_CHECKING:
    from llama_nb.tuning.folder_observer import Stage
    from llama_nb.tuning.parts import Parts
    from llama_nb.tuning.state import TrainingState

_WORDS: Final = 3  # numbers in everything that the first process says
_ANEW: Final = -1
_OVER: Final = -2


class Leader:
    """The first of several processes, as `execute` uses it: a `Team`.

    Parameters
    ----------
    ranks
        All processes.
    process
        Who is at work: the launcher where it is on this machine, since it outlives its processes.
    device
        Where each process computes: "cpu" or "cuda:N".
    shard
        Whether the frozen base is spread over the processes.
    last
        Whether nobody begins again when this process fails.
    """

    def __init__(
        self, ranks: Ranks, process: Process, *, device: str = "cpu", shard: bool = False, last: bool = True
    ) -> None:
        self._ranks = ranks
        self._process = process
        self._device = device
        self._shard = shard
        self._sharded = False
        self._last = last

    @property
    def process(self) -> Process:
        """Who is at work on the run."""
        return self._process

    def stage(self, stage: "Stage") -> "Stage":
        """Return the stage; one that gives no answers where a forward pass needs all processes."""
        return _Mute(stage) if self._shard and self._ranks.world > 1 else stage

    def share(self, setup: Setup, start: Path | None) -> Setup:  # noqa: ARG002 - its step names it
        """Have all begin from the checkpoint that `setup` begins from, and return the first one's part."""
        lr = setup.start.numbers.get("lr") if setup.start is not None else None
        _say(self._ranks, setup.start.step if setup.start is not None else _ANEW, lr)
        if self._shard and not self._sharded:
            shard_base(setup.module, self._ranks, self._device)
            self._sharded = True
        return dataclasses.replace(setup, ranks=self._ranks)

    def watch(self, observer: Observer) -> Observer:
        """Return an observer whose orders reach all processes."""
        return Heard(self._ranks, observer)

    def over(self) -> None:
        """Let the others end."""
        _say(self._ranks, _OVER)

    def wait(self) -> None:
        """Have the others wait on: called whenever this process waits, or is long about something."""
        self._ranks.beat(_WORDS)

    def final(self, error: Exception) -> bool:
        """An error of ours would come again; another may be the death of a process, and all begin again."""
        return self._last or isinstance(error, LlamaError)


def follow(
    folder: RunFolder, parts: "Parts", ranks: Ranks, *, device: str = "cpu", shard: bool = False
) -> None:
    """Take part in a run that another process leads, until it is over. Writes nothing into the folder.

    Raises
    ------
    LlamaError
        If this process cannot do its part.
    """
    from llama_nb.tuning.preparing import prepare

    step, lr = _hear(ranks)
    if step == _OVER:
        return
    with _copy_of(folder) as own:
        prepared = prepare(own, parts)
    full = prepared.recipe.method == "full"
    name = "" if full else folder.name
    if not full and name not in parts.adapters.names:
        parts.adapters.create(name, folder.recipe, run=name)
        parts.adapters.use(name)
    sharded = False
    while step != _OVER:
        setup = Setup(
            module=parts.module,
            recipe=prepared.recipe,
            batches=prepared.batches,
            validation=prepared.validation,
            name=name,
            start=_read(folder, step, lr),
            ranks=ranks,
        )
        with contextlib.nullcontext() if full else parts.adapters.training(name):
            if shard and not sharded:
                shard_base(parts.module, ranks, device)
                sharded = True
            train(setup, Heard(ranks))
        step, lr = _hear(ranks)


def _say(ranks: Ranks, step: int, lr: float | None = None) -> None:
    """Say from which step to begin, and with which learning rate; or that nothing begins."""
    ranks.tell(step, math.nan if lr is None else lr, math.nan)


def _hear(ranks: Ranks) -> tuple[int, float | None]:
    step, lr, _ = ranks.tell(*(math.nan,) * _WORDS)
    return int(step), None if math.isnan(lr) else lr


def _read(folder: RunFolder, step: int, lr: float | None) -> "TrainingState | None":
    """Return the state to begin from, which the first process has checked."""
    from llama_nb.tuning.checkpoint import Checkpoint

    if step == _ANEW:
        return None
    state = Checkpoint(folder.checkpoints / f"step-{step:06d}", step, "").read()
    if lr is not None:
        state.numbers["lr"] = lr
    return state


@contextlib.contextmanager
def _copy_of(folder: RunFolder) -> Iterator[RunFolder]:
    """Yield a run of its own with the same recipe and data, so that nothing is written into the folder."""
    with tempfile.TemporaryDirectory(prefix="llama-nb-") as place:
        path = Path(place) / folder.name
        path.mkdir()
        for file in (folder.recipe_file, folder.data_file, folder.plan_file):
            if file.is_file():
                shutil.copyfile(file, path / file.name)
        data = folder.train_file.parent
        (path / data.name).symlink_to(data.absolute())
        yield RunFolder(path)


class Heard:
    """An observer in each process: the first one's sees the folder, and all hear the orders that it reads.

    Parameters
    ----------
    ranks
        All processes.
    inner
        What the first one tells of the training, and asks for orders.
    """

    def __init__(self, ranks: Ranks, inner: Observer | None = None) -> None:
        self._ranks = ranks
        self._inner = inner

    def between(self) -> Order | None:
        """Return the order that the first process has read; the others wait for it, also while it pauses."""
        order = (self._inner.between() if self._inner is not None else None) or Order()
        lr = math.nan if order.lr is None else order.lr
        stop, save, lr = self._ranks.tell(order.stop, order.save, lr)
        heard = Order(stop=bool(stop), save=bool(save), lr=None if math.isnan(lr) else lr)
        if heard.stop:
            # A launcher that lost a process stops the others: then this fails, and all begin again.
            self._ranks.meet()
        return heard if heard != Order() else None

    def step(self, metrics: StepMetrics) -> None:
        """Tell of a step."""
        self._say(lambda inner: inner.step(metrics))

    def validated(self, step: int, loss: float) -> None:
        """Tell of a validation."""
        self._say(lambda inner: inner.validated(step, loss))

    def checkpoint(self, state: "TrainingState") -> None:
        """Keep a state."""
        self._say(lambda inner: inner.checkpoint(state))

    def _say(self, what: Callable[[Observer], None]) -> None:
        if self._inner is not None:
            what(self._inner)


class _Mute:
    """A stage that answers nothing: with a sharded base one process alone cannot compute."""

    def __init__(self, stage: "Stage") -> None:
        self._stage = stage

    def stopped(self) -> str | None:
        """Return why the training is to stop, None to go on."""
        return self._stage.stopped()

    def serve(self, timeout: float = 0.0) -> None:
        """Wait; nobody else uses the model."""
        self._stage.serve(timeout)

    def answer(self, prompt: str, *, adapter: bool) -> str:  # noqa: ARG002 - as stages are asked
        """Refuse."""
        raise UnsupportedError(
            "its base is spread over several processes.", "The adapter answers when the run is over."
        )

    def changed(self) -> None:
        """The weights are others than before."""
        self._stage.changed()
