"""Run benchmarks, each in a fresh process, print their table and write it into benchmarks/README.md.

`python -m benchmarks [NAME ...]`; `--no-write` only prints. Other work on the machine disturbs the figures:
ratios are of one run, so they suffer less.
"""

import argparse
import dataclasses
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Row, section, write
from llama_nb.runtime.process import prepare

FOLDER = Path(__file__).resolve().parent
NOT_BENCHMARKS = {"__init__", "__main__", "report"}


def names() -> list[str]:
    """Return the benchmarks there are: every file of this folder that has TITLE and run()."""
    files = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.py"))}
    return [name for name, text in files.items() if name not in NOT_BENCHMARKS and "\nTITLE" in text]


def measure(name: str) -> tuple[str, list[Row]]:
    """Run one benchmark in a fresh process and return its title and rows."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks", "--answer-to", str(answer), name]
        subprocess.run(command, cwd=FOLDER.parent, stdin=subprocess.DEVNULL, check=True)
        title, rows = json.loads(answer.read_text(encoding="utf-8"))
    return title, [Row(**row) for row in rows]


def _answer(name: str, path: Path) -> None:
    prepare()  # as loading the extension does: it says how threads wait for each other
    module = importlib.import_module(f"benchmarks.{name}")
    rows = [dataclasses.asdict(row) for row in module.run()]
    path.write_text(json.dumps([module.TITLE, rows]), encoding="utf-8")


def main() -> int:
    """Run the command line; return 1 if a benchmark could not be run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/README.md as it is")
    parser.add_argument("--answer-to", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.names) - set(names()):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are: {', '.join(names())}")
    if options.answer_to:
        _answer(options.names[0], options.answer_to)
        return 0
    failed = []
    for name in options.names or names():
        try:
            title, rows = measure(name)
        except subprocess.CalledProcessError as error:
            failed.append(f"{name} ended with status {error.returncode}")
            continue
        text = section(name, title, rows)
        print(text, flush=True)
        if not options.no_write:
            write(FOLDER / "README.md", {name: text})
    if failed:
        print("not measured: " + "; ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
