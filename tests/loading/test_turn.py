"""Loads at the same time, and what an interrupted one may not leave behind in torch and transformers."""

import threading
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from llama_nb.core.errors import LoadCancelled
from llama_nb.core.stop import StopFlag
from llama_nb.loading import turn
from llama_nb.loading.open import load_checked
from llama_nb.loading.weights import release


def test_loads_of_many_threads_follow_each_other(stories260k: Path) -> None:
    tie, said, stops = PreTrainedModel.tie_weights, [], [StopFlag() for _ in range(6)]

    def work(number: int, stop: StopFlag) -> None:
        try:
            said.append(release(load_checked(stories260k, quant="nf4" if number % 2 else None, stop=stop)))
        except LoadCancelled:
            said.append("cancelled")

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(stops)]
    for thread in threads:
        thread.start()
    stops[3].set()
    for thread in threads:
        thread.join(120)
    assert len(said) == 6
    assert PreTrainedModel.tie_weights is tie
    assert not turn.is_taken()


def test_one_thread_may_take_its_turn_again() -> None:
    with turn.turn(None, "a"), turn.turn(None, "b"):
        assert turn.is_taken()
    assert not turn.is_taken()


def test_what_an_interrupted_clean_up_leaves_is_put_back() -> None:
    def replaceable() -> tuple[object, ...]:
        own = PreTrainedModel
        return own.tie_weights, own.init_weights, torch.linspace, torch.nn.init.normal_

    @turn.undisturbed()
    def interrupted() -> None:
        PreTrainedModel.tie_weights = PreTrainedModel.init_weights = lambda self: None
        torch.linspace = torch.nn.init.normal_ = lambda *_: None
        torch.set_default_dtype(torch.bfloat16)
        raise KeyboardInterrupt

    before = replaceable()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert replaceable() == before
    assert torch.get_default_dtype() == torch.float32
