"""One engine over stories260K for the whole run; tests use cache keys of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llama_nb.engines.transformers_engine import TransformersEngine
from tests.engines.opening import open_folder


@pytest.fixture(scope="session")
def stories(stories260k: Path) -> Iterator[TransformersEngine]:
    engine = open_folder(stories260k)
    yield engine
    engine.close()
