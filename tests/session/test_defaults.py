"""Which sampling parameters hold: the call's, the session's, the model's, ours."""

from collections.abc import Iterator

import pytest

from llama_nb.core.errors import SamplingError
from llama_nb.core.sampling import Sampling
from llama_nb.runtime import settings
from llama_nb.session.defaults import resolve
from tests.session.fakes import FakeEngine, fake_model


@pytest.fixture(autouse=True)
def _no_settings() -> Iterator[None]:
    settings.clear_sampling()
    yield
    settings.clear_sampling()


def test_ours_where_nobody_says_anything() -> None:
    assert resolve({}, {}, 8192) == Sampling(max_tokens=512)
    assert resolve({}, {}, 1024).max_tokens == 256


def test_the_models_own_then_the_sessions_then_the_calls() -> None:
    generation = {"do_sample": True, "temperature": 0.8, "top_p": 0.7, "top_k": 40, "max_new_tokens": 99}
    chosen = resolve({}, generation, 8192)
    assert (chosen.temperature, chosen.top_p, chosen.top_k, chosen.max_tokens) == (0.8, 0.7, 40, 99)
    settings.set_sampling("temperature", "0.2")
    assert resolve({}, generation, 8192).temperature == 0.2
    assert resolve({"temperature": 1}, generation, 8192).temperature == 1
    settings.clear_sampling("temperature")
    assert resolve({}, generation, 8192).temperature == 0.8


def test_do_sample_false_is_greedy_and_nonsense_in_the_file_is_ignored() -> None:
    assert resolve({}, {"do_sample": False, "temperature": 0.6}, 100).greedy
    assert resolve({}, {"temperature": -3, "top_p": "x", "top_k": True}, 100) == Sampling(max_tokens=25)


def test_max_tokens_none_lets_the_context_decide() -> None:
    assert resolve({"max_tokens": None}, {}, 100).max_tokens is None


def test_settings_are_checked_before_they_are_kept() -> None:
    settings.set_sampling("top_p", 0.5)
    with pytest.raises(SamplingError, match="outside its range"):
        settings.set_sampling("top_p", 1.5)
    with pytest.raises(SamplingError, match="Did you mean 'top_p'"):
        settings.set_sampling("topp", 0.1)
    assert settings.get_sampling_overrides() == {"top_p": 0.5}


def test_the_reply_records_what_was_used() -> None:
    settings.set_sampling("temperature", 0.3)
    m = fake_model(FakeEngine(context=400), generation={"top_p": 0.8})
    reply = m.chat("x", top_k=5)
    assert reply.sampling == Sampling(temperature=0.3, top_p=0.8, top_k=5, max_tokens=100)
    assert m.sampling == Sampling(temperature=0.3, top_p=0.8, max_tokens=100)
