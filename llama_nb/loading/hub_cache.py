"""The hub's cache on this disk, read without huggingface_hub and without a network.

Layout: `models--OWNER--NAME/{refs,snapshots,blobs}`
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

import json
from dataclasses import dataclass
from pathlib import Path

from llama_nb.loading.folder import INDEX, SINGLE
from llama_nb.runtime.hub_settings import cache_folder


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model that lies complete in the cache: hub id, snapshot folder and bytes of its files."""

    name: str
    folder: Path
    bytes: int


def snapshot(repo: str) -> Path | None:
    """Return the cached snapshot of a hub id, complete or not: that of `main`, else the newest."""
    root = cache_folder() / f"models--{repo.replace('/', '--')}"
    try:
        revision = (root / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        revision = ""
    if revision and "/" not in revision and ".." not in revision and (root / "snapshots" / revision).is_dir():
        return root / "snapshots" / revision
    try:
        folders = [entry for entry in (root / "snapshots").iterdir() if entry.is_dir()]
        return max(folders, key=lambda folder: folder.stat().st_mtime, default=None)
    except OSError:
        return None


def complete_snapshot(repo: str) -> Path | None:
    """Return the cached snapshot of a hub id when every file that loading needs is there."""
    folder = snapshot(repo)
    return folder if folder is not None and _is_complete(folder) else None


def cached() -> list[CachedModel]:
    """Return the complete models of the cache by name."""
    try:
        roots = sorted(cache_folder().glob("models--*--*"))
    except OSError:
        return []
    found = []
    for root in roots:
        owner, _, name = root.name.removeprefix("models--").partition("--")
        folder = complete_snapshot(f"{owner}/{name}")
        if folder is not None:
            size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
            found.append(CachedModel(f"{owner}/{name}", folder, size))
    return found


def _is_complete(folder: Path) -> bool:
    if not (folder / "config.json").is_file() or not (folder / "tokenizer.json").is_file():
        return False
    if not (folder / INDEX).is_file():
        return (folder / SINGLE).is_file() or len(list(folder.glob("*.safetensors"))) == 1
    try:
        where = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        return all((folder / str(name)).is_file() for name in set(where.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True  # present but unreadable: the check names what is wrong
