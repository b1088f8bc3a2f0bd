"""A JupyterLab of this checkout on 127.0.0.1, with settings, data and notebooks in one folder of its own.

Knows nothing about browsers. The UI tests and the pictures of the README drive it.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 90

# Every cell stays in the page (no windowing), and JupyterLab asks nobody for news.
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": '{"windowingMode": "none", "autoStartDefaultKernel": true}',
    "@jupyterlab/apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "@jupyterlab/docmanager-extension/plugin": '{"autosave": false}',
}

# Kernels draw the same seeds each time: what a model says at a temperature is the same in every run.
SEEDS = "import random, secrets\n\nsecrets.randbits = random.Random(1).getrandbits\n"


class LabServer:
    """One running JupyterLab.

    Parameters
    ----------
    base
        An empty folder; notebooks are served from its folder `work`.
    package_parent
        The folder that holds the `llama_nb` to be used by kernel and page: the checkout, or a patched copy.
    environment
        Variables to set for server and kernels.
    """

    def __init__(
        self, base: Path, package_parent: Path = ROOT, environment: Mapping[str, str] | None = None
    ) -> None:
        self.base = base
        self.work = base / "work"
        self.token = secrets.token_hex(16)
        self.port = _free_port()
        self._package_parent = package_parent
        self._environment = self._make_environment(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    def url(self, notebook: str) -> str:
        """Return the address that opens a notebook in a fresh workspace."""
        return f"{self.origin}/lab/tree/{notebook}?token={self.token}&reset"

    def __enter__(self) -> Self:
        self._write_settings()
        log = (self.base / "server.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *self._options()],
            cwd=self.work,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self._wait_until_up()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)

    def run(self, *command: str) -> str:
        """Run a Jupyter command (`trust x.ipynb`) with this server's folders; return its output."""
        done = subprocess.run(
            [sys.executable, "-m", "jupyter", *command],
            cwd=self.work,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"jupyter {' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def log(self) -> str:
        """Return what the server printed."""
        return (self.base / "server.log").read_text(encoding="utf-8", errors="replace")

    def _options(self) -> Iterator[str]:
        yield "--no-browser"
        yield "--allow-root"
        yield "--ip=127.0.0.1"
        yield f"--port={self.port}"
        yield "--ServerApp.port_retries=0"
        yield f"--ServerApp.root_dir={self.work}"
        yield "--LabApp.expose_app_in_browser=True"
        yield "--LabApp.news_url=None"
        yield "--LabApp.extension_manager=readonly"

    def _make_environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "JPY_"))}
        kept |= {
            # This server's data folder comes before that of the virtual environment.
            "JUPYTER_PREFER_ENV_PATH": "0",
            "JUPYTER_CONFIG_DIR": str(self.base / "config"),
            "JUPYTER_DATA_DIR": str(self.base / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.base / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(self.base / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.base / "workspaces"),
            "IPYTHONDIR": str(self.base / "ipython"),
            "JUPYTER_TOKEN": self.token,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": kept.get("OMP_NUM_THREADS", "1"),
        }
        if self._package_parent != ROOT:
            kept["PYTHONPATH"] = str(self._package_parent)
        return kept | dict(extra)

    def _write_settings(self) -> None:
        for folder in (
            "work",
            "config",
            "data/labextensions",
            "runtime",
            "settings",
            "workspaces",
            "ipython",
        ):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        startup = self.base / "ipython" / "profile_default" / "startup" / "00-seeds.py"
        startup.parent.mkdir(parents=True, exist_ok=True)
        startup.write_text(SEEDS, encoding="utf-8")
        for name, text in SETTINGS.items():
            path = self.base / "settings" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        built = self._package_parent / "llama_nb" / "labextension"
        if built.is_dir():
            # A copy in the user's data folder hides whatever version is installed beside JupyterLab.
            shutil.copytree(built, self.base / "data" / "labextensions" / "llama-nb")

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            time.sleep(0.2)
        self.__exit__()
        raise RuntimeError(f"JupyterLab did not start:\n{self.log()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
