"""Starts a run, or goes on with one: finds its folder, writes what is to be done, hands it to an executor.

What is wrong in the recipe or the data is said before there is a folder. A run is never written over.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llama_nb.core.errors import TrainingError
from llama_nb.tuning import child, elsewhere, kernel_job
from llama_nb.tuning.adapter_facts import require_peft
from llama_nb.tuning.checkpoint import newest_step
from llama_nb.tuning.control import orders_end
from llama_nb.tuning.data import TrainingData
from llama_nb.tuning.json_lines import replace_json
from llama_nb.tuning.parts import Parts
from llama_nb.tuning.process import this_process
from llama_nb.tuning.run import Run
from llama_nb.tuning.run_folder import (
    RUNS,
    Base,
    RunFolder,
    RunState,
    check_name,
    create,
    is_run,
    name_from,
    names_after,
)

if TYPE_CHECKING:
    from llama_nb.tuning.recipe import Recipe

__all__ = ["Executor", "Parts", "resume", "start"]

_LOOKED_AT: Final = 200  # examples that are encoded before there is a folder

# Executes the run in a folder whose state is "waiting"; returns at once. `parts` is None where the model is
# not loaded here.
Executor = Callable[[RunFolder, Parts | None], object]


def start(
    parts: Parts,
    data: TrainingData,
    recipe: "Recipe",
    *,
    name: str | None = None,
    process: bool = False,
    root: Path | None = None,
    executor: Executor | None = None,
    executor_name: str = "",
) -> Run:
    """Begin a run on a loaded model and return it at once; `said` tells what became of the wish.

    Where a run of the same name has the same recipe, data and base, it is that run that goes on (or is
    returned, if it is at work); a finished one, or another, is left alone: the new one is NAME-2.

    Parameters
    ----------
    name
        What to call it; default: as the data's source.
    process
        Whether a process of its own executes it, instead of the model's worker.
    root
        Where runs are; default ./runs.
    executor, executor_name
        Another one, and what the run's state calls it.

    Raises
    ------
    TrainingError, DataError, AdapterError
        If the name, the recipe or the data are wrong; nothing was written then.
    UnsupportedError
        If peft is not installed.
    """
    root = root or Path(RUNS)
    recipe = recipe.for_model(parts.module.config.get_text_config().hidden_size)
    wanted = check_name(name) if name is not None else name_from(data.source)
    found, last = _known(root, wanted, parts.base, data, recipe)
    if found is not None:
        if found.state().at_work:
            return Run(found, said=f"{found.name} is being trained already; this is the same run.")
        return _go_on(found, parts, process=process, executor=executor, executor_name=executor_name)
    _refuse_early(parts, data, recipe)
    name_of_executor = executor_name or ("process" if process else "kernel")

    def fill(folder: RunFolder) -> None:
        _write_data(folder, data, recipe)
        folder.write_state(_waiting(folder, RunState(), name_of_executor))

    taken = [] if recipe.method == "full" else parts.adapters.names
    folder = create(root, wanted, recipe, parts.base, fill, taken=taken)
    _hand_over(folder, parts, process=process, executor=executor)
    return Run(folder, said=_said(folder, wanted, last))


def resume(
    run: Run,
    parts: Parts | None = None,
    *,
    process: bool | None = None,
    executor: Executor | None = None,
    executor_name: str = "",
) -> Run:
    """Go on with a run that was stopped, interrupted or failed, from its last whole checkpoint.

    Parameters
    ----------
    parts
        Its base in memory; a process of its own needs none.
    process
        Whether a process of its own executes it; default: as before, and where `parts` are missing.

    Raises
    ------
    TrainingError
        If it is finished or at work, or `parts` are another model.
    """
    folder = run.files
    state = folder.state()
    if state.at_work:
        raise TrainingError(f"The run {run.name} is {state.state}.", f"%llama train stop {run.name}")
    if state.state == "finished":
        raise TrainingError(
            f"The run {run.name} is finished, after {state.steps:,} steps.",
            "Start another one with more steps, or chat with its adapter: "
            f"%llama adapter load {folder.shown}",
        )
    launched = elsewhere.launch_of(folder) if process is None and executor is None else None
    if launched is not None:
        executor, executor_name = elsewhere.executor_of(launched), launched.launcher
    own = process if process is not None else state.executor not in ("", "kernel")
    if parts is None and not own and executor is None:
        base = folder.base
        raise TrainingError(
            f"The run {run.name} trains {base.name}, which is not loaded here.",
            f"Load it, then go on: %llama load {base.source}",
        )
    return _go_on(folder, parts, process=own, executor=executor, executor_name=executor_name)


def _go_on(
    folder: RunFolder,
    parts: Parts | None,
    *,
    process: bool,
    executor: Executor | None,
    executor_name: str,
) -> Run:
    if parts is not None:
        _check_same(folder, parts)
    state = folder.state()
    name = executor_name or ("process" if process else "kernel")
    folder.write_state(_waiting(folder, state, name))
    _hand_over(folder, parts, process=process, executor=executor)
    saved = newest_step(folder.checkpoints)
    if saved is None:
        return Run(folder, said=f"{folder.name} begins anew: it had left no checkpoint.")
    steps = f" of {state.steps:,}" if state.steps else ""
    begin = f"goes on from the checkpoint of step {saved:,}"
    return Run(folder, said=f"{folder.name} {begin}; it had come to step {state.step:,}{steps}.")


def _hand_over(folder: RunFolder, parts: Parts | None, *, process: bool, executor: Executor | None) -> None:
    try:
        if executor is not None:
            executor(folder, parts)
        elif process:
            child.spawn(folder)
        else:
            assert parts is not None
            kernel_job.begin(folder, parts)
    except Exception as error:
        failed = dataclasses.replace(folder.state(), state="failed", error=str(error).splitlines()[0])
        folder.write_state(failed)
        raise


def _known(
    root: Path, wanted: str, base: Base, data: TrainingData, recipe: "Recipe"
) -> tuple[RunFolder | None, RunFolder | None]:
    """Return the unfinished run that is the same as what is wanted, and the last one of its name."""
    last: RunFolder | None = None
    for name in names_after(wanted):
        if not (root / name).exists():
            break
        if not is_run(root / name):
            continue
        last = RunFolder(root / name)
        if last.state().state != "finished" and _same(last, base, data, recipe):
            return last, last
    return None, last


def _same(folder: RunFolder, base: Base, data: TrainingData, recipe: "Recipe") -> bool:
    try:
        known = folder.base
        alike = (known.fingerprint, known.quant, known.dtype) == (base.fingerprint, base.quant, base.dtype)
        return alike and folder.recipe == recipe and folder.data.get("fingerprint") == data.fingerprint
    except TrainingError:  # a damaged one
        return False


def _check_same(folder: RunFolder, parts: Parts) -> None:
    base = folder.base
    if base.fingerprint != parts.fingerprint:
        raise TrainingError(
            f"The run {folder.name} trains {base.name} (fingerprint {base.fingerprint}); "
            f"{parts.name} has other weights ({parts.fingerprint}).",
            f"Load its base: %llama load {base.source}",
        )
    here = parts.base
    if (base.quant, base.dtype) != (here.quant, here.dtype):
        raise TrainingError(
            f"The run {folder.name} was begun on {base.name} in {base.quant or base.dtype}; "
            f"{parts.name} is in {here.quant or here.dtype}, so it would not go on as it was.",
            f"Load it as it was: %llama load {base.source} "
            f"--{f'quant {base.quant}' if base.quant else f'dtype {base.dtype}'}",
        )


def _refuse_early(parts: Parts, data: TrainingData, recipe: "Recipe") -> None:
    """Raise what can be known before a folder is made: names of layers, examples that teach nothing."""
    from llama_nb.tuning.preparing import look_at
    from llama_nb.tuning.targets import resolve_target

    if recipe.method != "full":
        require_peft()
        resolve_target(parts.module, recipe.target)
    look_at(data, recipe, parts, _LOOKED_AT)


def _write_data(folder: RunFolder, data: TrainingData, recipe: "Recipe") -> None:
    train, held = data.split(recipe.validation, recipe.seed)
    train.save(folder.train_file)
    held.save(folder.validation_file)
    facts = {
        "format": data.format,
        "source": data.source,
        "examples": len(train),
        "validation_examples": len(held),
        "fingerprint": data.fingerprint,
        "mask": recipe.mask,
        "notes": list(data.notes),
    }
    replace_json(folder.data_file, facts)


def _waiting(folder: RunFolder, state: RunState, executor: str) -> RunState:
    return dataclasses.replace(
        state,
        state="waiting",
        executor=executor,
        process=this_process(),
        error="",
        hint="",
        reason="",
        orders_from=orders_end(folder.path),
    )


def _said(folder: RunFolder, wanted: str, last: RunFolder | None) -> str:
    if folder.name == wanted:
        return ""
    if last is None:
        return f"{wanted} is the name of another adapter; this run is {folder.name}."
    why = "is finished" if last.state().state == "finished" else "has another recipe or other data"
    return f"{last.name} {why}; this is a new run, {folder.name}."
