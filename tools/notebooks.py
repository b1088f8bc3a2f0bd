"""Run the notebooks and store their outputs, or check that they still come out the same.

`python -m tools.notebooks run [NAME ...]` executes in place; `python -m tools.notebooks check [NAME ...]`
compares strictly with nbval. Both execute as a batch client does (nobody watches), offline, in an empty
folder, so that outputs hold no time, rate, path or random id. What front ends add (widget state, timings) is
stripped.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
CELL_SECONDS = 120
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
KEPT_CELL_METADATA = {"tags"}


def chosen(names: Sequence[str]) -> list[Path]:
    """Return the notebooks that were named by the beginning of their file names, or all."""
    found = sorted(path for path in FOLDER.glob("*.ipynb"))
    if not names:
        return found
    wanted = [path for path in found if path.name.startswith(tuple(names))]
    if not wanted:
        raise SystemExit(f"no such notebook; there are: {', '.join(path.name for path in found)}")
    return wanted


def environment(folder: str) -> dict[str, str]:
    """Return the variables a kernel is started with: offline, one thread, no settings of the user's."""
    own = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(Path(folder) / ".ipython")}
    return {**os.environ, **own}


def strip(notebook: Any) -> None:
    """Take from a notebook what changes from run to run or front end to front end."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02d}"
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key in KEPT_CELL_METADATA}
        )
        for output in cell.get("outputs", []):
            output.pop("transient", None)
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})


def run(path: Path) -> None:
    """Execute one notebook and store its outputs; a cell that fails ends the command and stores nothing."""
    started = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            coalesce_streams=True,
            record_timing=False,
        )
        client.execute(env=environment(folder))
    strip(notebook)
    nbformat.write(notebook, path)
    print(f"{path.name}: {len(notebook.cells)} cells run and stored in {time.monotonic() - started:.1f} s")


def check(paths: Sequence[Path]) -> int:
    """Execute copies of the notebooks under strict nbval; return pytest's status."""
    for path in paths:
        if problem := unstripped(path):
            print(f"{path.name}: {problem}; run `python -m tools.notebooks run`")
            return 1
    with tempfile.TemporaryDirectory() as folder:
        copies = [shutil.copy(path, folder) for path in paths]
        command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-c", os.devnull, "-q"]
        command += [f"--nbval-cell-timeout={CELL_SECONDS}", f"--rootdir={folder}", "-p", "no:cacheprovider"]
        done = subprocess.run([*command, *copies], cwd=folder, env=environment(folder), check=False)
        return done.returncode


def unstripped(path: Path) -> str:
    """Say what in a stored notebook was not made by `run`, or return an empty string."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code or any(cell.execution_count is None for cell in code):
        return "not every cell was run"
    if any(output.output_type == "error" for cell in code for output in cell.outputs):
        return "a stored output is an error"
    again = nbformat.from_dict(notebook)
    strip(again)
    return "" if nbformat.writes(again) == nbformat.writes(notebook) else "it holds what front ends add"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["run", "check"])
    parser.add_argument("names", nargs="*", help="how a file name begins, such as 01; all without")
    options = parser.parse_args()
    paths = chosen(options.names)
    if options.action == "check":
        return check(paths)
    for path in paths:
        run(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
