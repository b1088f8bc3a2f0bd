"""Training: what may be asked of it, and what is said and kept when it cannot go on.

Each row says what is asked and what the answer must name. What is wrong in a recipe or in data is said before
a folder is made; what goes wrong later leaves a checkpoint from which the run goes on to the last digit, and
a model that answers as before.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import llama_nb as llama
from llama_nb.core.errors import (
    AdapterError,
    DataError,
    LlamaError,
    ModelBusy,
    TrainingError,
    UnsupportedError,
)
from llama_nb.session.model import Model
from llama_nb.tuning import loss
from llama_nb.tuning.run import Run
from tests.faults.broken_models import copy_model
from tests.models import write_random_llama
from tests.tuning.runs import measured, until, until_step

TEXTS = [
    {"text": f"Once upon a time llama number {n} liked to sing about hay, sun and snow."} for n in range(16)
]
CHAT = [{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}]
PAIR = [{"prompt": "2 + 2 is", "completion": "4"}]
RECIPE: dict[str, Any] = {
    "rank": 4, "steps": 8, "batch": 2, "max_tokens": 64, "lr": 1e-3, "dropout": 0.1, "save_every": 2,
    "sample_every": 0, "sample_tokens": 2, "evaluate_every": 0,
}  # fmt: skip
FILES = {
    "empty.jsonl": b"",
    "broken.jsonl": b'{"text": "a b c"}\n' * 16 + b'{"text": "x"\n',
    "column.csv": b"question,wrong\na,b\n",
    "short.csv": b'text\n"never closed\n',
    "pickle.jsonl": b"\x80\x04\x95\x00\xff",
    "page.jsonl": b"<!DOCTYPE html><html><body>Log in</body></html>\n",
    "array.json": b'[{"text": "a"}, 7]',
    "train.parquet": b"PAR1 cut",
    "data.jsonl": b'{"text": "Once upon a time there was a llama."}\n',
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, stories260k: Path) -> Path:
    return copy_model(stories260k, tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def loaded(base: Path) -> Iterator[Model]:
    made = llama.load(base, name="tiny")
    yield made
    if made.alive:
        made.unload(force=True)


def says(model: Model) -> str:
    return model.complete("Once upon a time", temperature=0, max_tokens=6).text


@pytest.fixture
def m(loaded: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    """The model, which must be as it was when a test is over; adapters that were trained are switched off."""
    monkeypatch.chdir(tmp_path)
    before = says(loaded)
    yield loaded
    for run in llama.list_runs():
        if run.state in ("waiting", "running", "paused"):
            run.stop()
    loaded.adapters.off()
    assert says(loaded) == before
    for name in loaded.adapters.names:
        loaded.adapters.delete(name)
    assert not loaded.loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.loaded.module.parameters())


@pytest.fixture
def asked(loaded: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The model, of which nothing is wanted that it could do."""
    monkeypatch.chdir(tmp_path)
    return loaded


def train(model: Model, data: Any = TEXTS, **changes: Any) -> Run:
    return model.train(data, **{"name": "tale", **RECIPE, **changes})


# --- refused before there is a run ----------------------------------------------------------------------

OPTIONS: list[tuple[dict[str, Any], type[LlamaError], tuple[str, ...]]] = [
    ({"rank": 0}, TrainingError, ("rank is 0", "1 to 4096")),
    ({"rank": -3}, TrainingError, ("rank is -3",)),
    ({"rank": "wide"}, TrainingError, ("rank is 'wide'", "not a number")),
    ({"rank": 2.5}, TrainingError, ("rank is 2.5", "whole number")),
    ({"rnak": 8}, TrainingError, ("'rnak'", "Did you mean 'rank'")),
    ({"target_modules": "q_proj"}, TrainingError, ("'target_modules'", "'target'")),
    ({"target": "q_prj"}, AdapterError, ("'q_prj'", "q_proj, ", "attention")),
    ({"target": ["q_proj", "ffn_up"]}, AdapterError, ("'ffn_up'", "up_proj")),
    ({"target": ""}, TrainingError, ("target names no layer",)),
    ({"alpha": 0}, TrainingError, ("alpha is 0",)),
    ({"dropout": 1.0}, TrainingError, ("dropout is 1", "0 to 0.9")),
    ({"lr": 0}, TrainingError, ("lr is 0",)),
    ({"lr": -1e-4}, TrainingError, ("lr is -0.0001",)),
    ({"lr": math.nan}, TrainingError, ("lr is nan",)),
    ({"lr": "hot"}, TrainingError, ("lr is 'hot'",)),
    ({"steps": 0}, TrainingError, ("steps is 0",)),
    ({"epochs": 1}, TrainingError, ("both steps=8 and epochs=1",)),
    ({"batch": 0}, TrainingError, ("batch is 0",)),
    ({"accumulate": 0}, TrainingError, ("accumulate is 0",)),
    ({"mask": "asistant"}, TrainingError, ("mask is 'asistant'", "'assistant'")),
    ({"method": "lorra"}, TrainingError, ("method is 'lorra'", "'lora'")),
    ({"schedule": "cosin"}, TrainingError, ("schedule is 'cosin'", "'cosine'")),
    ({"objective": "rlhf"}, TrainingError, ("objective is 'rlhf'", "sft, dpo")),
    ({"validation": -1}, TrainingError, ("validation is -1",)),
    ({"max_tokens": 0}, TrainingError, ("max_tokens is 0",)),
    ({"report_to": "wandbb"}, TrainingError, ("'wandbb'", "'wandb'")),
    ({"name": "../../etc"}, TrainingError, ("'../../etc'",)),
    ({"name": "off"}, TrainingError, ("'off'",)),
    ({"name": ""}, TrainingError, ("''",)),
    ({"format": "alpca"}, DataError, ("'alpca'", "'alpaca'")),
]
DATA: list[tuple[Any, type[LlamaError], tuple[str, ...]]] = [
    ("empty.jsonl", DataError, ("empty.jsonl is empty",)),
    ("broken.jsonl", DataError, ("broken.jsonl, line 17", "column 13")),
    ("column.csv", DataError, ("column.csv, line 2", "question, wrong", "prompt_completion")),
    ("pickle.jsonl", DataError, ("pickle.jsonl",)),
    ("page.jsonl", DataError, ("page.jsonl", "line 1")),
    ("array.json", DataError, ("array.json, entry 2", "number")),
    ("train.parquet", DataError, ("train.parquet",)),
    ("dta.jsonl", DataError, ("'dta.jsonl'", "data.jsonl")),
    (".", DataError, (". is a folder", "data.jsonl")),
    ("", TrainingError, ("no data",)),
    (None, TrainingError, ("no data",)),
    (7, DataError, ("int",)),
    ([], DataError, ("no examples",)),
    ([{"text": ""}, {"text": "  "}], TrainingError, ("no token to train on",)),
    ([{"prompt": "a", "completion": ""}], TrainingError, ("no token to train on",)),
    (CHAT, UnsupportedError, ("data[0]", "no chat template", "cria")),
    ([{"messages": [{"role": "banana", "content": "x"}]}], DataError, ("data[0]", "'banana'", "assistant")),
    ([{"messages": [{"role": "user"}]}], DataError, ("data[0]", "content")),
    ([3.5], DataError, ("data[0]", "number")),
    ([{"prompt": "a", "chosen": "b", "rejected": "c"}], DataError, ("data[0]", "dpo")),
]


def check_refused(model: Model, error: type[LlamaError], words: tuple[str, ...], **wish: Any) -> None:
    with pytest.raises(error) as caught:
        train(model, **wish)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert caught.value.hint
    assert len(text.splitlines()) <= 12
    assert not Path("runs").exists()
    assert model.adapters.names == ()


@pytest.mark.parametrize(("options", "error", "words"), OPTIONS, ids=lambda value: str(value)[:40])
def test_what_is_wrong_in_a_recipe(
    asked: Model, options: dict[str, Any], error: type[LlamaError], words: tuple[str, ...]
) -> None:
    check_refused(asked, error, words, **options)


@pytest.mark.parametrize(("data", "error", "words"), DATA, ids=lambda value: str(value)[:40])
def test_what_is_wrong_in_data(
    asked: Model, data: Any, error: type[LlamaError], words: tuple[str, ...]
) -> None:
    for name, content in FILES.items():
        Path(name).write_bytes(content)
    check_refused(asked, error, words, data=data)


def test_all_tokens_masked_shows_a_sample_and_its_mask(asked: Model) -> None:
    beyond = [{"prompt": "Once upon a time there was a llama who sang. " * 12, "completion": "Yes."}]
    check_refused(
        asked, TrainingError, ("no token to train on", "Once upon", "max_tokens"), data=beyond, max_tokens=32
    )


def test_rows_longer_than_allowed_are_named_where_that_was_asked(asked: Model) -> None:
    long = [*TEXTS, {"text": "a b c d " * 200}]
    check_refused(asked, DataError, ("data[16]", "max_tokens"), data=long, overlong="error")


@pytest.mark.parametrize(("overlong", "word"), [("cut", "cut off"), ("skip", "skipped")])
def test_rows_longer_than_allowed_are_counted_and_cut_or_skipped(m: Model, overlong: str, word: str) -> None:
    long = [*PAIR * 6, {"prompt": "Say a lot.", "completion": "a b c d " * 200}]
    run = train(m, long, overlong=overlong, steps=1, max_tokens=32, validation=0).wait(90)
    assert any(word in note and "1 of 7" in note for note in run.status.notes), run.status.notes


def test_a_row_longer_than_the_context_is_not_trained_whole(m: Model) -> None:
    run = train(m, steps=1, max_tokens=100_000).wait(90)
    assert max(record["tokens"] for record in run.metrics() if "tokens" in record) <= 2 * m.context
    assert run.state == "finished"


def test_preferences_need_pairs(asked: Model) -> None:
    check_refused(asked, DataError, ("chosen",), objective="dpo")


# --- what goes wrong on the way -------------------------------------------------------------------------


def break_loss(monkeypatch: pytest.MonkeyPatch, first: int, value: float) -> None:
    """Have the loss be `value` times what it is from micro-batch `first` on."""
    plain, seen = loss.trained_loss, []

    def broken(*arguments: Any) -> torch.Tensor:
        seen.append(1)
        found = plain(*arguments)
        return found * value if len(seen) > first else found

    monkeypatch.setattr(loss, "trained_loss", broken)


def test_numbers_that_are_none_stop_at_once_and_the_last_good_checkpoint_stays(
    m: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_loss(monkeypatch, 5, math.nan)
    run = train(m)
    with pytest.raises(TrainingError, match="loss of step 5 is nan"):
        run.wait(90)
    assert run.state == "failed"
    assert run.adapter is None
    steps = sorted(folder.name for folder in (run.folder / "checkpoints").iterdir())
    assert "step-000002" in steps <= ["step-000002", "step-000004"]
    for folder in (run.folder / "checkpoints").iterdir():
        for tensor in load_file(folder / "adapter_model.safetensors").values():
            assert bool(tensor.isfinite().all())


def test_a_base_with_nan_is_named_before_the_first_step(base: Path, tmp_path: Path) -> None:
    folder = copy_model(base, tmp_path / "bad")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.2.mlp.up_proj.weight"][4, 7] = math.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model = llama.load(folder, name="bad")
    os.chdir(tmp_path)
    try:
        with pytest.raises(TrainingError) as caught:
            train(model).wait(90)
        assert "NaN" in str(caught.value)
        assert "model.layers.2.mlp.up_proj.weight" in str(caught.value)
        assert not [run.adapter for run in llama.list_runs() if run.adapter is not None]
    finally:
        model.unload(force=True)


def test_a_learning_rate_of_1e8_is_noticed_and_saves_no_ruined_adapter(m: Model) -> None:
    run = train(m, lr=1e8, schedule="constant", warmup=0, clip=0, steps=30, save_every=1)
    with pytest.raises(TrainingError, match=r"(?i)loss|gradient") as caught:
        run.wait(90)
    assert "lr" in caught.value.hint
    assert run.status.step < 30
    assert run.adapter is None
    for path in run.folder.rglob("*.safetensors"):
        assert all(bool(tensor.isfinite().all()) for tensor in load_file(path).values()), path


@pytest.fixture(scope="module")
def whole(loaded: Model, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The figures of an uninterrupted run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        run = train(loaded, name="whole").wait(90)
        loaded.adapters.off().delete("whole")
    assert run.state == "finished"
    return measured(run)


def test_the_cell_again_goes_on_with_a_run_that_was_stopped(m: Model, whole: list[Any]) -> None:
    run = train(m)
    until_step(run, 3)
    run.stop()
    assert run.state == "stopped"
    assert any((run.folder / "checkpoints").iterdir())
    again = train(m)
    assert again.name == "tale"
    assert "goes on" in again.said
    again.wait(90)
    assert measured(again) == whole


def test_the_cell_again_while_it_trains_is_the_same_run(m: Model) -> None:
    run = train(m, steps=2000)
    again = train(m, steps=2000)
    assert again == run
    assert "already" in again.said
    run.stop()


def test_the_cell_again_after_the_end_is_another_run_and_the_first_stays(m: Model) -> None:
    first = train(m, steps=1).wait(90)
    kept = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    second = train(m, steps=1).wait(90)
    assert (first.name, second.name) == ("tale", "tale-2")
    assert "tale" in second.said
    assert {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()} == kept
    assert set(m.adapters.names) == {"tale", "tale-2"}


def test_an_interrupt_leaves_a_checkpoint_from_which_it_goes_on_exactly(
    m: Model, whole: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(m)
    until_step(run, 2)

    def look() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.wait(90, look=look)
    assert run.state in ("stopped", "finished")
    assert measured(train(m).wait(90)) == whole


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=["cut", "one bit", "missing"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_last_whole_one(
    m: Model, whole: list[Any], damage: Any
) -> None:
    run = train(m)
    until_step(run, 5)
    run.stop()
    newest = max((run.folder / "checkpoints").iterdir())
    damage(newest / "training.safetensors")
    again = train(m).wait(90)
    assert measured(again) == whole
    assert any(newest.name in note for note in again.status.notes), again.status.notes


def test_what_a_power_cut_in_a_save_leaves_is_not_taken_for_a_checkpoint(m: Model, whole: list[Any]) -> None:
    run = train(m)
    until_step(run, 3)
    run.stop()
    newest = max((run.folder / "checkpoints").iterdir())
    half = newest.with_name("step-000007")
    half.mkdir()
    shutil.copyfile(newest / "adapter_config.json", half / "adapter_config.json")
    with (run.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 7, "lo')
    assert measured(train(m).wait(90)) == whole


def test_a_full_disk_is_seen_before_and_the_run_waits(
    m: Model, whole: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, full = shutil.disk_usage, [False]

    def usage(path: Any) -> Any:
        found = plain(path)
        return found._replace(free=10) if full[0] else found

    monkeypatch.setattr(shutil, "disk_usage", usage)
    full[0] = True
    run = train(m, name="never")
    with pytest.raises(TrainingError, match="on the disk"):
        run.wait(90)
    full[0] = False
    run = train(m)
    until_step(run, 1)
    full[0] = True
    until(lambda: run.over or run.state == "paused", "the disk is full")
    assert "disk" in run.status.reason
    full[0] = False
    run.resume()
    until(lambda: run.over, "it finishes")
    assert measured(run) == whole


def test_a_full_disk_keeps_the_adapter_that_was_saved(m: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    train(m, steps=1).wait(90)
    saved = m.adapters.save("tale", "kept")
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    free = shutil.disk_usage(saved)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(LlamaError, match="disk"):
        m.adapters.save("tale", "kept")
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


# --- while it trains, and afterwards --------------------------------------------------------------------


def test_unloading_names_the_run_and_force_keeps_a_checkpoint(base: Path, tmp_path: Path) -> None:
    os.chdir(tmp_path)
    model = llama.load(base, name="busy")
    run = train(model, steps=2000, save_every=0)
    until_step(run, 2)
    with pytest.raises(ModelBusy, match=r"busy is in use: .*tale") as caught:
        model.unload()
    assert "--force" in caught.value.hint
    with pytest.raises(ModelBusy, match="tale"):
        llama.load(base, name="busy")
    assert run.state == "running"
    model.unload(force=True)
    assert run.state == "stopped"
    assert any((run.folder / "checkpoints").iterdir())


def test_what_is_asked_while_it_trains_is_answered_and_changes_no_digit(m: Model, whole: list[Any]) -> None:
    run = train(m)
    for _ in range(3):
        assert says(m)
        with pytest.raises(LlamaError):
            m.complete("x", temperature=-1)
    assert measured(run.wait(90)) == whole


def test_another_base_of_the_same_shape_is_refused_naming_both(
    m: Model, tmp_path: Path, stories260k: Path
) -> None:
    shape = {"hidden": 64, "layers": 5, "heads": 8, "kv_heads": 4, "ffn": 172}
    folder = write_random_llama(tmp_path / "stranger", tokenizer_from=stories260k, tie=True, **shape)
    train(m, steps=1).wait(90)
    stranger = llama.load(folder, name="stranger")
    try:
        with pytest.raises(AdapterError) as caught:
            stranger.adapters.load("runs/tale")
        assert all(model.fingerprint[:8] in str(caught.value) for model in (m, stranger))
        assert "--force" in caught.value.hint
        assert stranger.adapters.names == ()
        stranger.adapters.load("runs/tale", force=True)
        assert stranger.adapters.names == ("tale",)
    finally:
        stranger.unload(force=True)


def test_a_run_of_another_model_does_not_go_on_with_this_one(m: Model, tmp_path: Path) -> None:
    run = train(m)
    until_step(run, 1)
    run.stop()
    state = run.folder / "recipe.json"
    content = json.loads(state.read_text(encoding="utf-8"))
    content["base"]["fingerprint"] = "0123456789abcdef"
    state.write_text(json.dumps(content), encoding="utf-8")
    again = train(m, steps=1)
    assert again.name == "tale-2"
    again.wait(90)


@pytest.mark.parametrize("name", ["recipe.json", "state.json", "data/train.jsonl"])
def test_a_run_folder_that_was_damaged_is_named(m: Model, name: str) -> None:
    run = train(m)
    until_step(run, 1)
    run.stop()
    (run.folder / name).write_text("{ not json", encoding="utf-8")
    assert repr(llama.list_runs())
    again = train(m, steps=2).wait(90)
    assert again.state == "finished"


def test_the_learning_rate_that_is_ordered_is_checked(m: Model) -> None:
    run = train(m, steps=2000)
    for value in (-1, math.nan, "hot"):
        with pytest.raises(TrainingError, match="lr is"):
            run.set_lr(value)  # type: ignore[arg-type]
    run.stop()
    with pytest.raises(TrainingError, match="stopped"):
        run.set_lr(1e-4)
