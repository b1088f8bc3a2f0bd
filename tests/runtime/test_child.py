"""A child does what it likes: it is over in time, and nothing of it stays."""

import os
import time
from pathlib import Path

import pytest

from llama_nb.runtime import child


def test_what_a_child_says() -> None:
    ended = child.run_python("import sys; print(sys.stdin.read().upper())", seconds=30, given="hello é")
    assert (ended.code, ended.out, ended.how) == (0, "HELLO É\n", "ended")


def test_a_child_that_fails() -> None:
    ended = child.run_python("raise ValueError('no')", seconds=30)
    assert ended.how == "failed"
    assert ended.err.strip().endswith("ValueError: no")


def test_a_child_that_crashes_is_named_by_its_signal() -> None:
    ended = child.run_python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", seconds=30)
    assert ended.how == "crashed (SIGSEGV)"


def test_a_child_that_hangs_is_ended_with_its_own_children() -> None:
    code = (
        "import subprocess, sys, time\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(inner.pid, flush=True)\n"
        "time.sleep(600)"
    )
    began = time.monotonic()
    ended = child.run_python(code, seconds=3)
    assert time.monotonic() - began < 15
    assert ended.how == "did not end in time"
    inner = int(ended.out)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(inner):
        time.sleep(0.05)
    assert not _runs(inner)


def test_a_file_beside_the_notebook_hides_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('not json')")
    monkeypatch.chdir(tmp_path)
    assert child.run_python("import json", seconds=30).code == 0


def test_variables_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    code = "import os; print(os.environ['OURS'] + os.environ['ITS'])"
    assert child.run_python(code, seconds=30, environment={"ITS": "2"}).out == "12\n"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    # An orphan that nobody waits for yet is a zombie.
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
