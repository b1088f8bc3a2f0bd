"""Where a run is executed if not in this kernel: by a launcher's processes, or by a job that is written down.

Between what a user asks for (`--launch`, `--export`) and the executors that `starting` takes. Checks that the
recipe can be shared before there is a folder.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llama_nb.core.errors import TrainingError
from llama_nb.core.events import Note, publish
from llama_nb.tuning import child, job_files, launching
from llama_nb.tuning.json_lines import read_json, replace_json
from llama_nb.tuning.launching import LAUNCHERS, Launch, read_launch
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.run_folder import RunFolder

_FILE: Final = "launch.json"  # in a run's folder: how it is started again


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """How a run is executed.

    Attributes
    ----------
    recipe
        The recipe, its batches cut so that the processes can share them.
    executor, name
        What `starting.start` takes; None and "" for the model's worker or a process of its own.
    """

    recipe: Recipe
    executor: Callable[[RunFolder, Any], object] | None = None
    name: str = ""


def elsewhere(
    recipe: Recipe,
    *,
    launch: str | None = None,
    export: str | None = None,
    gpus: int | None = None,
    workers: int | None = None,
    nodes: int = 1,
    shard: bool = False,
) -> Elsewhere:
    """Return how a run is executed by `--launch` or `--export`, or here if neither is given.

    Parameters
    ----------
    launch
        "torchrun", "accelerate", "ray" or "ray://HEAD:10001": start the processes now.
    export
        "sbatch", "accelerate" or "ray": write the job's file and start nothing.
    gpus, workers, nodes, shard
        How many processes, on how many machines, and whether the frozen base is spread over them.

    Raises
    ------
    TrainingError
        If the options contradict each other, or the recipe's batches cannot be shared.
    """
    if launch is not None and export is not None:
        raise TrainingError(
            f"--launch {launch} starts the run, and --export {export} only writes a job.", "Give one of them."
        )
    if launch is not None:
        if nodes != 1:
            raise TrainingError(
                f"{nodes} machines are asked for; --launch starts processes on this one, or on a cluster.",
                "Write a job for them: --export sbatch; or --launch ray://HEAD --workers N",
            )
        asked = read_launch(launch, gpus=gpus, workers=workers, shard=shard)
        return Elsewhere(
            share_recipe(recipe, asked.processes, shard=shard), executor_of(asked), asked.launcher
        )
    if export is not None:
        kind = job_files.check_kind(export)
        job = {"gpus": gpus, "workers": workers, "nodes": nodes, "shard": shard}
        count = job_files.processes(gpus=gpus, workers=workers, nodes=nodes)
        return Elsewhere(share_recipe(recipe, count, shard=shard), _writer_of(kind, job), kind)
    for name, value in (("gpus", gpus), ("workers", workers), ("nodes", nodes - 1), ("shard", shard)):
        if value:
            raise TrainingError(
                f"{name} is for several processes, and it is not said what starts them.",
                f"One of: --launch {', --launch '.join(LAUNCHERS)}, --export sbatch",
            )
    return Elsewhere(recipe)


def share_recipe(recipe: Recipe, processes: int, *, shard: bool = False) -> Recipe:
    """Return the recipe with each step's rows in as many batches as the processes need; the sum stays.

    Raises
    ------
    TrainingError
        If the rows of a step cannot be shared evenly, or there is no frozen base to spread.
    """
    if shard and recipe.method == "full":
        raise TrainingError(
            "shard spreads a frozen base, and with the method full every weight is trained.",
            "Train a LoRA, or leave --shard out.",
        )
    rows = recipe.batch * recipe.accumulate
    for batch in range(recipe.batch, 0, -1):
        if rows % batch == 0 and (rows // batch) % processes == 0:
            accumulate = rows // batch
            if batch != recipe.batch:
                publish(
                    Note(
                        f"Each step's {rows} rows are shared by {processes} processes: "
                        f"batch {batch}, accumulate {accumulate}."
                    )
                )
            return dataclasses.replace(recipe, batch=batch, accumulate=accumulate)
    fit = [str(each) for each in range(1, rows + 1) if rows % each == 0]
    more = -(-rows // processes) * processes
    raise TrainingError(
        f"{processes} processes cannot share the {rows} rows of a step evenly (batch {recipe.batch} x "
        f"accumulate {recipe.accumulate}).",
        f"Use {' or '.join(fit)} of them, or --batch {more // processes} --accumulate {processes}.",
    )


def executor_of(launch: Launch) -> Callable[[RunFolder, Any], object]:
    """Return what starts the processes of a run, and remembers how."""

    def execute(folder: RunFolder, _parts: Any) -> None:
        replace_json(folder.path / _FILE, dataclasses.asdict(launch))
        line = launching.command(launch, folder.path.absolute())
        child.spawn(folder, line, launching.environment(launch))

    return execute


def launch_of(folder: RunFolder) -> Launch | None:
    """Return how a run was launched before; None if it never was, or that is lost."""
    kept = read_json(folder.path / _FILE)
    try:
        return None if kept is None or folder.state().executor not in LAUNCHERS else Launch(**kept)
    except TypeError:
        return None


def _writer_of(kind: str, job: Mapping[str, Any]) -> Callable[[RunFolder, Any], object]:
    """Return what writes the job's file of a run, which then waits for whoever starts it."""

    def write(folder: RunFolder, _parts: Any) -> None:
        written = job_files.write_job(folder.path, kind, **job)
        reason = f"until its job starts: {written.command}"
        folder.write_state(dataclasses.replace(folder.state(), state="stopped", reason=reason))
        publish(Note(str(written)))

    return write
