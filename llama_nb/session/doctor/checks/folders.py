"""The folders that llama-nb writes to: its settings, and the chats beside the notebook."""

import os
from collections.abc import Iterator
from pathlib import Path

from llama_nb.runtime import settings
from llama_nb.session.doctor.check import Check, note, ok, problem
from llama_nb.session.doctor.scope import Scope
from llama_nb.session.store import chat_folder, keeps_chats


def check(scope: Scope) -> Iterator[Check]:
    """Yield what was found."""
    del scope
    yield home(settings.home())
    yield chats(chat_folder(), kept=keeps_chats())


def home(folder: Path) -> Check:
    """Judge the folder of the user's own settings."""
    why = writable(folder)
    if why:
        return problem(
            "settings",
            f"They cannot be stored: {why}.",
            "Set LLAMA_NB_HOME to a folder of yours.",
            str(folder),
        )
    return ok("settings", "Their folder can be written to.", str(folder))


def chats(folder: Path, *, kept: bool) -> Check:
    """Judge the folder in which this notebook's chats are kept."""
    if not kept:
        return note("chats", "They are not kept on disk here.", "%env LLAMA_NB_CHATS=on")
    why = writable(folder)
    if why:
        return problem(
            "chats",
            f"They cannot be kept: {why}. They are in memory only.",
            "Save the notebook in a folder of yours.",
            str(folder),
        )
    return ok("chats", "They are kept beside the notebook.", str(folder))


def writable(folder: Path) -> str:
    """Return why a folder cannot be written to, or made where it is not there yet; "" when it can."""
    try:
        places = (folder, *folder.parents)
        place = next((each for each in places if each.exists() or each.is_symlink()), None)
    except OSError as error:
        return f"the folder cannot be looked at ({error.strerror})"
    if place is None or not place.exists():
        return "a link there leads nowhere"
    if not place.is_dir():
        return "a file stands in the folder's place"
    if not os.access(place, os.W_OK | os.X_OK):
        return "the folder cannot be written to"
    return ""
