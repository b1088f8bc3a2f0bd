"""Sampling parameters as controls of a page, and the line that does what a page did."""

import json
from collections.abc import Iterator

import pytest

from llama_nb.core.errors import LlamaError
from llama_nb.core.events import SamplingChanged, subscribe
from llama_nb.core.sampling import GROUPS, RANGES, STAGES, Sampling
from llama_nb.magics.commands import set as set_verb
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call
from llama_nb.runtime import settings
from llama_nb.session import controls
from tests.session.fakes import FakeEngine, fake_model


@pytest.fixture(autouse=True)
def _no_settings() -> Iterator[None]:
    settings.clear_sampling()
    yield
    settings.clear_sampling()


def typed(line: str) -> None:
    """Run a `%llama set` line as somebody who types it would."""
    parser = VerbParser("set")
    set_verb.add_arguments(parser)
    set_verb.run(parser.parse_line(line.removeprefix("%llama set")), Call.__new__(Call))


@pytest.mark.parametrize("name", RANGES)
def test_each_numeric_parameter_has_a_slider_within_what_is_allowed(name: str) -> None:
    (made,) = controls.controls(Sampling(), Sampling(), [name])
    limits = RANGES[name]
    assert limits.low <= made["low"] < made["high"] <= limits.high
    assert made["step"] > 0
    assert made["scale"] == "linear" or made["low"] > 0
    for value in (made["low"], made["high"], *([made["off"]] if made["can_be_off"] else [])):
        Sampling(**{name: value})
    json.dumps(made, allow_nan=False)


def test_off_is_where_a_stage_is_not_in_the_chain() -> None:
    made = controls.controls(Sampling(), Sampling(), controls.NUMERIC)
    off = {one["name"]: one["off"] for one in made if one["can_be_off"]}
    assert Sampling(**off) == Sampling(temperature=1, top_p=1)


def test_the_six_core_ones_come_by_default_and_say_why_they_are_idle() -> None:
    made = controls.controls(Sampling(temperature=0), Sampling())
    assert [one["name"] for one in made] == list(GROUPS["Sampling"])
    idle = {one["name"]: one["idle"] for one in made}
    assert "temperature 0" in idle["top_p"]
    assert idle["temperature"] == ""


def test_the_state_of_the_session_is_the_models_defaults_with_what_was_set() -> None:
    model = fake_model(FakeEngine())
    settings.set_sampling("top_k", 7)
    state = controls.sampling_state(model)
    made = {one["name"]: one for one in state["controls"]}
    assert (made["top_k"]["value"], made["top_k"]["default"]) == (7, 0)
    assert made["max_tokens"]["default"] == model.default_sampling.max_tokens
    assert state["line"] == "%llama set --top-k 7"
    assert "creative" in state["presets"]


LINES = [
    {"temperature": 0.8, "top_p": 0.95},
    {"seed": 3, "max_tokens": 20, "epsilon_cutoff": 3e-5},
    {"order": ("top_p", "temperature")},
    {"stop": ("\n", 'say "x"'), "banned": ("sun",)},
    {"logit_bias": ((5, 2.0), ("sun", -3.5))},
]


@pytest.mark.parametrize("values", LINES, ids=str)
def test_the_line_does_the_same_when_it_is_typed(values: dict[str, object]) -> None:
    line = controls.apply(values)
    held = settings.get_sampling_overrides()
    settings.clear_sampling()
    typed(line)
    assert settings.get_sampling_overrides() == held
    assert {name: held[name] for name in values} == values


def test_applying_changes_everything_once_and_clears_what_it_should() -> None:
    controls.apply({"temperature": 0.1, "top_k": 3})
    heard: list[object] = []
    unsubscribe = subscribe(heard.append)
    line = controls.apply({"preset": "creative", "temperature": 0.9}, clear=["top_k"])
    unsubscribe()
    assert [type(event) for event in heard] == [SamplingChanged]
    held = settings.get_sampling_overrides()
    assert (held["temperature"], held["min_p"]) == (0.9, 0.05)
    assert line.startswith("%llama set --temperature 0.9 ")
    assert controls.apply({}, clear=list(held)) == ""


@pytest.mark.parametrize(
    "values", [{"temperature": -1}, {"temprature": 1}, {"top_p": 0}, {"preset": "creativ"}, {"top_k": "x"}]
)
def test_a_wrong_value_changes_nothing(values: dict[str, object]) -> None:
    controls.apply({"top_k": 3})
    with pytest.raises(LlamaError):
        controls.apply({**values, "min_p": 0.1}, clear=["top_k"])
    assert settings.get_sampling_overrides() == {"top_k": 3}


def test_stages_have_labels_to_read() -> None:
    assert controls.label("top_p") == "top-p"
    assert all("_" not in controls.label(name) for name in STAGES)
