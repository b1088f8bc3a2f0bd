"""Builds what the page runs: the widgets' bundles and the JupyterLab plugin, and records from what.

`python -m tools.build_page` (or `make page`). The results are committed, so that a clone installs without
Node; a test compares the recorded hash with that of the sources, so that a stale build cannot land.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tools import node, traits

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "labextension"
STATIC: Final = ROOT / "llama_nb" / "widgets" / "static"
PLUGIN: Final = ROOT / "llama_nb" / "labextension"
RECORD: Final = STATIC / "sources.sha256"

_FOLDERS: Final = ("src", "widgets", "style", "scripts")
_FILES: Final = ("package.json", "package-lock.json", "tsconfig.json")


def sources() -> Iterator[Path]:
    """Yield the files that decide what is built, in a fixed order."""
    for folder in _FOLDERS:
        yield from sorted(path for path in (PACKAGE / folder).rglob("*") if path.is_file())
    yield from (PACKAGE / name for name in _FILES)


def digest() -> str:
    """Return the hash of the sources: names and contents, with the line ends of any platform."""
    whole = hashlib.sha256()
    for path in sources():
        text = path.read_bytes().replace(b"\r\n", b"\n")
        whole.update(f"{path.relative_to(PACKAGE).as_posix()} {len(text)}\n".encode())
        whole.update(text)
    return whole.hexdigest()


def tidy_lock() -> None:
    """Take the addresses out of package-lock.json: no registry's or sponsor's host belongs there."""
    path = PACKAGE / "package-lock.json"
    lock: dict[str, Any] = json.loads(path.read_text())
    for entry in lock["packages"].values():
        entry.pop("funding", None)
        entry.pop("resolved", None)
    text = json.dumps(lock, indent=2, ensure_ascii=False) + "\n"
    if text != path.read_text():
        path.write_text(text)


def build() -> None:
    """Build everything, from nothing."""
    tidy_lock()
    traits.TARGET.write_text(traits.text())
    if not (PACKAGE / "node_modules").is_dir():
        _npm("ci")
    for folder in (PLUGIN / "static", PACKAGE / "lib"):
        shutil.rmtree(folder, ignore_errors=True)
    for script in ("typecheck", "build:widgets", "build:lab"):
        _npm("run", "--silent", script)
    builder = Path(sys.executable).with_name("jupyter-builder")
    subprocess.run([builder, "build", PACKAGE], check=True, stdin=subprocess.DEVNULL)
    RECORD.write_text(f"{digest()}\n")


def _npm(*arguments: str) -> None:
    if status := node.run(("npm", *arguments)):
        raise SystemExit(status)


if __name__ == "__main__":
    build()
