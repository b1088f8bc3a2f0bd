"""Where this code runs and whether somebody watches: JupyterLab, a terminal, a batch run, plain Python.

Asked for each cell, since the same kernel may serve a person and a batch run. IPython is read where it is
loaded already and never imported, so this costs nothing outside a notebook.
"""

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["lab", "notebook", "vscode", "colab", "terminal", "batch", "plain"]


@dataclass(frozen=True, slots=True)
class Environment:
    """What a view may rely on in the cell that runs now.

    Parameters
    ----------
    kind
        "batch" is a kernel whose client answers no questions: nbclient, nbval, papermill, nbconvert.
    watched
        Whether a person probably sees the output while it grows.
    widgets
        Whether the page can hold widgets.
    """

    kind: Kind
    watched: bool
    widgets: bool


def detect() -> Environment:
    """Return the environment of the cell that runs now (or of plain Python)."""
    shell = _shell()
    if shell is None:
        return Environment("plain", watched=False, widgets=False)
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return Environment("terminal", watched=True, widgets=False)
    if not _answers_questions(kernel):
        return Environment("batch", watched=False, widgets=False)
    return Environment(_page(shell), watched=True, widgets=_has_widgets())


def notebook_path() -> Path | None:
    """Return the notebook's file as the front end named it when the kernel started, or None."""
    shell = _shell()
    named = shell.user_ns.get("__vsc_ipynb_file__") if shell is not None else None
    named = named or os.environ.get("JPY_SESSION_NAME")
    if not isinstance(named, str) or not named.endswith(".ipynb"):
        return None
    return Path(named).absolute()


def _shell() -> Any:
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None


def _answers_questions(kernel: Any) -> bool:
    # nbclient and nbval send allow_stdin=False with each cell, front ends with a person send True.
    try:
        content = kernel.get_parent("shell").get("content") or {}
    except (AttributeError, LookupError, TypeError):
        content = {}
    return bool(content.get("allow_stdin", getattr(kernel, "_allow_stdin", False)))


def _page(shell: Any) -> Kind:
    if "google.colab" in sys.modules:
        return "colab"
    if "VSCODE_PID" in os.environ or "__vsc_ipynb_file__" in shell.user_ns:
        return "vscode"
    return "notebook" if "jupyter-notebook" in _server_command() else "lab"


def _server_command() -> str:
    try:
        return Path(f"/proc/{int(os.environ['JPY_PARENT_PID'])}/cmdline").read_text("utf-8", "replace")
    except (KeyError, ValueError, OSError):
        return ""


def _has_widgets() -> bool:
    return importlib.util.find_spec("anywidget") is not None
