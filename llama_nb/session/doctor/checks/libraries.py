"""The libraries that llama-nb needs: there, in a version that it takes, and not hidden by another file."""

import importlib.metadata
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from llama_nb.session.doctor.check import Check, note, ok, problem
from llama_nb.session.doctor.scope import Scope

# Named one by one, because most bug reports hang on their versions; the others share a line.
_NAMED: Final = ("transformers", "huggingface_hub", "tokenizers")
_HIDEABLE: Final = (
    "torch", "transformers", "tokenizers", "huggingface_hub", "safetensors", "accelerate", "numpy", "pandas",
    "anywidget", "ipywidgets", "IPython", "jinja2", "bitsandbytes", "token", "tokenize", "random", "json",
)  # fmt: skip
_REQUIREMENT: Final = re.compile(r"(?P<name>[\w.-]+)\s*(?P<range>[^;]*)(?:;(?P<marker>.*))?")


def check(scope: Scope) -> Iterator[Check]:
    """Yield what was found."""
    del scope
    ranges = required()
    if not ranges:
        yield note("libraries", "llama-nb is not installed: the versions that it needs are not known.")
    for name in _NAMED:
        yield library(name, ranges.get(name, ""))
    others = {name: wanted for name, wanted in ranges.items() if name not in _NAMED}
    wrong = [found for name in sorted(others) if (found := library(name, others[name])).state == "problem"]
    yield from wrong
    if others and not wrong:
        yield ok("libraries", f"The other {len(others)} are there in versions that llama-nb takes.")
    yield hidden(Path.cwd())


def required(extra: str = "") -> dict[str, str]:
    """Return names and version ranges that llama-nb declares: what it always needs, or an extra does."""
    try:
        lines = importlib.metadata.requires("llama-nb") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = {}
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        wanted = re.search(r"""extra == ['"](\w+)['"]""", match["marker"] or "")
        if (wanted[1] if wanted else "") == extra:
            found[match["name"].replace("-", "_").lower()] = match["range"].strip()
    return found


def version_of(name: str) -> str | None:
    """Return the installed version of a library, None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def library(name: str, wanted: str) -> Check:
    """Judge the installed version of one library."""
    version = version_of(name)
    command = f'pip install -U "{name}{wanted}"'
    if version is None:
        return problem(name, f"It is missing; llama-nb needs {name}{wanted}.", command)
    if not in_range(version, wanted):
        return problem(name, f"{version} is installed; llama-nb needs {wanted}.", command)
    return ok(name, f"{version}.")


def in_range(version: str, wanted: str) -> bool:
    """Return whether a version is in a range such as ">=5"; what cannot be understood is."""
    try:
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(wanted).contains(version, prereleases=True)
    except (ImportError, ValueError):
        return True


def hidden(folder: Path, names: Sequence[str] = _HIDEABLE) -> Check:
    """Look for files that Python would import in a library's place: those beside the notebook come first."""
    found: Mapping[str, str] = {
        name: str(spec.origin)
        for name in names
        if (spec := PathFinder.find_spec(name, [str(folder)])) is not None and spec.origin
    }
    if found:
        first = next(iter(found))
        return problem(
            "names",
            f"A file or folder {first!r} beside the notebook takes the place of the library {first}.",
            f"Rename {first}.py, then restart the kernel.",
            ", ".join(found.values()),
        )
    return ok("names", "No file beside the notebook hides a library.")
