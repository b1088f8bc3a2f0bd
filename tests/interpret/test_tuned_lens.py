"""A tuned lens from disk: the library's layout, what translators change, and each file that is refused."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from llama_nb.core.errors import LoadError
from llama_nb.interpret.logit_lens import read_depths
from llama_nb.interpret.tuned_lens import load_tuned_lens
from tests.interpret.test_logit_lens import IDS, tiny

CONFIG = {"base_model_name_or_path": "some/llama", "d_model": 32, "num_hidden_layers": 3, "bias": True}


@pytest.fixture(scope="module")
def module():
    return tiny()


def tensors(layers=3, hidden=32, scale=0.1):
    made = torch.Generator().manual_seed(1)
    found = {}
    for layer in range(layers):
        found[f"{layer}.weight"] = scale * torch.randn(hidden, hidden, generator=made)
        found[f"{layer}.bias"] = scale * torch.randn(hidden, generator=made)
    return found


def write(folder, parameters=None, **config):
    folder.mkdir(exist_ok=True)
    save_file(tensors() if parameters is None else parameters, folder / "params.safetensors")
    kept = {key: value for key, value in {**CONFIG, **config}.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(kept), encoding="utf-8")
    return folder


@torch.inference_mode()
def test_states_go_through_their_translator_first(tmp_path, module):
    lens = load_tuned_lens(write(tmp_path / "mine"), module, "abc")
    assert repr(lens) == "TunedLens(mine: 3 translators)"
    found = read_depths(module, IDS, range(20), tracked=range(97), translators=lens)
    states = module(torch.tensor([IDS]), output_hidden_states=True).hidden_states
    held = tensors()
    for depth in range(3):
        state = states[depth][0, :20]
        moved = state + state @ held[f"{depth}.weight"].T + held[f"{depth}.bias"]
        want = module.lm_head(module.model.norm(moved)).softmax(-1)
        np.testing.assert_allclose(found.tracked[depth], want.numpy(), atol=1e-5)
    want = module.lm_head(states[-1][0, :20]).softmax(-1)
    np.testing.assert_allclose(found.tracked[-1], want.numpy(), atol=1e-5)


def test_zeros_are_the_logit_lens_and_a_bias_may_be_missing(tmp_path, module):
    zeros = {f"layer_translators.{n}.weight": torch.zeros(32, 32) for n in range(3)}
    lens = load_tuned_lens(write(tmp_path / "zero", zeros) / "params.safetensors", module, "abc")
    plain = read_depths(module, IDS, [5, 9])
    tuned = read_depths(module, IDS, [5, 9], translators=lens)
    np.testing.assert_array_equal(tuned.chances, plain.chances)


def test_the_hash_of_the_unembedding_is_compared(tmp_path, module):
    shown = np.array_str(module.lm_head.weight.detach().numpy(), precision=1)
    own = hashlib.sha256(shown.encode()).hexdigest()
    load_tuned_lens(write(tmp_path / "own", unembed_hash=own), module, "abc")
    with pytest.raises(LoadError, match="another unembedding"):
        load_tuned_lens(write(tmp_path / "other", unembed_hash="0" * 64), module, "abc")


REFUSED = [
    ({"d_model": 64}, "d_model 64; this model has 32"),
    ({"num_hidden_layers": 4}, "num_hidden_layers 4; this model has 3"),
    ({"num_hidden_layers": ...}, "num_hidden_layers None"),
    ({"fingerprint": "another"}, "made for the weights 'another'"),
]


@pytest.mark.parametrize(("config", "named"), REFUSED)
def test_a_lens_of_another_model_is_refused(tmp_path, module, config, named):
    with pytest.raises(LoadError, match=named):
        load_tuned_lens(write(tmp_path / "lens", **config), module, "abc")


def test_wrong_tensors_are_refused(tmp_path, module):
    wide = {**tensors(), "1.weight": torch.zeros(16, 32)}
    with pytest.raises(LoadError, match=r"1\.weight .* \(16, 32\), not \(32, 32\)"):
        load_tuned_lens(write(tmp_path / "wide", wide), module, "abc")
    few = {name: value for name, value in tensors().items() if not name.startswith("2")}
    with pytest.raises(LoadError, match=r"no tensor 2\.weight"):
        load_tuned_lens(write(tmp_path / "few", few), module, "abc")
    bad = {**tensors(), "1.weight": torch.full((32, 32), torch.nan)}
    with pytest.raises(LoadError, match=r"Translator 1 .* NaN"):
        load_tuned_lens(write(tmp_path / "bad", bad), module, "abc")


def test_a_pickle_is_never_opened(tmp_path, module):
    folder = tmp_path / "pickled"
    folder.mkdir()
    torch.save(tensors(), folder / "params.pt")
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    for path in (folder, folder / "params.pt"):
        with pytest.raises(LoadError, match="pickle") as refused:
            load_tuned_lens(path, module, "abc")
        assert "weights_only=True" in str(refused.value)
    (folder / "params.pt").rename(folder / "params.safetensors")
    with pytest.raises(LoadError):
        load_tuned_lens(folder, module, "abc")


def test_missing_and_damaged_files_are_named(tmp_path, module):
    with pytest.raises(LoadError, match="There is no tuned lens at"):
        load_tuned_lens(tmp_path / "nothing", module, "abc")
    folder = write(tmp_path / "lens")
    (folder / "config.json").write_text("[1", encoding="utf-8")
    with pytest.raises(LoadError, match="not a JSON object"):
        load_tuned_lens(folder, module, "abc")
    (folder / "config.json").unlink()
    with pytest.raises(LoadError, match=r"no config\.json"):
        load_tuned_lens(folder, module, "abc")
    save_file(tensors(), folder / "second.safetensors")
    with pytest.raises(LoadError, match="has 2 safetensors files"):
        load_tuned_lens(folder, module, "abc")
