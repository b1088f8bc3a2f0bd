"""A real trained base Llama, loaded by its path: its text is exactly transformers' greedy text."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llama_nb.core.errors import UnsupportedError
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from tests.engines.opening import LILY, ids, open_folder, run, text


def test_200_tokens_are_those_of_transformers_generate(stories260k: Path):
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(stories260k).eval()
    tokenizer = AutoTokenizer.from_pretrained(stories260k)
    prompt = tokenizer(LILY, return_tensors="pt").input_ids
    expected = model.generate(prompt, max_new_tokens=200, do_sample=False)[0, prompt.shape[1] :].tolist()

    engine = open_folder(stories260k)
    events = run(engine, LILY, temperature=0, max_tokens=200)
    assert ids(events) == expected
    assert text(events) == tokenizer.decode(expected, skip_special_tokens=True)
    assert text(events).startswith("She loved to play outside in the park.")
    usage = events[-1].finish.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (prompt.shape[1], len(expected))
    engine.close()


def test_it_says_that_it_is_a_base_model(stories260k: Path):
    engine = open_folder(stories260k)
    request = Request((Message("user", "Tell me a story."),), Sampling())
    with pytest.raises(UnsupportedError, match="is a base model") as caught:
        next(engine.stream(request, StopFlag()))
    assert "%%llama complete" in str(caught.value)
    assert list(run(engine, "Once", max_tokens=2, seed=1))
    engine.close()
