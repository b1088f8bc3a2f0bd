"""Executes a run in one of several processes: `torchrun ... -m llama_nb.tuning.launch RUN`.

Also the way onto a Ray cluster: `python -m llama_nb.tuning.launch RUN --ray auto --workers 2`. A run that was
begun goes on from its newest checkpoint, so whoever starts it again, starts it with the same line.
"""

import argparse
import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import LlamaError, TrainingError
from llama_nb.runtime.process import prepare
from llama_nb.tuning.control import orders_end
from llama_nb.tuning.process import Process, process_of, this_process
from llama_nb.tuning.run_folder import RunFolder, RunState, is_run

if TYPE_CHECKING:
    from llama_nb.tuning.parts import Parts
    from llama_nb.tuning.ranks import Place, Ranks

_USAGE: Final = 2  # the exit status of a command line that makes no sense


@dataclasses.dataclass(frozen=True, slots=True)
class Life:
    """One start of the processes of a run.

    Attributes
    ----------
    executor
        What made them, for the run's state.
    process
        Who outlives them and stands for the run; itself where nobody does.
    count
        How often they were started before, by the same launcher.
    last
        Whether nobody starts them again.
    """

    executor: str
    process: Process
    count: int = 0
    last: bool = True


def read_life(environment: Mapping[str, str]) -> Life:
    """Return what the launcher says: torchrun and accelerate both start torch's elastic agent."""
    if "TORCHELASTIC_RUN_ID" not in environment:
        return Life("process" if environment.get("WORLD_SIZE", "1") == "1" else "launcher", this_process())
    count, most = (
        int(environment.get(name, "0"))
        for name in ("TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS")
    )
    executor = "accelerate" if "ACCELERATE_MIXED_PRECISION" in environment else "torchrun"
    return Life(executor, process_of(os.getppid()), count, last=count >= most)


def run_rank(folder: RunFolder, place: "Place", life: Life, *, shard: bool = False) -> bool:
    """Do one process's part of a run; return whether the run went well.

    Parameters
    ----------
    folder
        The run, the same one for all processes.
    place
        Which process this is.
    life
        Which start of the processes this is.
    shard
        Whether the frozen base is spread over the processes.

    Raises
    ------
    TrainingError
        If the run is at work or finished already.
    Exception
        If it failed in a way that another start may mend: a process died.
    """
    import torch

    from llama_nb.tuning.loop import check_shares
    from llama_nb.tuning.ranks import joined

    if life.count and folder.state().state == "failed":
        return False
    if place.first:
        (_say_again if life.count else _take_over)(folder, life)
    device = f"cuda:{place.local}" if torch.cuda.is_available() else "cpu"
    began = False
    try:
        with joined(place, device) as ranks:
            check_shares(folder.recipe, ranks)
            parts = _load(folder, device, spread=shard and place.world > 1)
            began = True
            _train(folder, parts, ranks, life, device=device, shard=shard)
    except LlamaError as error:
        sys.stderr.write(f"process {place.rank} of {place.world}: {error}\n")
        if place.first and not began:  # later failures are written by who executes it
            _fail(folder, error)
        return False
    return True


def _train(
    folder: RunFolder, parts: "Parts", ranks: "Ranks", life: Life, *, device: str, shard: bool
) -> None:
    from llama_nb.tuning.execute import execute
    from llama_nb.tuning.together import Leader, follow

    stopping = _stop_on_signals()
    if not ranks.place.first:
        follow(folder, parts, ranks, device=device, shard=shard)
        return

    leader = Leader(ranks, life.process, device=device, shard=shard, last=life.last)

    def stopped() -> str | None:
        return stopping[0] if stopping else None

    def serve(around: Any, timeout: float = 0.0) -> int:  # noqa: ARG001 - as the worker lets others in
        leader.wait()
        time.sleep(timeout)  # nobody else uses this model
        return 0

    execute(folder, parts, stopped=stopped, serve=serve, team=leader)


def _load(folder: RunFolder, device: str, *, spread: bool) -> "Parts":
    """Load the base: whole on this process's device, or where there is room for it until it is spread."""
    import torch

    from llama_nb.runtime.devices import thread_count
    from llama_nb.tuning.parts import load_parts

    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    parts = load_parts(folder.base, device="cpu" if spread else device)
    if device == "cpu":
        torch.set_num_threads(thread_count(parts.loaded.checked.parameters))
    return parts


def _take_over(folder: RunFolder, life: Life) -> None:
    """Say that the run waits for its processes; orders to an earlier life of it are old."""
    state = folder.state()
    if state.state in ("running", "paused", "finished"):
        raise TrainingError(
            f"The run {folder.name} is {state.state} already.",
            f"Look at it: %llama train status {folder.name}",
        )
    begun = state.orders_from if state.state == "waiting" else orders_end(folder.path)
    waiting = RunState(
        executor=state.executor if state.state == "waiting" else life.executor,
        process=life.process,
        step=state.step,
        steps=state.steps,
        notes=state.notes,
        orders_from=begun,
    )
    folder.write_state(waiting)


def _say_again(folder: RunFolder, life: Life) -> None:
    """Say that the processes were started again: one of them died, or failed in a way that is not ours."""
    state = folder.state()
    times = "once" if life.count == 1 else f"{life.count} times"
    sentence = f"A process of {life.executor} ended unexpectedly; all were started again {times} so far."
    kept = [each for each in state.notes if not each.startswith("A process of ")]
    folder.write_state(dataclasses.replace(state, state="waiting", notes=(*kept, sentence)))


def _fail(folder: RunFolder, error: LlamaError) -> None:
    failed = dataclasses.replace(folder.state(), state="failed", error=error.message, hint=error.hint)
    folder.write_state(failed)


def _stop_on_signals() -> list[str]:
    """Have SIGTERM and SIGINT say why to stop, so that a checkpoint is written first."""
    said: list[str] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        said.append(f"by {signal.Signals(number).name}")

    if threading.current_thread() is threading.main_thread():  # Ray trains on another one
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
    return said


def main(arguments: Sequence[str]) -> int:
    """Execute a run; return the exit status: 0 if it is finished or stopped."""
    parser = argparse.ArgumentParser(prog="python -m llama_nb.tuning.launch", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("--shard", action="store_true", help="spread the frozen base over the processes")
    parser.add_argument("--ray", metavar="ADDRESS", help="a Ray cluster: auto, or ray://HEAD:10001")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes on the cluster")
    parser.add_argument("--gpu", action="store_true", help="a GPU for each of them")
    options = parser.parse_args(arguments)
    folder = RunFolder(options.run)
    if not is_run(folder.path):
        said = f"{options.run} is no run's folder here: it has no recipe.json."
        sys.stderr.write(f"{said} All machines need the same folder.\n")
        return _USAGE
    prepare()
    try:
        if options.ray is not None:
            from llama_nb.tuning.ray_launch import run_on_ray

            return 0 if run_on_ray(folder, options) else 1
        from llama_nb.tuning.ranks import read_place

        well = run_rank(folder, read_place(os.environ), read_life(os.environ), shard=options.shard)
    except TrainingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
