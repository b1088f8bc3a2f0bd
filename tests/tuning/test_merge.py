"""Merged weights are the sums they should be, whatever the method, in files like the base's."""

import json

import pytest
import torch
from safetensors.torch import load_file

from llama_nb.core.errors import AdapterError
from llama_nb.loading.check import check
from llama_nb.loading.weights import read, release
from llama_nb.tuning import merge
from llama_nb.tuning.adapters import AdapterSet
from llama_nb.tuning.merge import logits_behind, take_updates, write_merged
from tests.models import write_random_llama
from tests.tuning.adapted import add_trained

TEXTS = [tuple(range(3, 40)), (1, 2, 3)]


@pytest.fixture(scope="module")
def base(tmp_path_factory, stories260k):
    folder = tmp_path_factory.mktemp("base") / "small"
    checked = check(write_random_llama(folder, tokenizer_from=stories260k, layers=3))
    (folder / "LICENSE").write_text("as is")
    return checked


@pytest.fixture
def loaded(base):
    found = read(base, device="cpu")
    yield found
    release(found)


def merged_logits(folder):
    found = read(check(folder), device="cpu")
    try:
        return logits_behind(found.module, TEXTS)
    finally:
        release(found)


def adapted(loaded, base, mix, **recipes):
    adapters = AdapterSet(loaded.module, base_name=base.name, base_fingerprint=base.fingerprint)
    for seed, (name, recipe) in enumerate(recipes.items()):
        add_trained(adapters, name, seed=seed, **recipe)
    adapters.mix(mix)
    return logits_behind(loaded.module, TEXTS), take_updates(adapters, mix)


@pytest.mark.parametrize(
    ("mix", "recipes"),
    [
        ({"a": 1.0}, {"a": {}}),
        ({"a": 1.0}, {"a": {"method": "rslora", "target": "all-linear"}}),
        ({"a": 1.0}, {"a": {"method": "dora", "target": "all-linear"}}),
        ({"a": 0.7, "b": -0.3}, {"a": {}, "b": {"rank": 2, "target": "q_proj,up_proj"}}),
    ],
)
def test_the_merged_model_is_the_base_with_its_adapters(base, loaded, tmp_path, mix, recipes):
    plain = logits_behind(loaded.module, TEXTS)
    expected, updates = adapted(loaded, base, mix, **recipes)
    write_merged(base, updates, tmp_path)
    for found, wanted, without in zip(merged_logits(tmp_path), expected, plain, strict=True):
        assert torch.allclose(found, wanted, atol=2e-5)
        assert not torch.allclose(wanted, without, atol=1e-3)
    assert (tmp_path / "LICENSE").read_text() == "as is"
    assert (tmp_path / "config.json").read_bytes() == (base.folder / "config.json").read_bytes()


def test_nothing_else_changes_and_large_ones_are_cut(base, loaded, tmp_path, monkeypatch):
    _, updates = adapted(loaded, base, {"a": 1.0}, a={"target": "q_proj"})
    monkeypatch.setattr(merge, "SHARD_BYTES", 60_000)
    write_merged(base, updates, tmp_path)
    before = load_file(base.folder / "model.safetensors")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert index.keys() == before.keys()
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert set(files) == set(index.values())
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    after = {name: tensor for file in files for name, tensor in load_file(tmp_path / file).items()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"model.layers.{layer}.self_attn.q_proj.weight" for layer in range(3)}
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}
    assert check(tmp_path).fingerprint != base.fingerprint


def test_a_half_precision_base_stays_one(tmp_path, stories260k):
    folder = write_random_llama(tmp_path / "half", tokenizer_from=stories260k, dtype="bfloat16")
    base = check(folder)
    found = read(base, dtype="bfloat16", device="cpu")
    _, updates = adapted(found, base, {"a": 1.0}, a={})
    release(found)
    (tmp_path / "out").mkdir()
    write_merged(base, updates, tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    path = "model.layers.0.self_attn.q_proj"
    weight = load_file(folder / "model.safetensors")[f"{path}.weight"].float()
    update = updates[path][0]
    exact = weight + update.scale * (update.up @ update.down)
    assert torch.equal(tensors[f"{path}.weight"], exact.bfloat16())


def test_what_cannot_be_merged_into(base, loaded, tmp_path):
    _, updates = adapted(loaded, base, {"a": 1.0}, a={})
    with pytest.raises(AdapterError, match=r"have no tensor model\.layers\.9\.x\.weight"):
        write_merged(base, {"model.layers.9.x": updates["model.layers.0.self_attn.q_proj"]}, tmp_path)
    assert list(tmp_path.iterdir()) == []
