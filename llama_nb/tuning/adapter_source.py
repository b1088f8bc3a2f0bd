"""Where an adapter is that somebody names: a folder, a run, or a repository of the hub.

Only finds and fetches; what is in the folder is adapter_file's business.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llama_nb.core.errors import AdapterError, LoadError, did_you_mean
from llama_nb.core.stop import StopFlag
from llama_nb.loading import hub
from llama_nb.tuning.adapter_file import CONFIG, FACTS, TENSORS
from llama_nb.tuning.run_folder import RUNS, folders

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FINISHED: Final = "adapter"  # in a run's folder
CHECKPOINTS: Final = "checkpoints"


@dataclass(frozen=True, slots=True)
class Found:
    """The folder of an adapter, what to call it unless its files say, and what its reader should know."""

    folder: Path
    name: str
    notes: tuple[str, ...] = ()


def find_adapter(spec: str | Path, stop: StopFlag | None = None) -> Found:
    """Return where the adapter is that `spec` names.

    Parameters
    ----------
    spec
        A folder; a run's folder or its name (the finished adapter, else the newest whole checkpoint);
        or a hub id, which is downloaded.

    Raises
    ------
    AdapterError
        If it is none of these.
    LoadError
        If the hub cannot be reached, or does not have it.
    """
    text = str(spec).strip()
    if not text or "\0" in text:
        raise AdapterError("No adapter is named.", "%llama adapter load runs/NAME")
    given = Path(text).expanduser()
    for folder in (given, Path(RUNS) / text):
        if folder.is_dir():
            return _in_folder(folder)
    if _HUB_ID.fullmatch(text) and given.parts[0] != RUNS and not isinstance(spec, Path):
        wanted = (CONFIG, TENSORS, FACTS)
        try:
            fetched = hub.download_files(text, wanted, needs=(CONFIG,), stop=stop)
            return Found(fetched, text.rpartition("/")[2])
        except LoadError as error:
            if given.parent.is_dir():  # "runs/persona" may have been meant as a folder
                raise AdapterError(f"There is no folder {text}. {error.message}", error.hint) from None
            raise
    near = did_you_mean(given.name, [folder.name for folder in folders()])
    raise AdapterError(
        f"There is no adapter {text!r}: no folder and no run is called that.",
        near or "Name a folder, a run in runs/, or a hub id: %llama adapter load runs/NAME",
    )


def _in_folder(folder: Path) -> Found:
    name = folder.resolve().name
    if (folder / CONFIG).exists():
        return Found(folder, name)
    if (folder / FINISHED / CONFIG).exists():
        return Found(folder / FINISHED, name)
    if (folder / CHECKPOINTS).is_dir():
        from llama_nb.tuning.checkpoint import newest_whole

        found, notes = newest_whole(folder / CHECKPOINTS)
        if found is not None:
            unfinished = f"{name} is not finished: this is its checkpoint at step {found.step}."
            return Found(found.path, name, (unfinished, *notes))
        raise AdapterError(
            f"The run {name} has no whole checkpoint yet.", "Wait for its first one: %llama runs"
        )
    return Found(folder, name)  # whoever reads it says what is missing
