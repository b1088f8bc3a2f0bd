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


def test_work_on_the_module_runs_on_its_worker_and_waits_for_its_turn(stories):
    import threading

    seen = []

    def work(module, stopped):
        seen.append((threading.current_thread().name, stories.busy(), stopped()))
        return module.config.num_hidden_layers

    assert stories.examine(work, "a look inside", StopFlag()) == 5
    assert seen == [("llama-nb worker of stories260K", "a look inside", None)]
    assert stories.busy() is None


def test_an_error_in_work_on_the_module_reaches_the_caller(stories):
    def work(_module, _stopped):
        raise ZeroDivisionError("no tokens")

    with pytest.raises(EngineError, match="ZeroDivisionError: no tokens"):
        stories.examine(work, "a look inside", StopFlag())


def test_work_that_was_stopped_before_its_turn_gives_nothing(stories):
    flag = StopFlag()
    flag.set("never mind")
    begun = []
    result = stories.examine(lambda module, stopped: begun.append(stopped()), "a look inside", flag)
    assert result is None
    assert begun in ([], ["never mind"])
