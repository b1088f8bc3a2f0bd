"""The models in the hub's cache as things that take room: how much, whether whole, and how to delete one.

Deletes whole folders of the cache that it listed itself, so no name can lead out of it; a link in a folder's
place is refused, and links inside are removed, not followed. What is loaded in this kernel stays.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llama_nb.core.errors import LlamaError, ModelBusy, did_you_mean
from llama_nb.loading import hub_cache
from llama_nb.runtime.hub_settings import cache_folder
from llama_nb.session import registry


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One model of the cache.

    Attributes
    ----------
    name
        Its hub id.
    bytes
        What deleting it gives back: every file once, however many snapshots share it.
    files
        The files of its snapshots and what is left of broken downloads, with their bytes, largest first.
    complete
        Whether it could be loaded without a network.
    """

    name: str
    folder: Path
    bytes: int
    files: tuple[tuple[str, int], ...]
    complete: bool


def names() -> list[str]:
    """Return the hub ids of the cache, whole and half-downloaded, sorted."""
    return sorted(_folders())


def entries() -> list[CacheEntry]:
    """Return the models of the cache by name, whole and half-downloaded."""
    return [_read(name, folder) for name, folder in sorted(_folders().items())]


def find(name: str) -> CacheEntry:
    """Return the model of the cache with this hub id.

    Raises
    ------
    LlamaError
        If there is none, with the nearest that is there.
    """
    folders = _folders()
    if name not in folders:
        known = ", ".join(sorted(folders)) or "none"
        raise LlamaError(
            f"{name!r} is not in the cache.", did_you_mean(name, folders) or f"Cached models: {known}."
        )
    return _read(name, folders[name])


def delete(name: str) -> int:
    """Delete a model from the cache and return how many bytes that gave back.

    Raises
    ------
    LlamaError
        If it is not there, or cannot be deleted.
    ModelBusy
        If it is loaded in this kernel.
    """
    entry = find(name)
    check_deletable(entry)
    try:
        shutil.rmtree(entry.folder)
    except OSError as error:
        left = _read(name, entry.folder).bytes
        raise LlamaError(
            f"{name} could not be deleted: {error.strerror or error}; {left / 1e6:,.1f} MB are left.",
            "Look at who owns the files in the cache: %llama doctor",
        ) from None
    shutil.rmtree(entry.folder.parent / ".locks" / entry.folder.name, ignore_errors=True)
    return entry.bytes


def check_deletable(entry: CacheEntry) -> None:
    """Raise LlamaError where a model must not be deleted: it is loaded, or a link stands in its place."""
    for called, model in registry.loaded().items():
        if model.checked.folder.resolve().is_relative_to(entry.folder.resolve()):
            raise ModelBusy(
                f"{entry.name} is loaded as {called!r}; it was not deleted.",
                f"Unload it first: %llama unload {called}",
            )
    if entry.folder.is_symlink():
        raise LlamaError(
            f"{entry.name} is a link out of the cache; what it points to was not deleted.",
            "Remove the link and the folder by hand.",
        )


def _folders() -> dict[str, Path]:
    """Return the folders of models by hub id."""
    try:
        found = sorted(cache_folder().glob("models--*"))
    except OSError:
        return {}
    return {folder.name.removeprefix("models--").replace("--", "/", 1): folder for folder in found}


def _read(name: str, folder: Path) -> CacheEntry:
    files = sorted(_listed(folder).items(), key=lambda item: (-item[1], item[0]))
    complete = hub_cache.complete_snapshot(name) is not None
    return CacheEntry(name, folder, _freed(folder), tuple(files), complete)


def _listed(folder: Path) -> dict[str, int]:
    """Return the files of the snapshots by name, those of several snapshots once, and broken downloads."""
    found: dict[str, int] = {}
    if folder.is_symlink():
        return found
    for path, _ in _walk(folder / "snapshots"):
        name = Path(*path.relative_to(folder / "snapshots").parts[1:]).as_posix()
        try:
            found[name] = max(path.stat().st_size, found.get(name, 0))
        except OSError:
            found.setdefault(name, 0)  # a link to a file that is gone
    for path, status in _walk(folder / "blobs"):
        if path.suffix == ".incomplete":
            found[f"half-downloaded {path.name[:8]}"] = status.st_size
    return found


def _freed(folder: Path) -> int:
    """Return the bytes of the files that lie in a folder alone; another name elsewhere keeps a file alive."""
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    seen: dict[tuple[int, int], int] = {}
    for _, status in _walk(folder):
        key = (status.st_dev, status.st_ino)
        seen[key] = seen.get(key, 0) + 1
        if stat.S_ISREG(status.st_mode):
            sizes[key] = (status.st_size, status.st_nlink)
    return sum(size for key, (size, links) in sizes.items() if links <= seen[key])


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield what lies below a folder and is none, with its own status (links are not followed)."""
    if folder.is_symlink():
        return
    for where, below, files in os.walk(folder, followlinks=False):
        links = [name for name in below if (Path(where) / name).is_symlink()]
        for name in [*files, *links]:
            path = Path(where) / name
            try:
                yield path, path.lstat()
            except OSError:
                continue
