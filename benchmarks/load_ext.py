"""What `%load_ext llama_nb` costs over a bare IPython shell, each time in a fresh process."""

import statistics
import subprocess
import sys

from benchmarks.report import Row

TITLE = "%load_ext llama_nb"
ROUNDS = 7
BUDGET_SECONDS = 0.3

# A shell as a kernel has one: InteractiveShell with its magics, without a terminal.
PROGRAM = """
import sys, time
from ipykernel.zmqshell import ZMQInteractiveShell
import ipykernel.ipkernel, comm
shell = ZMQInteractiveShell.instance()
started = time.perf_counter()
shell.run_line_magic("load_ext", {extension!r})
took = time.perf_counter() - started
known = ("torch", "transformers", "ipywidgets", "anywidget", "gradio")
heavy = [name for name in known if name in sys.modules]
print("MEASURED", took, ",".join(heavy) or "none")
"""


def once(extension: str) -> tuple[float, str]:
    """Load an extension in a fresh process; return the seconds and which heavy modules came with it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(extension=extension)],
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("MEASURED"))
    _, seconds, heavy = line.split(" ", 2)
    return float(seconds), heavy


def run() -> list[Row]:
    """Compare with IPython's own autoreload, an extension of one file."""
    ours = [once("llama_nb") for _ in range(ROUNDS)]
    peer = [once("autoreload") for _ in range(ROUNDS)]
    seconds = statistics.median(took for took, _ in ours)
    other = statistics.median(took for took, _ in peer)
    heavy = ours[0][1]
    return [
        Row(
            f"load the extension, median of {ROUNDS} fresh processes",
            f"{seconds:.3f} s",
            f"{other:.3f} s (autoreload)",
            None,
            f"<= {BUDGET_SECONDS} s",
            seconds <= BUDGET_SECONDS,
        ),
        Row("heavy modules imported by it", heavy, "", None, "no torch", "torch" not in heavy),
    ]
