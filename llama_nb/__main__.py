"""`python -m llama_nb lab [JUPYTERLAB OPTIONS]`: JupyterLab, open on the first notebook.

In a clone this first installs what is needed into .venv (as `make lab` does); an installed package copies its
notebooks into ./notebooks of the current folder. Standard library only: it runs before anything is installed.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent
ROOT: Final = PACKAGE.parent
FIRST: Final = "01_meet_your_llama.ipynb"
USAGE: Final = "Usage: python -m llama_nb lab [--no-browser] [--port=9999] [any other option of JupyterLab]"


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit status."""
    if not arguments or arguments[0] != "lab":
        print(USAGE, file=sys.stderr)
        return 0 if list(arguments) in (["-h"], ["--help"]) else 2
    python = _clone_python()
    if importlib.util.find_spec("jupyterlab") is None and python == sys.executable:
        print("JupyterLab is not installed here: pip install 'llama-nb[lab]'", file=sys.stderr)
        return 1
    return _start(python, _notebooks_folder(), arguments[1:])


def _is_clone() -> bool:
    return (ROOT / "tools" / "setup_env.py").is_file()


def _clone_python() -> str:
    """Return the Python to use; in a clone that is .venv's, made first if need be."""
    if not _is_clone() or Path(sys.prefix) == ROOT / ".venv":
        return sys.executable
    subprocess.run(
        [sys.executable, ROOT / "tools" / "setup_env.py", "lab"], stdin=subprocess.DEVNULL, check=True
    )
    return str(ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def _notebooks_folder() -> Path:
    """Return the folder to open: the clone's own, or a copy of the package's in the current folder."""
    if _is_clone():
        return ROOT / "notebooks"
    folder = Path.cwd() / "notebooks"
    folder.mkdir(exist_ok=True)
    for notebook in sorted((PACKAGE / "notebooks").glob("*.ipynb")):
        if not (folder / notebook.name).exists():
            shutil.copyfile(notebook, folder / notebook.name)
            print(f"copied {notebook.name} to {folder}")
    return folder


def _start(python: str, folder: Path, options: Sequence[str]) -> int:
    # The address that JupyterLab prints is its default one, so that is the notebook's.
    command = [python, "-m", "jupyterlab", f"--LabApp.default_url=/lab/tree/{FIRST}", *options]
    # Jupyter refuses to run as root, as in most containers, unless it is told so.
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in options:
        command.append("--allow-root")
    print(f"starting JupyterLab on {FIRST}; end it with Ctrl-C", flush=True)
    try:
        return subprocess.run(command, cwd=folder, check=False).returncode
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
