"""Install what `make lab`, `make test` or `make test-full` needs, once: .venv, npm packages, Chromium.

Runs on any Python >= 3.11 with the standard library only. A stamp in .venv records what was installed for
which pyproject.toml and constraints.txt, so a second call does nothing. constraints.txt gives the versions.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
MINIMUM = (3, 11)
PROFILES = ("lab", "test", "full")  # each installs what those before it do


def say(text: str) -> None:
    """Print one line at once, so that it stands above the output of what it announces."""
    print(f"[setup] {text}", flush=True)


def digest(*parts: str | Path) -> str:
    """Return a short hash of files and texts."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.read_bytes() if isinstance(part, Path) else part.encode())
    return sha.hexdigest()[:16]


class Stamp:
    """A file that says which state of its inputs an installation was made for."""

    def __init__(self, path: Path, value: str) -> None:
        self.path = path
        self.value = value

    def holds(self) -> bool:
        """Whether the installation is of today's inputs."""
        return self.path.is_file() and self.path.read_text(encoding="utf-8") == self.value

    def write(self) -> None:
        """Record that it is."""
        self.path.write_text(self.value, encoding="utf-8")


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command without standard input; end this program with its status if it fails."""
    status = subprocess.run(
        [str(part) for part in command], cwd=cwd, stdin=subprocess.DEVNULL, check=False
    ).returncode
    if status:
        say(f"failed with status {status}: {' '.join(str(part) for part in command)}")
        raise SystemExit(status)


def requirements(profile: str) -> list[str]:
    """Return the requirement lines of a profile, as pyproject.toml has them."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    lines = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in ("lab", "quant", "train"):
        lines += project["project"]["optional-dependencies"][extra]
    for group in PROFILES[: PROFILES.index(profile) + 1]:
        lines += project["dependency-groups"].get(group, [])
    return lines


def make_venv() -> None:
    """Create .venv with this Python unless it is there."""
    if PYTHON.exists():
        return
    say(f"creating .venv with Python {sys.version.split()[0]}")
    venv.create(VENV, with_pip=True, clear=VENV.exists())


def install_python(profile: str) -> None:
    """Install the package (editable) and the profile's requirements at the tested versions."""
    inputs = digest(ROOT / "pyproject.toml", ROOT / "constraints.txt", sys.version)
    stamps = {name: Stamp(VENV / f".llama-nb-{name}", inputs) for name in PROFILES}
    if any(stamps[name].holds() for name in PROFILES[PROFILES.index(profile) :]):
        say("Python packages: up to date")
        return
    say("installing the Python packages at the tested versions (some minutes the first time)")
    pip = (PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-input")
    run(*pip, "-c", "constraints.txt", *requirements(profile))
    run(*pip, "--no-deps", "--no-build-isolation", "-e", ".")
    _link_labextension()
    stamps[profile].write()


def _link_labextension() -> None:
    """Let JupyterLab in .venv read the extension from the checkout: a rebuild needs no installation."""
    installed = VENV / "share" / "jupyter" / "labextensions" / "llama-nb"
    built = ROOT / "llama_nb" / "labextension"
    if not built.is_dir() or os.name == "nt":
        return
    if installed.is_dir() and not installed.is_symlink():
        shutil.rmtree(installed)
    installed.parent.mkdir(parents=True, exist_ok=True)
    if not installed.is_symlink():
        installed.symlink_to(os.path.relpath(built, installed.parent))


def install_npm() -> None:
    """Install the TypeScript tools at the versions of package-lock.json."""
    package = ROOT / "labextension"
    lock = package / "package-lock.json"
    if not lock.is_file():
        say("labextension/package-lock.json is not there: no npm packages to install")
        return
    stamp = Stamp(package / "node_modules" / ".llama-nb", digest(lock))
    if stamp.holds():
        say("npm packages: up to date")
        return
    say("installing the npm packages")
    run(PYTHON, "-m", "tools.node", "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
    stamp.write()


def install_chromium() -> None:
    """Find a Chromium; else take Debian's when root, else Playwright's own."""
    sys.path.insert(0, str(ROOT))
    from tools.chromium import on_path

    if found := on_path():
        say(f"Chromium: {found}")
        return
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        say("installing Debian's Chromium")
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-qq", "--yes", "--no-install-recommends", "chromium")
        return
    stamp = Stamp(VENV / ".llama-nb-chromium", "playwright")
    if stamp.holds():
        say("Chromium: Playwright's")
        return
    say("installing Playwright's Chromium")
    run(PYTHON, "-m", "playwright", "install", "chromium")
    stamp.write()


def main() -> None:
    """Install one profile."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profile", choices=PROFILES)
    profile = parser.parse_args().profile
    if sys.version_info < MINIMUM:
        raise SystemExit("llama-nb needs Python 3.11 or newer; say which one: make lab PYTHON=python3.12")
    make_venv()
    install_python(profile)
    if profile != "lab":
        install_npm()
        install_chromium()


if __name__ == "__main__":
    main()
