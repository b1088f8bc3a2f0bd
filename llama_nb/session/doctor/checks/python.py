"""Python, the operating system, and this package: which version, and how it was installed."""

import importlib.metadata
import json
import platform
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import llama_nb
from llama_nb.session.doctor.check import Check, note, ok, problem
from llama_nb.session.doctor.scope import Scope

_OLDEST: Final = (3, 11)
_NEWEST_TESTED: Final = (3, 13)


def check(scope: Scope) -> Iterator[Check]:
    """Yield what was found."""
    del scope
    yield interpreter(sys.version_info[:3], struct.calcsize("P") * 8)
    yield system(platform.system())
    yield package(llama_nb.__version__)


def interpreter(version: tuple[int, ...], bits: int) -> Check:
    """Judge a version of Python."""
    shown = ".".join(map(str, version))
    if bits < 64:
        return problem("Python", f"{shown} with {bits} bits: torch needs 64.", "Install a Python of 64 bits.")
    if version[:2] < _OLDEST:
        return problem("Python", f"{shown} is older than 3.11.", "Install Python 3.11 or newer.")
    if version[:2] > _NEWEST_TESTED:
        return note("Python", f"{shown} is newer than what llama-nb is tested on (3.11 to 3.13).")
    return ok("Python", f"{shown}.", here=sys.executable)


def system(name: str) -> Check:
    """Judge an operating system."""
    shown = f"{name or 'unknown'} on {platform.machine()}"
    if name != "Linux":
        return note("system", f"{shown}: llama-nb is tested on Linux only.")
    return ok("system", f"{shown}.", here=platform.platform())


def package(version: str) -> Check:
    """Judge how llama-nb was installed: the package that pip knows must be the code that runs."""
    place = str(Path(llama_nb.__file__).parent)
    try:
        distribution = importlib.metadata.distribution("llama-nb")
    except importlib.metadata.PackageNotFoundError:
        return note(
            "llama-nb",
            f"{version}, run from its folder without being installed: its JupyterLab extension is not there.",
            "pip install -e .",
            place,
        )
    if distribution.version != version:
        return problem(
            "llama-nb",
            f"The code is {version}, the installed package {distribution.version}: two copies are mixed.",
            "pip install --force-reinstall --no-deps llama-nb",
            place,
        )
    how, source = _origin(distribution)
    return ok("llama-nb", f"{version}, {how}.", here=source or place)


def _origin(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """Return how pip installed a package, and from where if it was not an index (PEP 610)."""
    try:
        record: dict[str, Any] = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        record = {}
    url = str(record.get("url", ""))
    if "vcs_info" in record:
        return "installed from a git repository", url
    if record.get("dir_info", {}).get("editable"):
        return "installed in editable mode", url
    return ("installed from a folder or file", url) if url else ("installed from a package index", "")
