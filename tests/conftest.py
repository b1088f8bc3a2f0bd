"""Fixtures that every layer's tests share: the real models, and how missing ones are treated.

A missing model skips the test with the reason, except where CI=true: there it fails.
"""

import asyncio
import os
import random
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _beside() -> Iterator[Path]:
    """Yield where the shared models may be: beside this checkout, and beside the one it was cloned from."""
    yield ROOT.parent
    ask = ["git", "config", "--get", "remote.origin.url"]
    origin = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    if origin and Path(origin).is_absolute():
        yield Path(origin).parent


def _model_folder(name: str, variable: str) -> Path:
    asked = os.environ.get(variable)
    folders = [Path(asked)] if asked else [parent / "shared" / "models" / name for parent in _beside()]
    for folder in folders:
        if (folder / "tokenizer.json").is_file():
            return folder
    reason = f"no {name} in {' or '.join(map(str, folders))}; set {variable} to its folder"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def stories260k() -> Path:
    """Folder of stories260K: a real trained base Llama of 260 thousand parameters."""
    return _model_folder("stories260K", "LLAMA_NB_STORIES260K")


@pytest.fixture(scope="session")
def llama3_tokenizer() -> Path:
    """Folder of the Llama 3.1 tokenizer (128,256 tokens, chat template), without weights."""
    return _model_folder("llama3-tokenizer", "LLAMA_NB_LLAMA3_TOKENIZER")


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Collects interrupts that come when no reply is on its way, so that none hits the test itself.

    And there is no cell: the shell of another test in this process would be in the same one for ever, and the
    second interrupt in a cell leaves its loop.
    """
    monkeypatch.setattr("llama_nb.runtime.cell.number", lambda: None)
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    yield came
    signal.signal(signal.SIGINT, before)


def pytest_configure() -> None:
    """Take SIGINT back where a shell started us in the background: it ignores it for us and our kernels."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have a test draw the same seeds each time: what a model says at a temperature is no throw of dice."""
    secrets.randbits = random.Random(item.nodeid).getrandbits


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Hide the event loop of an open browser from tests of anything else, which may run loops of their own.

    Playwright leaves its loop running in this thread between two calls, as long as the browser is open.
    """
    loop = None if item.get_closest_marker("ui") else asyncio._get_running_loop()
    if loop is not None:
        asyncio._set_running_loop(None)
    try:
        return (yield)
    finally:
        if loop is not None:
            asyncio._set_running_loop(loop)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `full` unless `-m` asks for it, and begin with what takes longest."""
    items.sort(key=lambda item: item.get_closest_marker("ui") is None)
    if config.option.markexpr:
        return
    heavy = [item for item in items if item.get_closest_marker("full")]
    if heavy:
        config.hook.pytest_deselected(items=heavy)
        items[:] = [item for item in items if not item.get_closest_marker("full")]
