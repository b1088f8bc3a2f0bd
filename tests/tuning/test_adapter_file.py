"""Adapters on the disk: read by plain peft, whole or not at all, and refused where they do not belong."""

import errno
import json
import os
import shutil
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

from llama_nb.core.errors import AdapterError, LoadError
from llama_nb.tuning import whole_folder
from llama_nb.tuning.adapter_file import CONFIG, FACTS, TENSORS, put_in, read_adapter, save_adapter
from llama_nb.tuning.adapter_source import find_adapter
from tests.models import edit_json
from tests.tuning.adapted import IDS, adapters_of, add_trained, logits, tiny_llama


@pytest.fixture
def adapters():
    return adapters_of(tiny_llama())


@pytest.fixture
def saved(adapters, tmp_path):
    """An adapter on the disk; it is in the module, too, and on."""
    add_trained(adapters, "persona", target="all-linear")
    adapters.use("persona")
    return save_adapter(tmp_path / "persona", adapters, "persona")


def rewrite(folder, change):
    """Change the tensors of an adapter's file."""
    tensors = load_file(folder / TENSORS)
    save_file(change(tensors), folder / TENSORS)


# --- round trips --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "dora", "rslora"])
def test_plain_peft_loads_it_and_answers_the_same(adapters, tmp_path, method):
    from peft import PeftModel

    add_trained(adapters, "keys", method=method, target="q_proj,down_proj")
    adapters.use("keys")
    expected = logits(adapters.module)
    save_adapter(tmp_path / "a", adapters, "keys")
    plain = PeftModel.from_pretrained(tiny_llama(), str(tmp_path / "a")).eval()
    with torch.no_grad():
        assert torch.equal(plain(IDS).logits, expected)


@pytest.mark.parametrize("method", ["lora", "dora", "rslora"])
def test_what_plain_peft_saved_is_loaded(adapters, tmp_path, method):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=r".*\.(q_proj|up_proj)", use_dora=method == "dora",
        use_rslora=method == "rslora", rank_pattern={"layers.1.self_attn.q_proj": 2},
        alpha_pattern={"up_proj": 3}, task_type="CAUSAL_LM", init_lora_weights=False,
    )  # fmt: skip
    plain = get_peft_model(tiny_llama(), config).eval()
    with torch.no_grad():
        expected = plain(IDS).logits
    plain.save_pretrained(str(tmp_path / "theirs"))
    notes = put_in(read_adapter(tmp_path / "theirs"), adapters, "theirs")
    assert "does not say which base" in notes[0]
    adapters.use("theirs")
    assert torch.equal(logits(adapters.module), expected)
    # And once more, through files of ours.
    save_adapter(tmp_path / "ours", adapters, "theirs")
    put_in(read_adapter(tmp_path / "ours"), adapters, "again")
    adapters.use("again")
    assert torch.equal(logits(adapters.module), expected)


def test_it_says_what_it_belongs_to_and_what_it_was_trained_with(saved):
    facts = json.loads((saved / FACTS).read_text())
    assert facts["base"] == {"name": "tiny", "fingerprint": "0123456789abcdef"}
    assert facts["recipe"]["rank"] == 4
    file = read_adapter(saved)
    assert (file.name, file.base_name, file.fingerprint) == ("persona", "tiny", "0123456789abcdef")
    assert file.origin.recipe["target"] == "all-linear"


def test_a_half_precision_base_gets_it_to_the_last_bit(tmp_path):
    half = adapters_of(tiny_llama(dtype=torch.bfloat16))
    add_trained(half, "a")
    half.use("a")
    expected = logits(half.module)
    save_adapter(tmp_path / "a", half, "a")
    other = adapters_of(tiny_llama(dtype=torch.bfloat16))
    put_in(read_adapter(tmp_path / "a"), other, "a")
    other.use("a")
    assert torch.equal(logits(other.module), expected)


# --- where it does not belong -------------------------------------------------------------------------------


def test_another_base_of_the_same_shape_is_refused_with_both_names(saved):
    other = adapters_of(tiny_llama(seed=1), "fedcba9876543210", "giant")
    before = logits(other.module)
    with pytest.raises(AdapterError) as caught:
        put_in(read_adapter(saved), other, "persona")
    assert caught.value.message == (
        "The adapter persona was trained on tiny (01234567), and this is giant (fedcba98): other weights."
    )
    assert "--force" in caught.value.hint
    assert other.names == ()
    assert torch.equal(logits(other.module), before)
    notes = put_in(read_adapter(saved), other, "persona", force=True)
    assert notes == [
        "The adapter persona was trained on tiny (01234567), and this is giant (fedcba98): other weights. "
        "It was put on even so."
    ]


@pytest.mark.parametrize(
    ("named", "outcome"),
    [
        ("meta-llama/Llama-3.2-1B-Instruct", "is not known"),
        ("unsloth/llama-3.2-1b-instruct-unsloth-bnb-4bit", "is not known"),
        (None, "does not say which base"),
        ("meta-llama/Llama-3.2-1B", None),
    ],
)
def test_without_our_file_the_name_decides(saved, named, outcome):
    (saved / FACTS).unlink()
    edit_json(saved / CONFIG, base_model_name_or_path=named)
    other = adapters_of(tiny_llama(), name="meta-llama/Llama-3.2-1B-Instruct")
    if outcome is None:
        with pytest.raises(AdapterError, match=r"names meta-llama/Llama-3\.2-1B as its base"):
            put_in(read_adapter(saved), other, "x")
    else:
        assert outcome in put_in(read_adapter(saved), other, "x")[0]


def test_another_size_is_refused_even_with_force(saved):
    other = adapters_of(tiny_llama(hidden=64))
    with pytest.raises(AdapterError, match=r"does not fit tiny: .*is 4 x 64, and 4 x 128 would fit"):
        put_in(read_adapter(saved), other, "x", force=True)
    assert other.names == ()
    assert not hasattr(other.module, "peft_config")


# --- what a file may say ------------------------------------------------------------------------------------


def test_a_pickle_is_refused(saved):
    (saved / TENSORS).rename(saved / "adapter_model.bin")
    with pytest.raises(AdapterError, match=r"in a pickle only \(adapter_model.bin\).*refused"):
        read_adapter(saved)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "IA3"}, "of the kind 'IA3'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"r": "4"}, "r is '4'"),
        ({"lora_alpha": True}, "lora_alpha is 'True'"),
        ({"alpha_pattern": {"(a+)+$": 1}}, "alpha_pattern"),
    ],
)
def test_what_is_no_lora_is_refused(saved, changes, said):
    edit_json(saved / CONFIG, **changes)
    with pytest.raises(AdapterError) as caught:
        read_adapter(saved)
    assert said in caught.value.message


def test_what_a_file_calls_itself_is_no_more_than_a_name(saved):
    for name in ("<script>alert(1)</script>", "../../etc", "a\x1b[31m", 7, "off"):
        edit_json(saved / FACTS, name=name)
        assert read_adapter(saved).name == ""
    edit_json(saved / FACTS, name="other", base=[1], run={}, recipe="x")
    file = read_adapter(saved)
    assert (file.name, file.fingerprint, file.origin.run, file.origin.recipe) == ("other", "", "", None)


def test_a_pattern_that_takes_for_ever_is_never_matched(saved, adapters):
    edit_json(saved / CONFIG, target_modules="(.*a+)+b", rank_pattern={"(.+)+x": 3})
    put_in(read_adapter(saved), adapters, "again")
    adapters.use("persona")
    expected = logits(adapters.module)
    adapters.use("again")
    assert torch.equal(logits(adapters.module), expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {**t, "model.norm.weight": torch.ones(2)}, "no part of a LoRA"),
        (lambda t: {}, "holds no tensor"),
        (lambda t: dict(list(t.items())[1:]), "is damaged"),
        (lambda t: {key.replace("layers.1", "layers.7"): v for key, v in t.items()}, "has a layer"),
        (lambda t: {key: value * float("nan") for key, value in t.items()}, "no numbers"),
        (lambda t: {key: value.int() for key, value in t.items()}, "I32"),
    ],
)
def test_tensors_that_are_not_its_own(saved, change, said):
    rewrite(saved, change)
    other = adapters_of(tiny_llama())
    with pytest.raises(AdapterError) as caught:
        put_in(read_adapter(saved), other, "x")
    assert said in caught.value.message
    assert other.names == ()


def test_files_that_are_cut_missing_or_no_json(saved):
    content = (saved / TENSORS).read_bytes()
    (saved / TENSORS).write_bytes(content[:-5])
    with pytest.raises(AdapterError, match="is cut"):
        read_adapter(saved)
    (saved / TENSORS).unlink()
    with pytest.raises(AdapterError, match=f"has no {TENSORS}"):
        read_adapter(saved)
    (saved / CONFIG).write_text("[1]")
    with pytest.raises(AdapterError, match="is damaged"):
        read_adapter(saved)
    (saved / CONFIG).unlink()
    with pytest.raises(AdapterError, match="is missing"):
        read_adapter(saved)


def test_a_link_that_leads_out_is_refused(saved, tmp_path):
    (saved / TENSORS).rename(tmp_path / "elsewhere.safetensors")
    (saved / TENSORS).symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises((AdapterError, LoadError), match="leads out"):
        read_adapter(saved)


# --- whole or not at all ------------------------------------------------------------------------------------


def test_modes_follow_the_umask(adapters, tmp_path):
    add_trained(adapters, "a")
    before = os.umask(0o027)
    try:
        folder = save_adapter(tmp_path / "a", adapters, "a")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o640}
    assert {each.name for each in folder.iterdir()} >= {CONFIG, TENSORS, FACTS}
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_saving_again_replaces_it_and_nothing_else_is_touched(saved, adapters, tmp_path):
    add_trained(adapters, "other", seed=9)
    save_adapter(saved, adapters, "other")
    assert read_adapter(saved).name == "other"
    assert [each.name for each in tmp_path.iterdir()] == ["persona"]
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "thesis.txt").write_text("years")
    with pytest.raises(AdapterError, match="holds something else"):
        save_adapter(notes, adapters, "other")
    (tmp_path / "file").write_text("x")
    with pytest.raises(AdapterError, match="holds something else"):
        save_adapter(tmp_path / "file", adapters, "other")
    assert (notes / "thesis.txt").read_text() == "years"
    (tmp_path / "empty").mkdir()
    save_adapter(tmp_path / "empty", adapters, "other")


@pytest.mark.parametrize("when", ["before", "within", "at the end"])
def test_a_full_disk_keeps_the_old_one(saved, adapters, tmp_path, monkeypatch, when):
    content = (saved / TENSORS).read_bytes()
    add_trained(adapters, "other", seed=9)

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    rename = type(tmp_path).rename

    def rename_but_the_new_one(path, target):
        return rename(path, target) if path == saved or path.name.endswith(".old") else full()

    with monkeypatch.context() as patched:
        if when == "before":
            patched.setattr(whole_folder.shutil, "disk_usage", lambda _: (9, 9, 0))
        elif when == "within":
            patched.setattr("safetensors.torch.save_file", full)
        else:
            patched.setattr(type(tmp_path), "rename", rename_but_the_new_one)
        with pytest.raises(AdapterError, match=r"disk") as caught:
            save_adapter(saved, adapters, "other")
    assert "free" in (caught.value.message + caught.value.hint).lower()
    assert (saved / TENSORS).read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["persona"]


# --- where it is --------------------------------------------------------------------------------------------


def test_adapters_are_found_by_folder_run_and_name(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    shutil.copytree(saved, run / "adapter")
    (run / "recipe.json").write_text("{}")
    assert find_adapter("persona").folder == find_adapter(saved).folder.relative_to(tmp_path)
    for spec in ("runs/first", "first", run):
        found = find_adapter(spec)
        assert (found.folder.resolve(), found.name) == (run / "adapter", "first")
    with pytest.raises(AdapterError, match="no adapter 'frist'") as caught:
        find_adapter("frist")
    assert caught.value.hint == "Did you mean 'first'?"
    with pytest.raises(AdapterError):
        find_adapter(" ")


def test_a_hub_id_without_a_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(LoadError, match="someone/persona is not in the cache"):
        find_adapter("someone/persona")
