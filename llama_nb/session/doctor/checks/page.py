"""The page: which front end this is, its widgets, whether buttons work during a cell, and our extension."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import llama_nb
from llama_nb.runtime.environment import Environment
from llama_nb.session.doctor import server
from llama_nb.session.doctor.check import Check, note, ok, problem
from llama_nb.session.doctor.checks.libraries import in_range, version_of
from llama_nb.session.doctor.scope import Scope

_NAMES: Final = {
    "lab": "JupyterLab",
    "notebook": "Jupyter Notebook",
    "vscode": "VS Code",
    "colab": "Colab",
    "terminal": "a terminal",
    "batch": "a run that nobody watches",
    "plain": "plain Python",
}
_OURS: Final = "llama-nb"
_THEIRS: Final = {"@jupyter-widgets/jupyterlab-manager": "jupyterlab_widgets", "anywidget": "anywidget"}


def check(scope: Scope) -> Iterator[Check]:
    """Yield what was found."""
    where = server.prefix()
    in_lab = scope.environment.kind in ("lab", "notebook")
    yield front_end(scope.environment, version_of("jupyterlab") if where is None else _lab(where))
    yield widgets(where, in_lab)
    yield buttons(version_of("ipykernel"), scope.environment)
    yield extension(where, in_lab)


def front_end(environment: Environment, lab: str | None) -> Check:
    """Judge the front end."""
    name = _NAMES[environment.kind]
    if environment.kind in ("lab", "notebook"):
        if lab is not None and not in_range(lab, ">=4.4"):
            return problem(
                "front end",
                f"{name} on JupyterLab {lab}: Stop and live views need 4.4.",
                'pip install -U "jupyterlab>=4.4"',
            )
        return ok("front end", f"{name}{f' (JupyterLab {lab})' if lab else ''}.")
    if environment.kind in ("vscode", "colab"):
        return note("front end", f"{name}: llama-nb is tested in JupyterLab and Notebook only.")
    return note("front end", f"{name}: replies are text or static HTML here, without live views.")


def widgets(where: Path | None, in_lab: bool) -> Check:
    """Judge the widget libraries of the kernel, and their other half in the page."""
    wanted = {"anywidget": ">=0.9.18", "ipywidgets": ">=8.1"}
    for name, span in wanted.items():
        version = version_of(name)
        if version is None or not in_range(version, span):
            state = "missing" if version is None else version
            return problem("widgets", f"{name} is {state}: needed {span}.", f'pip install -U "{name}{span}"')
    versions = ", ".join(f"{name} {version_of(name)}" for name in wanted)
    for folder, library in _THEIRS.items():
        if in_lab and server.extension_folder(folder, where) is None:
            return problem(
                "widgets",
                f"The kernel has {versions}, but JupyterLab has no {library}: widgets will not be drawn.",
                f"pip install {library}   (in the environment that JupyterLab runs in), then reload the page",
                str(where or ""),
            )
    return ok("widgets", f"{versions}, jupyterlab_widgets {version_of('jupyterlab_widgets') or 'not here'}.")


def buttons(version: str | None, environment: Environment) -> Check:
    """Say whether a button in a widget is heard while a cell runs; the kernel's interrupt always is."""
    if environment.kind in ("plain", "terminal"):
        return ok("Stop", "Ctrl+C stops a reply and keeps what was written.")
    if version is None:
        return note("Stop", "ipykernel is not in this environment; the kernel's interrupt stops a reply.")
    if not in_range(version, ">=7"):
        return note(
            "Stop",
            f"ipykernel {version}: buttons are heard after the cell. The kernel's interrupt stops a reply.",
            'pip install -U "ipykernel>=7"',
        )
    if environment.kind in ("vscode", "colab"):
        return note("Stop", f"ipykernel {version}; whether {_NAMES[environment.kind]} sends buttons in time"
                    " is not tested. The kernel's interrupt stops a reply.")  # fmt: skip
    return ok("Stop", f"ipykernel {version}: buttons are heard while a cell runs, and so is the interrupt.")


def extension(where: Path | None, in_lab: bool) -> Check:
    """Judge llama-nb's extension of JupyterLab: there, switched on, and of the package's own version."""
    version = llama_nb.__version__
    folder = server.extension_folder(_OURS, where)
    if folder is None:
        if not in_lab:
            return note("extension", "llama-nb's JupyterLab extension is not in this environment.")
        return problem(
            "extension",
            "JupyterLab does not have llama-nb's extension: saved replies show their static twin only.",
            "pip install llama-nb   (in the environment that JupyterLab runs in), then reload the page",
            str(where or ""),
        )
    found = server.read_json(folder / "package.json")
    if server.is_disabled(_OURS, where):
        return problem(
            "extension", "llama-nb's extension is switched off.", "jupyter labextension enable llama-nb"
        )
    if found.get("version") != version:
        theirs = found.get("version", "without a version")
        return problem(
            "extension",
            f"JupyterLab has the extension {theirs}, the kernel llama-nb {version}.",
            f'pip install "llama-nb=={version}"   (where JupyterLab runs), then reload the page',
            str(folder),
        )
    own = server.read_json(Path(llama_nb.__file__).parent / "labextension" / "package.json")
    if own and own.get("jupyterlab") != found.get("jupyterlab"):
        return note(
            "extension",
            f"Version {version}, but another build than the one in this package's folder.",
            "pip install -e .   (in the repository), then reload the page",
            str(folder),
        )
    return ok("extension", f"{version}, as the package.", here=str(folder))


def _lab(where: Path) -> str | None:
    return server.version_of("jupyterlab", where)
