"""The environment that JupyterLab runs in, which need not be the kernel's: extensions belong there.

Found by the process that started this kernel (JPY_PARENT_PID); a kernel without one has no server to ask.
"""

import importlib.metadata
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil

_JUPYTER_SHARE: Final = ("share/jupyter", "local/share/jupyter")


def prefix() -> Path | None:
    """Return the server's environment (as sys.prefix is ours), None where it cannot be found."""
    try:
        command = psutil.Process(int(os.environ["JPY_PARENT_PID"])).cmdline()
    except (KeyError, ValueError, psutil.Error, OSError):
        return None
    # The path that was typed: resolved, a virtual environment's Python is the system's.
    started = Path(command[0]) if command else Path()
    if not started.is_absolute() or not started.name.startswith("python"):
        return None
    found = started.parent.parent
    return found if any((found / share).is_dir() for share in _JUPYTER_SHARE) else None


def version_of(name: str, where: Path) -> str | None:
    """Return a library's version in another environment, None where it has none."""
    folders = [str(path) for path in where.glob("lib/python3*/site-packages")]
    folders.append(str(where / "Lib" / "site-packages"))
    found = importlib.metadata.distributions(name=name, path=folders)
    return next((each.version for each in found), None)


def extension_folder(name: str, where: Path | None = None) -> Path | None:
    """Return where JupyterLab finds a prebuilt extension, None where it has none.

    `where` is the server's environment; this one, unless said.
    """
    return next((folder / name for folder in _extension_folders(where) if (folder / name).is_dir()), None)


def is_disabled(name: str, where: Path | None = None) -> bool:
    """Return whether an extension is switched off in JupyterLab's configuration."""
    for folder in _config_folders(where):
        switched = read_json(folder / "labconfig" / "page_config.json").get("disabledExtensions", {})
        named = switched if isinstance(switched, list) else [key for key, off in switched.items() if off]
        if any(str(key).partition(":")[0] == name for key in named):
            return True
    return False


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object from a file; empty where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _extension_folders(where: Path | None) -> Iterator[Path]:
    """Yield JupyterLab's folders of extensions, in its own order (https://jupyter-core.readthedocs.io)."""
    for folder in filter(None, os.environ.get("JUPYTER_PATH", "").split(os.pathsep)):
        yield Path(folder) / "labextensions"
    own = os.environ.get("JUPYTER_DATA_DIR")
    user = Path(own) if own else Path.home() / ".local" / "share" / "jupyter"
    prefix = where or Path(sys.prefix)
    bases = (user, prefix / "share" / "jupyter")
    for base in reversed(bases) if _before_user(prefix) else bases:
        yield base / "labextensions"
    if os.name == "posix":
        yield Path("/usr/local/share/jupyter/labextensions")
        yield Path("/usr/share/jupyter/labextensions")


def _before_user(prefix: Path) -> bool:
    """Whether an environment's own folders come before the user's, as in a virtual environment."""
    asked = os.environ.get("JUPYTER_PREFER_ENV_PATH")
    if asked is not None:
        return asked.lower() not in ("", "0", "n", "no", "false", "off")
    return any((prefix / sign).exists() for sign in ("pyvenv.cfg", "conda-meta"))


def _config_folders(where: Path | None) -> Iterator[Path]:
    yield Path(os.environ.get("JUPYTER_CONFIG_DIR") or Path.home() / ".jupyter")
    yield (where or Path(sys.prefix)) / "etc" / "jupyter"
