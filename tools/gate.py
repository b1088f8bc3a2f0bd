"""Run every check and test, one after another, and say which failed.

`python -m tools.gate [--full] [STEP ...]`. Cheap steps come first, and a failed one does not hide the later
ones. pytest is the last, so that its closing line stands near the end. A handful of tests that fail while the
others keep the machine busy (a page that was slow to draw) run once more alone; they are named if they pass.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
MOST_AGAIN = 5  # failures; more are no matter of a busy machine


@dataclass(frozen=True)
class Step:
    """One command of the gate; "python" is this Python, other programs are those beside it."""

    name: str
    command: tuple[str, ...]

    def run(self, environment: Mapping[str, str]) -> bool:
        """Run it without standard input and say whether it passed."""
        program = Path(sys.executable) if self.command[0] == "python" else BIN / self.command[0]
        command = [str(program), *self.command[1:]]
        ran = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False)
        return ran.returncode == 0


@dataclass(frozen=True)
class Tests(Step):
    """pytest on several processes; a few tests that fail run again, one after another."""

    again: tuple[str, ...] = ()

    def run(self, environment: Mapping[str, str]) -> bool:
        """Run the tests and say whether each passed, at the latest alone."""
        failures = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
        failures.unlink(missing_ok=True)
        if super().run(environment):
            return True
        failed = sorted(json.loads(failures.read_text(encoding="utf-8"))) if failures.is_file() else []
        # Without names it was no test that failed: a process died, nothing was found.
        if not 0 < len(failed) <= MOST_AGAIN:
            return False
        print(f"\n[gate] {self.name} again, alone: {', '.join(failed)}", flush=True)
        if not Step(self.name, (*self.again, *failed)).run(environment):
            return False
        print(f"\n[gate] UNSTEADY, failed beside others and passed alone: {', '.join(failed)}", flush=True)
        return True


def workers() -> int:
    """How many pytest processes: one a core that we may use, at least two (they also wait), at most four."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return max(2, min(4, cores))


def steps(full: bool) -> list[Step]:
    """Return the gate in its order."""
    chosen = ("-m", "full or not full") if full else ()
    npm = ("python", "-m", "tools.node", "npm", "run", "--silent")
    # A file's tests run in one process, which shares its models, its JupyterLab and its browser.
    pytest = ("python", "-m", "pytest")
    beside = ("-n", str(workers()), "--dist", "loadfile")
    return [
        Step("ruff", ("ruff", "check", ".")),
        Step("format", ("ruff", "format", "--check", ".")),
        Step("layers", ("lint-imports",)),
        Step("mypy", ("mypy",)),
        Step("tsc", (*npm, "typecheck")),
        Step("biome", (*npm, "lint")),
        Step("vitest", (*npm, "test")),
        Step("notebooks", ("python", "-m", "tools.notebooks", "check")),
        Tests("pytest", (*pytest, *beside, *chosen), again=(*pytest, *chosen)),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps that were named, or all; return 1 if one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="run the long and heavy tests too")
    parser.add_argument("only", nargs="*", metavar="STEP", help=", ".join(step.name for step in steps(False)))
    options = parser.parse_args(arguments)
    known = steps(options.full)
    if unknown := set(options.only) - {step.name for step in known}:
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    # One thread a process: with more, the small models of the tests wait for each other instead of computing.
    environment = {"OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **os.environ}
    results: list[tuple[str, bool, float]] = []
    for step in known:
        if options.only and step.name not in options.only:
            continue
        print(f"\n[gate] {step.name}: {' '.join(step.command)}", flush=True)
        started = time.monotonic()
        results.append((step.name, step.run(environment), time.monotonic() - started))
    print(
        "\n[gate] "
        + ", ".join(f"{name} {'ok' if ok else 'FAILED'} {took:.0f} s" for name, ok, took in results)
    )
    return 0 if all(ok for _, ok, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
