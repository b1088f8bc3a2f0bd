"""The two commands of the README, from a bare clone, as a new user types them."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from llama_nb import __main__ as command_line

START_SECONDS = 500


@pytest.fixture(scope="module")
def clone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "llama-nb"
    subprocess.run(["git", "clone", "--quiet", str(root), str(folder)], check=True)
    return folder


def answer_of(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Wait for the address that JupyterLab prints and return the page there."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8", errors="replace")
        assert process.poll() is None, text
        if found := re.search(r"http://(?:localhost|127\.0\.0\.1):\d+/lab\S*", text):
            with urllib.request.urlopen(found.group(), timeout=30) as page:
                return str(page.geturl()) + page.read().decode()
        time.sleep(0.5)
    raise AssertionError(log.read_text(encoding="utf-8", errors="replace"))


@pytest.mark.full
@pytest.mark.timeout(2 * START_SECONDS)
@pytest.mark.parametrize(
    "command", [["make", "lab"], ["python3", "-m", "llama_nb", "lab"]], ids=["make", "python"]
)
def test_jupyterlab_opens_on_the_first_notebook(clone: Path, tmp_path: Path, command: list[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--no-browser", f"--port={port}", "--ip=127.0.0.1"]
    whole = [*command, f"ARGS={' '.join(options)}"] if command[0] == "make" else [*command, *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environment["JUPYTER_RUNTIME_DIR"] = str(tmp_path / "runtime")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            whole,
            cwd=clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        page = answer_of(tmp_path / "log", process)
        assert "/lab/tree/" in page
        assert "01_meet_your_llama.ipynb" in page
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def test_without_arguments_the_command_says_what_it_can(root: Path) -> None:
    done = subprocess.run(
        ["python3", "-m", "llama_nb"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: python -m llama_nb lab")


def test_an_installed_package_copies_its_notebooks_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    (package / "notebooks").mkdir(parents=True)
    (package / "notebooks" / "01_meet_your_llama.ipynb").write_text("stored", encoding="utf-8")
    monkeypatch.setattr(command_line, "PACKAGE", package)
    monkeypatch.setattr(command_line, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    copy = command_line._notebooks_folder() / "01_meet_your_llama.ipynb"
    assert copy == tmp_path / "notebooks" / "01_meet_your_llama.ipynb"
    copy.write_text("changed by the reader", encoding="utf-8")
    command_line._notebooks_folder()
    assert copy.read_text(encoding="utf-8") == "changed by the reader"
