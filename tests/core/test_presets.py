"""Presets are sound values with a source."""

import pytest

from llama_nb.core.presets import PRESETS
from llama_nb.core.sampling import Sampling

FAMILIES = ("llama-2", "code-llama", "llama-3", "llama-3.1", "llama-3.2", "llama-3.3", "llama-4")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_valid_and_says_where_it_comes_from(name):
    preset = PRESETS[name]
    assert preset.name == name
    assert Sampling(**preset.values).replace(**preset.values) == Sampling(**preset.values)
    assert preset.source


def test_every_family_has_the_figures_of_metas_example_code():
    for name in FAMILIES:
        assert PRESETS[name].source.startswith("github.com/meta-llama/")
        expected = (0.2, 0.95) if name == "code-llama" else (0.6, 0.9)
        assert (PRESETS[name].values["temperature"], PRESETS[name].values["top_p"]) == expected


def test_ours_go_from_certain_to_varied():
    temperatures = [
        PRESETS[name].values["temperature"] for name in ("deterministic", "precise", "balanced", "creative")
    ]
    assert temperatures == sorted(temperatures)
    assert temperatures[0] == 0


def test_a_preset_cannot_be_changed():
    with pytest.raises(TypeError):
        PRESETS["creative"].values["temperature"] = 2
