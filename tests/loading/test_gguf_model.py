"""Models from GGUF files: the same logits and words as the originals, and nothing left when it fails."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import llama_nb as llama
from llama_nb import bundled
from llama_nb.core.errors import LoadCancelled, LoadError
from llama_nb.core.events import Progress, captured
from llama_nb.core.stop import StopFlag
from llama_nb.loading import gguf_model
from llama_nb.loading.gguf_model import check_gguf
from llama_nb.loading.open import load_checked
from llama_nb.loading.room import Room, Wish, make_room
from llama_nb.loading.source import resolve
from llama_nb.loading.weights import read, release
from tests.gguf_models import write_gguf
from tests.models import edit_json, write_random_llama

# How far logits of up to 14 may be from the original's. What F16 and Q8_0 round is not the loading's doing.
TOLERANCE = {"F32": 1e-5, "F16": 0.02, "BF16": 0.2, "Q8_0": 0.4}


def logits(module: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = module(torch.arange(5, 45)[None]).logits
    return found


@pytest.mark.parametrize("kind", TOLERANCE)
def test_the_logits_are_the_originals(tmp_path: Path, stories260k: Path, kind: str) -> None:
    original = logits(AutoModelForCausalLM.from_pretrained(stories260k, dtype=torch.float32))
    loaded = load_checked(write_gguf(stories260k, tmp_path / "m.gguf", kind=kind))
    assert (logits(loaded.module) - original).abs().max() <= TOLERANCE[kind]
    assert (loaded.dtype, loaded.quant, loaded.checked.parameters) == ("float32", None, 260_032)
    assert loaded.bytes == 4 * 260_032 + 4 * 8  # and the rotary frequencies


def test_heads_groups_and_an_untied_head(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(
        tmp_path / "m", tokenizer_from=stories260k, hidden=96, heads=6, kv_heads=2, tie=False
    )
    original = logits(AutoModelForCausalLM.from_pretrained(folder))
    loaded = load_checked(write_gguf(folder, tmp_path / "m.gguf"))
    assert (logits(loaded.module) - original).abs().max() <= 1e-6


def test_the_scaling_of_llama_3(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "m", tokenizer_from=stories260k, hidden=128, heads=2, kv_heads=1)
    rope = {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    }  # fmt: skip
    edit_json(folder / "config.json", rope_parameters=rope)
    original = AutoModelForCausalLM.from_pretrained(folder)
    loaded = load_checked(write_gguf(folder, tmp_path / "m.gguf"))
    assert torch.equal(loaded.module.model.rotary_emb.inv_freq, original.model.rotary_emb.inv_freq)
    assert (logits(loaded.module) - logits(original)).abs().max() <= 1e-6


def test_a_chat_says_the_same(tmp_path: Path) -> None:
    folder = bundled.folder("cria")
    path = write_gguf(folder, tmp_path / "m.gguf", whole_tokenizer=True)
    messages = ("What is a token?", "And in one word?")
    said = []
    for source in ("cria", path):
        model = llama.load(source)
        said.append([model.chat(message, max_tokens=48, temperature=0) for message in messages])
        model.unload()
    assert [reply.text for reply in said[0]] == [reply.text for reply in said[1]]
    ends = [[reply.finish.reason for reply in replies if reply.finish] for replies in said]
    assert ends == [["end", "end"], ["end", "end"]]


def test_a_base_model_continues_the_same(tmp_path: Path, stories260k: Path) -> None:
    path = write_gguf(stories260k, tmp_path / "m.gguf")
    said = []
    for source in (stories260k, path):
        model = llama.load(source)
        said.append(model.complete("Once upon a time", max_tokens=60, temperature=0).text)
        model.unload()
    assert said[0] == said[1]


def test_what_is_said_of_its_memory(tmp_path: Path, stories260k: Path) -> None:
    small = load_checked(write_gguf(stories260k, tmp_path / "q.gguf", kind="Q8_0"))
    assert small.quant_notes == (
        "q.gguf was de-quantised: Q8_0, 0.33 MB in the file, takes 1.04 MB as float32 in memory. To save "
        "memory, load the model it was made from with --quant.",
    )
    assert load_checked(write_gguf(stories260k, tmp_path / "f.gguf", kind="F16")).quant_notes == ()


def test_unloading_gives_all_of_it_back(tmp_path: Path, stories260k: Path) -> None:
    loaded = load_checked(write_gguf(stories260k, tmp_path / "m.gguf"))
    assert release(loaded) == loaded.bytes
    assert all(parameter.numel() == 0 for parameter in loaded.module.parameters())


def test_half_precision_when_asked(tmp_path: Path, stories260k: Path) -> None:
    loaded = load_checked(write_gguf(stories260k, tmp_path / "m.gguf", kind="Q8_0"), dtype="bfloat16")
    assert {parameter.dtype for parameter in loaded.module.parameters()} == {torch.bfloat16}


def test_large_tensors_are_read_in_parts(
    tmp_path: Path, stories260k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = check_gguf(write_gguf(stories260k, tmp_path / "m.gguf", kind="Q8_0"))
    whole = gguf_model.read_weights(checked, torch.float32, None)
    monkeypatch.setattr(gguf_model, "_CHUNK", 640)
    parts = gguf_model.read_weights(checked, torch.float32, None)
    assert all(torch.equal(parts[name], tensor) for name, tensor in whole.items())


def test_floats_may_be_quantised_and_blocks_not_again(tmp_path: Path, stories260k: Path) -> None:
    loaded = load_checked(write_gguf(stories260k, tmp_path / "f.gguf", kind="F16"), quant="int8-torchao")
    assert loaded.quant == "int8-torchao"
    assert loaded.bytes < 2 * 260_032
    with pytest.raises(LoadError, match=r"q\.gguf is quantised already \(Q8_0\)"):
        load_checked(write_gguf(stories260k, tmp_path / "q.gguf", kind="Q8_0"), quant="int8-torchao")


def test_blocks_are_planned_as_what_they_unpack_to(
    tmp_path: Path, stories260k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fixed bytes, auto quantises nothing and no quantised option is offered where it does not fit."""
    wishes: list[Wish] = []

    def note(config: Any, wish: Wish, spare: int = 0) -> Room:
        wishes.append(wish)
        return make_room(config, wish, spare)

    monkeypatch.setattr("llama_nb.loading.open.make_room", note)
    blocks = write_gguf(stories260k, tmp_path / "q.gguf", kind="Q8_0")
    assert load_checked(blocks, quant="auto").quant is None
    load_checked(write_gguf(stories260k, tmp_path / "f.gguf", kind="F16"))
    assert [wish.weights for wish in wishes] == [4 * 260_032, None]


def test_a_folder_with_one_gguf_is_that_file(tmp_path: Path, stories260k: Path) -> None:
    folder = tmp_path / "stories"
    folder.mkdir()
    write_gguf(stories260k, folder / "tiny.gguf", kind="Q8_0")
    (folder / "README.md").write_text("a card")
    found = resolve(folder)
    assert (found.kind, found.name, found.folder) == ("gguf", "tiny", folder / "tiny.gguf")
    assert load_checked(folder).checked.name == "tiny"
    write_gguf(stories260k, folder / "other.gguf")
    with pytest.raises(LoadError, match=r"holds 2 GGUF files: other\.gguf, tiny\.gguf") as caught:
        load_checked(folder)
    assert "other.gguf`" in caught.value.hint


def test_safetensors_go_before_a_gguf_beside_them(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "both", tokenizer_from=stories260k)
    write_gguf(stories260k, folder / "tiny.gguf")
    assert resolve(folder).kind == "folder"


def test_a_link_that_leads_out_of_the_folder(tmp_path: Path, stories260k: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "tiny.gguf").symlink_to(write_gguf(stories260k, tmp_path / "elsewhere.gguf"))
    with pytest.raises(LoadError, match="leads out"):
        load_checked(tmp_path / "m")


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path, stories260k: Path) -> None:
    first = check_gguf(write_gguf(stories260k, tmp_path / "a.gguf"))
    (tmp_path / "b.gguf").write_bytes((tmp_path / "a.gguf").read_bytes())
    assert check_gguf(tmp_path / "b.gguf").fingerprint == first.fingerprint
    raw = bytearray((tmp_path / "a.gguf").read_bytes())
    raw[-4] ^= 1
    (tmp_path / "b.gguf").write_bytes(raw)
    assert check_gguf(tmp_path / "b.gguf").fingerprint != first.fingerprint


def test_progress_in_bytes(tmp_path: Path, stories260k: Path) -> None:
    path = write_gguf(stories260k, tmp_path / "m.gguf", kind="Q8_0")
    seen: list[Any] = []
    with captured(seen.append):
        load_checked(path)
    assert all(isinstance(event, Progress) for event in seen)
    assert {(event.what, event.total, event.unit) for event in seen} == {
        ("Reading the weights of m", 329_952, "B")
    }
    assert (seen[-1].done, seen[-1].ended) == (329_952, True)


def test_a_stop_ends_the_reading(tmp_path: Path, stories260k: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = check_gguf(write_gguf(stories260k, tmp_path / "m.gguf", kind="Q8_0"))
    stop, before = StopFlag(), gguf_model._floats

    def then_stop(*arguments: Any) -> Any:
        stop.set()
        return before(*arguments)

    monkeypatch.setattr(gguf_model, "_floats", then_stop)
    with pytest.raises(LoadCancelled):
        read(checked, stop=stop)


def test_a_file_that_is_cut_after_the_check(tmp_path: Path, stories260k: Path) -> None:
    path = write_gguf(stories260k, tmp_path / "m.gguf", kind="Q8_0")
    checked = check_gguf(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(LoadError, match="cut while it was read"):
        read(checked)


def _without_layer(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in tensors.items() if ".layers.3." not in name}


def _narrow(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor[:, :32] if "up_proj" in name else tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"keys": {"llama.block_count": 6}}, "9 tensors missing in layer 5. the header says 6 layers"),
        ({"tensors": _without_layer}, "9 tensors missing in layer 3"),
        ({"tensors": _narrow}, "up_proj.weight is 172 x 32 in the weights and 172 x 64 by the header"),
        ({"keys": {"llama.feed_forward_length": 128}}, "intermediate_size: the header says 128"),
        ({"keys": {"llama.vocab_size": 256}}, "512 tokens for an embedding of 256 rows"),
        ({"keys": {"llama.attention.head_count": 2**31}}, "num_attention_heads 2147483648"),
        ({"keys": {"llama.attention.head_count": 0}}, "num_attention_heads 0"),
        ({"keys": {"llama.attention.head_count_kv": 3}}, "8 attention heads over 3 key/value heads"),
        ({"keys": {"llama.rope.dimension_count": 4}}, "rotates 4 of the 8 dimensions"),
        ({"keys": {"general.architecture": "falcon"}}, "of its falcon"),
        ({"keys": {"llama.expert_count": 8}}, "model_type 'mixtral'; this version loads: llama."),
        ({"keys": {"split.count": 2}}, "one of 2 parts"),
        ({"drop": "llama.embedding_length"}, "does not say hidden_size"),
        ({"drop": "tokenizer.ggml.tokens"}, "0 tokens for an embedding"),
    ],
)
def test_what_contradicts_itself_is_refused_before_reading(
    tmp_path: Path, stories260k: Path, changes: dict[str, Any], says: str
) -> None:
    path = write_gguf(stories260k, tmp_path / "tiny.gguf", **changes)
    with pytest.raises(LoadError) as caught:
        load_checked(path)
    assert says in caught.value.message
    assert "tiny.gguf" in str(caught.value)
    assert caught.value.hint


def test_the_library_missing(tmp_path: Path, stories260k: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gguf(stories260k, tmp_path / "m.gguf")
    monkeypatch.setattr(gguf_model, "LIBRARY", "no_such_library")
    with pytest.raises(LoadError, match=r"m\.gguf needs no_such_library: `pip install 'llama-nb\[quant\]'`"):
        load_checked(path)
