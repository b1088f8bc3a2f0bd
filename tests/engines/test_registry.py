"""What is opened is an Engine, and says what it can do."""

import pytest

from llama_nb.core.errors import EngineError
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.engines.base import Engine
from tests.engines.opening import LILY, open_folder, run


def test_an_engine_over_loaded_weights_keeps_the_contract(stories):
    assert isinstance(stories, Engine)
    assert stories.name == "stories260K"
    assert stories.context == 512
    assert stories.capabilities.logprobs
    assert not stories.capabilities.images
    assert stories.busy() is None
    assert stories.is_special(1)
    assert not stories.is_special(300)


def test_closing_gives_back_the_caches_and_refuses_further_work(stories260k):
    engine = open_folder(stories260k)
    run(engine, LILY, key="main", max_tokens=3, seed=1)
    assert engine.cached_tokens("main", engine.prompt(Request(LILY)).ids) > 0
    engine.forget("main")
    assert engine.cached_tokens("main", engine.prompt(Request(LILY)).ids) == 0
    run(engine, LILY, key="main", max_tokens=3, seed=1)
    engine.raise_state()
    assert engine.cached_tokens("main", engine.prompt(Request(LILY)).ids) == 0
    run(engine, LILY, key="main", max_tokens=3, seed=1)
    assert engine.close() > 10_000
    with pytest.raises(EngineError, match="closed"):
        next(engine.stream(Request(LILY), StopFlag()))


def test_an_engine_that_is_let_go_frees_its_module(stories260k):
    import gc
    import weakref

    engine = open_folder(stories260k)
    run(engine, LILY, key="main", max_tokens=3, seed=1)
    module = weakref.ref(engine._module)
    del engine
    gc.collect()
    assert module() is None
