"""Going on with a training run that was left: with the model that it trains, if that is loaded here."""

from pathlib import Path

from llama_nb.core.events import Note, publish
from llama_nb.session import registry
from llama_nb.session.training import parts_of
from llama_nb.tuning.run import Run, open_run


def resume(run: Run | str | Path, *, process: bool | None = None) -> Run:
    """Go on with a run that was paused, stopped or interrupted, and return it.

    Parameters
    ----------
    run
        The run, its name under ./runs, or its folder.
    process
        Whether a process of its own executes it; default: as before.

    Raises
    ------
    TrainingError
        If it is finished, or the model that it trains is not loaded here and it has no process of its own.
    """
    found = run if isinstance(run, Run) else open_run(run)
    model = registry.loaded_of(found.base.fingerprint, found.base.name) if found.over else None
    found.resume(parts_of(model) if model is not None else None, process=process)
    if found.said:
        publish(Note(found.said))
    return found
