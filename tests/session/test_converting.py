"""`llama_nb.convert` and `m.convert`: what is meant, where it goes, what is said of it, what is refused."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

import llama_nb
from llama_nb.core.errors import AdapterError, ConvertError, LoadError
from llama_nb.loading.check import check
from llama_nb.loading.open import load_checked
from llama_nb.session import converting
from tests.loading.test_gguf_write import names
from tests.models import edit_json, write_random_llama


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(here: Path) -> Iterator[llama_nb.Model]:
    loaded = llama_nb.load("cria", name="for-converting")
    yield loaded
    if loaded.alive:
        loaded.unload(force=True)


@pytest.fixture
def uncompared(monkeypatch: pytest.MonkeyPatch) -> None:
    """No logits are compared: that takes most of the time of a small model."""
    monkeypatch.setattr(converting, "_COMPARED", 1000)


def watched(monkeypatch: pytest.MonkeyPatch, value: bool) -> None:
    monkeypatch.setattr(converting, "detect", lambda: SimpleNamespace(watched=value))


def save_adapter(base: Path, folder: Path, seed: int = 0) -> Path:
    module = load_checked(base, dtype="float32").module
    torch.manual_seed(seed)
    adapted = get_peft_model(
        module, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    adapted.save_pretrained(folder)
    return folder


def test_a_loaded_model_loses_nothing_unless_asked(model: llama_nb.Model, here: Path) -> None:
    made = model.convert()
    assert made.path == here / "cria-F16.gguf"
    assert (made.format, made.type, made.error) == ("gguf", "F16", 0)
    assert made.logits is not None
    assert (made.logits.largest, made.logits.same) == (0, made.logits.tokens)
    again = llama_nb.load("./cria-F16.gguf", name="again")
    try:
        ask: dict[str, Any] = {"temperature": 0, "max_tokens": 12}
        assert again.chat("Who are you?", **ask).text == model.chat("Who are you?", **ask).text
    finally:
        again.unload()


def test_what_is_said_of_it(model: llama_nb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model.convert(type="q8_0", out="small")
    watched(monkeypatch, True)
    lines = repr(made).splitlines()
    assert lines[0] == "./small.gguf: Q8_0, 3.05 MB."
    assert lines[1].startswith(
        "Read back: every byte is there. Weights are off by 0.54 %. Logits are off by "
    )
    assert lines[-1] == "Next: %llama load ./small.gguf"
    watched(monkeypatch, False)
    lines = repr(made).splitlines()
    assert lines[0] == "small.gguf: Q8_0, 3.05 MB."
    assert lines[1] == "Read back: every byte is there. Weights are off by 0.54 %."


def test_a_file_that_is_there_stays(model: llama_nb.Model, here: Path, uncompared: None) -> None:
    (here / "cria-F16.gguf").write_text("mine")
    with pytest.raises(ConvertError, match=r"\./cria-F16\.gguf is there already\.\nGive another"):
        model.convert()
    assert (here / "cria-F16.gguf").read_text() == "mine"
    assert model.convert(force=True).bytes == (here / "cria-F16.gguf").stat().st_size > 1000


def test_a_folder_for_it_and_no_logits_of_large_models(here: Path, uncompared: None) -> None:
    (here / "out").mkdir()
    made = llama_nb.convert("cria", out="out")
    assert made.path == here / "out" / "cria-F16.gguf"
    assert made.logits is None


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"to": "ggufs"}, ConvertError, "to is 'ggufs'.*\nDid you mean 'gguf'"),
        ({"type": "Q4"}, ConvertError, "type is 'Q4'; it must be one of F32"),
        ({"typ": "F16"}, ConvertError, "convert has no option 'typ'.*\nDid you mean 'type'"),
        ({"out": "no/where/m.gguf"}, ConvertError, "no/where does not exist"),
        ({"source": "./nope"}, LoadError, "'./nope' does not exist"),
        ({"source": "cria-moe"}, ConvertError, "cria-moe is a llama4_text"),
        ({"adapter": "pirate"}, AdapterError, "no adapter 'pirate'"),
    ],
)
def test_what_is_wrong_is_said(
    here: Path, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        llama_nb.convert(**{"source": "cria", **options})
    assert names(here) == []


def test_without_a_model_there_is_nothing_to_convert(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_nb.session.registry._current", None)
    with pytest.raises(llama_nb.LlamaError, match="No model is loaded"):
        llama_nb.convert()


def test_an_interrupt_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gguf import GGUFWriter

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(GGUFWriter, "write_tensor_data", interrupted)
    with pytest.raises(KeyboardInterrupt):
        llama_nb.convert("cria")
    assert names(here) == []


def test_an_adapters_folder_finds_its_base_by_name(here: Path, stories260k: Path) -> None:
    base = write_random_llama(here / "m", tokenizer_from=stories260k)
    folder = save_adapter(base, here / "persona")
    edit_json(folder / "adapter_config.json", base_model_name_or_path=str(base))
    made = llama_nb.convert(folder)
    assert (made.path.name, made.type) == ("persona-lora-F32.gguf", "F32")
    assert made.next == "llama-cli -m m.gguf --lora {path}"
    stored = load_file(folder / "adapter_model.safetensors")
    found = {one.name: one.data for one in GGUFReader(made.path).tensors}
    value = stored["base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight"].numpy()
    assert (found["blk.1.attn_v.weight.lora_a"] == value).all()


def test_an_adapter_of_other_weights_is_refused_naming_both(here: Path, stories260k: Path) -> None:
    one = write_random_llama(here / "one", tokenizer_from=stories260k, seed=1)
    two = write_random_llama(here / "two", tokenizer_from=stories260k, seed=2)
    folder = save_adapter(one, here / "persona")
    print_one = check(one).fingerprint
    (folder / "llama_nb.json").write_text(f'{{"base": {{"name": "one", "fingerprint": "{print_one}"}}}}')
    with pytest.raises(ConvertError, match=rf"was trained on one \({print_one[:8]}\); two \(\w+\) has other"):
        llama_nb.convert(folder, base=two)
    assert llama_nb.convert(folder, base=two, force=True).path.is_file()
    assert llama_nb.convert(two, adapter=folder, force=True, out="b").path.name == "b.gguf"


def test_an_adapter_in_memory_and_a_run_by_its_name(
    model: llama_nb.Model, here: Path, uncompared: None
) -> None:
    folder = save_adapter(model.checked.folder, here / "runs" / "pirate" / "adapter")
    facts = f'{{"name": "pirate", "base": {{"name": "cria", "fingerprint": "{model.fingerprint}"}}}}'
    (folder / "llama_nb.json").write_text(facts)
    model.adapters.load("runs/pirate")
    one = model.convert(adapter="pirate")
    assert one.path == here / "pirate-lora-F32.gguf"
    two = llama_nb.convert("pirate", out="two")
    assert one.path.read_bytes() == two.path.read_bytes()
    assert {each.name for each in GGUFReader(one.path).tensors} > {"blk.5.attn_q.weight.lora_b"}
    assert one.notes == ("Its base for llama.cpp: %llama convert cria --to gguf",)
    model.adapters.use("pirate")
    assert any(note.startswith("pirate is not in the file: merge it first") for note in model.convert().notes)


def test_an_adapter_without_a_base_asks_for_one(here: Path, stories260k: Path) -> None:
    folder = save_adapter(write_random_llama(here / "m", tokenizer_from=stories260k), here / "persona")
    edit_json(folder / "adapter_config.json", base_model_name_or_path="someone/else")
    with pytest.raises(ConvertError, match=r"(?s)The base of persona, someone/else, is not here.*--base"):
        llama_nb.convert(folder)
    edit_json(folder / "adapter_config.json", base_model_name_or_path=None)
    with pytest.raises(AdapterError, match=r"(?s)persona does not say which base it.*--base"):
        llama_nb.convert(folder)


def test_pickles_become_safetensors_in_a_process_of_their_own(here: Path, stories260k: Path) -> None:
    folder = write_random_llama(here / "old", tokenizer_from=stories260k)
    expected = load_file(folder / "model.safetensors")
    torch.save(expected, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    made = llama_nb.convert("./old", to="safetensors")
    assert made.path == Path("old") / "model.safetensors"
    assert all(torch.equal(load_file(made.path)[name], value) for name, value in expected.items())
    assert "Next: %llama load ./old" in repr(made)


def test_the_type_of_a_finer_kind_needs_the_native_quantiser(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.fspath(here))
    with pytest.raises(ConvertError, match="pip install llama-cpp-python"):
        llama_nb.convert("cria", type="Q4_K_M")
