"""A model written as GGUF: another writer's bytes, and the same logits and tokens when it is loaded."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader

from llama_nb import bundled
from llama_nb.core.errors import ConvertError, LoadCancelled
from llama_nb.core.events import Progress, captured
from llama_nb.core.stop import StopFlag
from llama_nb.loading import gguf_output, gguf_vocabulary, gguf_write
from llama_nb.loading.check import check
from llama_nb.loading.gguf_file import read_gguf
from llama_nb.loading.gguf_model import check_gguf
from llama_nb.loading.open import load_checked
from llama_nb.loading.tokenizer import read_tokenizer
from tests.gguf_models import write_gguf
from tests.models import edit_json, write_random_llama, write_random_mixture

LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
}  # fmt: skip


def logits(source: str | Path) -> torch.Tensor:
    loaded = load_checked(source, dtype="float32", device="cpu")
    ids = torch.arange(3, 43).unsqueeze(0)
    with torch.no_grad():
        return loaded.module(ids).logits


def convert(folder: Path, path: Path, kind: str = "F32") -> gguf_write.Written:
    return gguf_write.write_gguf(check(folder), path, kind)


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


@pytest.fixture(scope="module")
def exact(stories260k: Path) -> torch.Tensor:
    return logits(stories260k)


# Largest differences of logits that were measured: 0, 0.0094, 0.070 and 0.23, of logits up to 20.
@pytest.mark.parametrize(
    ("kind", "error", "within"),
    [("F32", 0, 0), ("F16", 3e-4, 0.02), ("BF16", 3e-3, 0.15), ("Q8_0", 8e-3, 0.5)],
)
def test_logits_come_back(
    tmp_path: Path, stories260k: Path, exact: torch.Tensor, kind: str, error: float, within: float
) -> None:
    written = convert(stories260k, tmp_path / "m.gguf", kind)
    assert (written.type, written.bytes) == (kind, (tmp_path / "m.gguf").stat().st_size)
    assert written.error is not None
    assert error / 3 <= written.error <= error
    off = float((logits(tmp_path / "m.gguf") - exact).abs().max())
    assert within / 10 <= off <= within
    assert read_gguf(tmp_path / "m.gguf").type == kind


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
def test_tensors_are_those_of_another_writer(tmp_path: Path, stories260k: Path, kind: str) -> None:
    folder = write_random_llama(tmp_path / "m", tokenizer_from=stories260k, heads=4, kv_heads=2, hidden=64)
    convert(folder, tmp_path / "ours.gguf", kind)
    ours = {one.name: one for one in GGUFReader(tmp_path / "ours.gguf").tensors}
    theirs = {one.name: one for one in GGUFReader(write_gguf(folder, tmp_path / "t.gguf", kind=kind)).tensors}
    assert ours.keys() == theirs.keys()
    for name, one in theirs.items():
        assert ours[name].tensor_type == one.tensor_type, name
        assert ours[name].shape.tolist() == one.shape.tolist()
        assert np.array_equal(ours[name].data, one.data), name


def test_the_bundled_model_keeps_its_tokens_template_and_numbers(tmp_path: Path) -> None:
    folder = bundled.folder("cria")
    written = convert(folder, tmp_path / "cria.gguf", gguf_write.stored_type(check(folder)))
    assert (written.type, written.error) == ("F16", 0)
    assert "llama.cpp has no name for the way in which cria cuts text" in written.notes[0]
    loaded = load_checked(tmp_path / "cria.gguf", dtype="float32")
    assert loaded.chat_template == (folder / "chat_template.jinja").read_text()
    assert torch.equal(logits(tmp_path / "cria.gguf"), logits("cria"))


def test_the_llama_3_tokenizer_is_named_as_llama_cpp_knows_it(llama3_tokenizer: Path) -> None:
    words = gguf_vocabulary.vocabulary(read_tokenizer(llama3_tokenizer), 128_300, "llama")
    assert (words.kind, words.pre, words.note, words.whole) == ("gpt2", "llama-bpe", "", None)
    assert len(words.tokens) == 128_300
    assert words.tokens[128_299] == "[PAD128299]"
    assert (words.types[9906], words.types[128_009], words.types[128_299]) == (1, 3, 5)
    named = {key: words.tokens[number] for key, number in words.ids.items()}
    assert named["bos"] == "<|begin_of_text|>"
    assert (named["eot"], named["eom"]) == ("<|eot_id|>", "<|eom_id|>")
    assert words.begins
    assert not words.ends


def test_the_scaling_of_llama_3_1_and_a_head_of_its_own(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "m", tokenizer_from=stories260k, hidden=128, heads=2, kv_heads=1)
    edit_json(folder / "config.json", rope_parameters=LLAMA3)
    convert(folder, tmp_path / "m.gguf")
    assert read_gguf(tmp_path / "m.gguf").config()["rope_parameters"] == LLAMA3
    assert torch.equal(logits(tmp_path / "m.gguf"), logits(folder))


def test_shards_are_read_one_by_one(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "m", tokenizer_from=stories260k, shard_bytes=100_000, tie=True)
    assert len(list(folder.glob("*.safetensors"))) > 2
    convert(folder, tmp_path / "m.gguf")
    assert check_gguf(tmp_path / "m.gguf").config["tie_word_embeddings"]
    assert torch.equal(logits(tmp_path / "m.gguf"), logits(folder))


def test_rows_that_do_not_fit_the_blocks_stay_in_half_precision(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "m", tokenizer_from=stories260k, hidden=64, ffn=172)
    convert(folder, tmp_path / "m.gguf", "Q8_0")
    types = {name: one.type for name, one in read_gguf(tmp_path / "m.gguf").tensors.items()}
    assert types["blk.0.ffn_down.weight"] == "F16"
    assert types["blk.0.ffn_up.weight"] == "Q8_0"
    assert types["output_norm.weight"] == "F32"


def changed(folder: Path, change: Any) -> Path:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name] = change(tensors[name])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def put(value: float) -> Any:
    def change(weights: torch.Tensor) -> torch.Tensor:
        weights[3, 5] = value
        return weights

    return change


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (float("nan"), "Q8_0", r"model\.layers\.1\.mlp\.up_proj\.weight holds values that are no numbers"),
        (70_000.0, "F16", r"up_proj\.weight has values up to 7e\+04; F16 ends at 65,504"),
    ],
)
def test_weights_that_a_type_cannot_hold(
    tmp_path: Path, stories260k: Path, value: float, kind: str, says: str
) -> None:
    folder = changed(write_random_llama(tmp_path / "m", tokenizer_from=stories260k), put(value))
    with pytest.raises(ConvertError, match=says):
        convert(folder, tmp_path / "m.gguf", kind)
    assert names(tmp_path) == ["m"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_act": "gelu"}, "the activation 'gelu'"),
        ({"rope_parameters": LLAMA3 | {"low_freq_factor": 2.0}}, "turns its heads in a way of its own"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "a way of its own"),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused(
    tmp_path: Path, stories260k: Path, changes: dict[str, Any], says: str
) -> None:
    folder = write_random_llama(tmp_path / "m", tokenizer_from=stories260k)
    edit_json(folder / "config.json", **changes)
    with pytest.raises(ConvertError, match=says):
        convert(folder, tmp_path / "m.gguf")


def test_other_kinds_are_refused(tmp_path: Path, stories260k: Path) -> None:
    mixture = write_random_mixture(tmp_path / "mix", "mixtral", tokenizer_from=stories260k)
    with pytest.raises(ConvertError, match="mix is a mixtral; plain Llamas"):
        convert(mixture, tmp_path / "m.gguf")
    convert(stories260k, tmp_path / "s.gguf")
    with pytest.raises(ConvertError, match="a GGUF file already"):
        gguf_write.write_gguf(check_gguf(tmp_path / "s.gguf"), tmp_path / "m.gguf", "F16")


def test_another_kind_of_tokenizer_is_refused(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "m", tokenizer_from=stories260k)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["byte_fallback"] = False
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ConvertError, match="a tokenizer of kind BPE with a Sequence normalizer"):
        convert(folder, tmp_path / "m.gguf")


def test_a_full_disk_is_seen_before(
    tmp_path: Path, stories260k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=500_000)
    monkeypatch.setattr(gguf_output.shutil, "disk_usage", lambda _: free)
    (tmp_path / "m.gguf").write_text("what was there")
    with pytest.raises(ConvertError, match=r"m\.gguf takes 1 MB, and 0 MB are free"):
        convert(stories260k, tmp_path / "m.gguf")
    assert (tmp_path / "m.gguf").read_text() == "what was there"


def test_a_disk_that_fills_while_it_is_written_leaves_what_was_there(
    tmp_path: Path, stories260k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gguf import GGUFWriter

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GGUFWriter, "write_tensor_data", full)
    (tmp_path / "m.gguf").write_text("what was there")
    with pytest.raises(ConvertError, match=r"m\.gguf cannot be written: No space left on device"):
        convert(stories260k, tmp_path / "m.gguf")
    assert names(tmp_path) == ["m.gguf"]
    assert (tmp_path / "m.gguf").read_text() == "what was there"


def test_bytes_that_change_on_the_disk_are_noticed(
    tmp_path: Path, stories260k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = gguf_write.read_gguf

    def read_damaged(path: Path) -> Any:
        found = header(path)
        with path.open("rb+") as file:
            file.seek(found.tensors["blk.2.ffn_up.weight"].offset + 100)
            file.write(b"\x01\x02")
        return found

    monkeypatch.setattr(gguf_write, "read_gguf", read_damaged)
    with pytest.raises(ConvertError, match=r"read back of blk\.2\.ffn_up\.weight"):
        convert(stories260k, tmp_path / "m.gguf")
    assert names(tmp_path) == []


def test_a_stop_leaves_nothing(tmp_path: Path, stories260k: Path) -> None:
    stop = StopFlag()

    def after_some(event: Any) -> None:
        if isinstance(event, Progress) and event.done > 1000:
            stop.set("stopped")

    with captured(after_some), pytest.raises(LoadCancelled):
        gguf_write.write_gguf(check(stories260k), tmp_path / "m.gguf", "F32", stop)
    assert names(tmp_path) == []


def test_large_matrices_are_encoded_in_parts(
    tmp_path: Path, stories260k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(stories260k, tmp_path / "whole.gguf", "Q8_0")
    monkeypatch.setattr(gguf_write, "_CHUNK", 1000)
    convert(stories260k, tmp_path / "parts.gguf", "Q8_0")
    assert (tmp_path / "whole.gguf").read_bytes() == (tmp_path / "parts.gguf").read_bytes()


def test_the_file_can_be_read_by_others(tmp_path: Path, stories260k: Path) -> None:
    before = os.umask(0o022)
    try:
        convert(stories260k, tmp_path / "m.gguf")
    finally:
        os.umask(before)
    assert (tmp_path / "m.gguf").stat().st_mode & 0o777 == 0o644
