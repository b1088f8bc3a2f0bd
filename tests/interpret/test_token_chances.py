"""Chances of a text's tokens in one pass, against the distributions at each place."""

import math

import pytest

import llama_nb as llama
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.interpret.token_chances import token_chances

TEXT = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park with Mom."


@pytest.fixture(scope="module")
def stories(stories260k):
    model = llama.load(str(stories260k), name="stories for chances")
    yield model
    model.unload()


def test_each_token_is_as_likely_as_where_it_was_to_be_chosen(stories):
    ids = stories.engine.tokenize(TEXT)
    assert len(ids) > 33, "the text must span several pieces"
    found = []
    token_chances(stories.loaded.module, ids, lambda: None, found.extend)
    assert len(found) == len(ids) - 1
    for place in (1, 32, 33, len(ids) - 1):
        there = stories.engine.next_token(Request(tuple(ids[:place])), (), StopFlag())
        shifted = there.logits.astype("float64") - there.logits.max()
        logprobs = shifted - math.log(sum(math.exp(value) for value in shifted))
        logprob, entropy = found[place - 1]
        assert logprob == pytest.approx(logprobs[ids[place]], abs=1e-3)
        assert entropy == pytest.approx(-sum(math.exp(v) * v for v in logprobs), abs=1e-3)


def test_it_stops_between_pieces(stories):
    ids = stories.engine.tokenize(TEXT)
    found = []
    token_chances(stories.loaded.module, ids, lambda: "stopped" if found else None, found.extend)
    assert len(found) == 32
