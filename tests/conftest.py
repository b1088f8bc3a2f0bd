"""Fixtures that every layer's tests share: the real models, and how missing ones are treated.

A missing model skips the test with the reason, except where CI=true: there it fails.
"""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _model_folder(name: str, variable: str) -> Path:
    folder = Path(os.environ.get(variable) or ROOT.parent / "shared" / "models" / name)
    if not (folder / "tokenizer.json").is_file():
        reason = f"{folder} is not a model's folder; set {variable} to the folder of {name}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def stories260k() -> Path:
    """Folder of stories260K: a real trained base Llama of 260 thousand parameters."""
    return _model_folder("stories260K", "LLAMA_NB_STORIES260K")


@pytest.fixture(scope="session")
def llama3_tokenizer() -> Path:
    """Folder of the Llama 3.1 tokenizer (128,256 tokens, chat template), without weights."""
    return _model_folder("llama3-tokenizer", "LLAMA_NB_LLAMA3_TOKENIZER")


@pytest.fixture(scope="session")
def cria() -> Path:
    """Folder of the bundled chat model."""
    return ROOT / "llama_nb" / "bundled" / "cria"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `full` unless `-m` asks for it."""
    if config.option.markexpr:
        return
    heavy = [item for item in items if item.get_closest_marker("full")]
    if heavy:
        config.hook.pytest_deselected(items=heavy)
        items[:] = [item for item in items if not item.get_closest_marker("full")]
