"""Checkpoints: whole or not there, verified by hash, plain peft on disk, no pickles."""

import json
import os
import shutil

import pytest
import torch

from llama_nb.core.errors import AdapterError, TrainingError
from llama_nb.tuning import checkpoint
from llama_nb.tuning.state import TrainingState

NAME = "model.layers.0.self_attn.q_proj.lora_A.weight"
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": {"q_proj"}}


def a_state(step, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (4, 8)
    return TrainingState(
        {
            f"weights/{NAME}": torch.randn(shape, generator=generator),
            f"moment1/{NAME}": torch.randn(shape, generator=generator),
            f"moment2/{NAME}": torch.rand(shape, generator=generator, dtype=torch.float64),
            "random/torch": torch.get_rng_state(),
            "random/python": torch.arange(7),
        },
        {"step": step, "steps": 100, "micro_batch": 3 * step, "lr": 1e-4, "best": 0.1 + 0.2, "nothing": None},
    )


def save(folder, step, **more):
    return checkpoint.save(folder, a_state(step, step), fingerprint="abc", adapter_config=CONFIG, **more)


def equal(one, other):
    return (
        one.numbers == other.numbers
        and {name: tensor.dtype for name, tensor in one.tensors.items()}
        == {name: tensor.dtype for name, tensor in other.tensors.items()}
        and all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
    )


def test_a_state_comes_back_to_the_last_bit(tmp_path):
    save(tmp_path, 20)
    found, notes = checkpoint.newest_whole(tmp_path)
    assert (found.step, found.fingerprint, notes) == (20, "abc", [])
    assert equal(found.read(), a_state(20, 20))


def test_every_weight_comes_back_where_there_is_no_adapter(tmp_path):
    checkpoint.save(tmp_path, a_state(5), fingerprint="abc")
    found, _ = checkpoint.newest_whole(tmp_path)
    assert not (found.path / "adapter_model.safetensors").exists()
    assert equal(found.read(), a_state(5))


def test_no_file_is_a_pickle_and_all_have_the_modes_of_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        path = save(tmp_path, 20).path
    finally:
        os.umask(before)
    assert {file.suffix for file in path.iterdir()} == {".json", ".safetensors"}
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o644}
    assert json.loads((path / "adapter_config.json").read_text())["target_modules"] == ["q_proj"]


def test_the_newest_whole_one_is_taken_and_the_damage_said(tmp_path):
    for step in (10, 20, 30, 40):
        save(tmp_path, step)
    with (tmp_path / "step-000040" / "training.safetensors").open("r+b") as file:
        file.truncate(100)
    (tmp_path / "step-000030" / "manifest.json").write_text("{")
    found, notes = checkpoint.newest_whole(tmp_path)
    assert found.step == 20
    assert notes == [
        "The checkpoint step-000040 is damaged: training.safetensors is not what was written.",
        "The checkpoint step-000030 is damaged: manifest.json is missing or no JSON.",
        "Going on from step 20, the last whole checkpoint.",
    ]


def test_one_flipped_bit_is_noticed(tmp_path):
    path = save(tmp_path, 10).path / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert checkpoint.newest_whole(tmp_path)[0] is None


@pytest.mark.parametrize(
    "manifest",
    [
        {"step": 10, "base": "abc", "files": {}},
        {"step": "10", "base": "abc", "files": {"training.safetensors": ""}},
        {"step": 10, "base": "abc", "files": {"../../secret": "", "training.safetensors": ""}},
        [],
    ],
)
def test_a_manifest_of_somebody_else_is_refused(tmp_path, manifest):
    path = save(tmp_path, 10).path
    (path / "manifest.json").write_text(json.dumps(manifest))
    found, notes = checkpoint.newest_whole(tmp_path)
    assert found is None
    assert "No checkpoint is whole" in notes[-1]


def test_a_file_elsewhere_is_never_read(tmp_path):
    path = save(tmp_path, 10).path
    manifest = json.loads((path / "manifest.json").read_text())
    (tmp_path / "secret").write_text("x")
    manifest["files"]["../secret"] = "0"
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert "names a file elsewhere" in checkpoint.newest_whole(tmp_path)[1][0]


def test_a_damaged_one_is_written_anew(tmp_path):
    path = save(tmp_path, 10).path
    (path / "manifest.json").unlink()
    save(tmp_path, 10)
    assert checkpoint.newest_whole(tmp_path)[0].step == 10


def test_a_full_disk_is_said_before_and_the_old_one_stays(tmp_path, monkeypatch):
    save(tmp_path, 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(AdapterError, match="the disk has"):
        save(tmp_path, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000010"]


def test_a_disk_that_fills_up_while_it_writes_leaves_nothing_half(tmp_path, monkeypatch):
    save(tmp_path, 10)

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write_json", full)
    with pytest.raises(AdapterError, match="the disk is full"):
        save(tmp_path, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000010"]


def test_old_ones_go_and_the_best_stays(tmp_path):
    for step, loss in ((10, 3.0), (20, 1.5), (30, 1.75), (40, 2.0), (50, None)):
        save(tmp_path, step, validation_loss=loss)
        checkpoint.prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000020", "step-000040", "step-000050"]


def test_what_a_kill_left_behind_is_swept(tmp_path):
    save(tmp_path, 10)
    (tmp_path / ".step-000020-abcd").mkdir()
    (tmp_path / ".step-000020-abcd" / "half").write_text("x")
    checkpoint.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000010"]
    checkpoint.sweep(tmp_path / "nowhere")


def test_another_base_is_named(tmp_path):
    save(tmp_path, 10)
    found, _ = checkpoint.newest_whole(tmp_path)
    checkpoint.check_base(found, "abc", "cria")
    with pytest.raises(TrainingError, match="abc; cria has xyz"):
        checkpoint.check_base(found, "xyz", "cria")
