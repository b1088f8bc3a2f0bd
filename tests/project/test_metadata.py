"""One version, one list of dependencies, and layers that hold when the code runs."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import llama_nb

HEAVY = ["torch", "transformers", "ipywidgets", "anywidget", "gradio"]
LIGHT = ["core", "runtime", "catalog", "planner", "render"]


@pytest.fixture(scope="module")
def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def test_one_version(root: Path, pyproject: dict[str, Any]) -> None:
    package = json.loads((root / "labextension" / "package.json").read_text(encoding="utf-8"))
    newest = re.search(r"^## ([\d.]+)", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert {pyproject["project"]["version"], package["version"], newest.group(1)} == {llama_nb.__version__}


def test_every_direct_dependency_has_a_tested_version(root: Path, pyproject: dict[str, Any]) -> None:
    pinned = re.findall(r"^([\w.-]+)==", (root / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    wanted = [
        *pyproject["build-system"]["requires"],
        *pyproject["project"]["dependencies"],
        *pyproject["project"]["optional-dependencies"]["lab"],
        *pyproject["dependency-groups"]["test"],
    ]
    names = {re.split(r"[><=\[ ]", line)[0].lower().replace("_", "-") for line in wanted}
    assert names <= {name.lower().replace("_", "-") for name in pinned}


@pytest.mark.parametrize("layer", LIGHT)
def test_a_light_layer_imports_nothing_heavy(root: Path, layer: str) -> None:
    folder = root / "llama_nb" / layer
    modules = [f"llama_nb.{layer}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"]
    program = f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
    program += f"print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
