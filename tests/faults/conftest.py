"""A copy of a real model that a test may break, on a machine with 8 GB free and no network."""

from pathlib import Path

import pytest

from llama_nb.runtime import devices
from tests.faults.broken_models import copy_model


@pytest.fixture
def model(tmp_path: Path, stories260k: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a copy of stories260K; the working directory is the folder above it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(devices, "available_memory", lambda device="cpu": 8_000_000_000)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked a question"))
    return copy_model(stories260k, tmp_path / "model")
