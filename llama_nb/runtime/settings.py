"""What a user sets for the rest of the session: sampling parameters, and whether chats go to disk.

Values only, and a `SamplingChanged` when they change; who honours them is written in the session layer.
Nothing here is saved to a file.
"""

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llama_nb.core.events import SamplingChanged, publish
from llama_nb.core.sampling import FIELDS, Sampling, check_names

_lock = threading.Lock()
_sampling: dict[str, Any] = {}
_chats_on_disk: bool | None = None


def get_sampling_overrides() -> dict[str, Any]:
    """Return the sampling parameters that were set for the session, checked, by name."""
    with _lock:
        return dict(_sampling)


def set_sampling(name: str, value: Any) -> None:
    """Use `value` for the sampling parameter `name` wherever a call does not say otherwise.

    Raises
    ------
    SamplingError
        If the name is unknown or the value is outside its range; nothing is changed then.
    """
    change_sampling({name: value})


def change_sampling(values: Mapping[str, Any], *, clear: Iterable[str] = ()) -> None:
    """Use `values` for the sampling parameters that they name, and forget what was set for those in `clear`.

    Raises
    ------
    SamplingError
        If a name is unknown or a value is outside its range; nothing is changed then.
    """
    cleared = tuple(clear)
    check_names(dict.fromkeys([*values, *cleared]))
    asked = Sampling(**values)
    with _lock:
        for key in cleared:
            _sampling.pop(key, None)
        _sampling.update({name: getattr(asked, name) for name in values})
    publish(SamplingChanged())


def clear_sampling(name: str | None = None) -> None:
    """Forget what was set for `name`, or for every sampling parameter."""
    change_sampling({}, clear=FIELDS if name is None else (name,))


def chats_on_disk() -> bool | None:
    """Return whether chats are kept on disk: True, False, or None to decide by the environment.

    `set_chats_on_disk` comes first, then the variable LLAMA_NB_CHATS ("on" or "off").
    """
    if _chats_on_disk is not None:
        return _chats_on_disk
    return {"on": True, "1": True, "off": False, "0": False}.get(os.environ.get("LLAMA_NB_CHATS", "").lower())


def set_chats_on_disk(value: bool | None) -> None:
    """Keep chats on disk (True), in memory only (False), or let the environment decide (None)."""
    global _chats_on_disk
    _chats_on_disk = value


def home() -> Path:
    """Return the user's own llama-nb folder (LLAMA_NB_HOME, else ~/.llama-nb); it need not exist."""
    return Path(os.environ.get("LLAMA_NB_HOME") or Path.home() / ".llama-nb")
