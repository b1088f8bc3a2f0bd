"""`%llama train pause` and its like, and `%llama runs`: on run folders that nobody executes."""

import json

import pytest

from llama_nb.core.errors import DataError, TrainingError
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.completion import candidates
from llama_nb.tuning.control import Orders
from llama_nb.tuning.parameters import PARAMETERS
from llama_nb.tuning.run import Run
from tests.tuning.fake_run import FakeRun


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fake(here):
    made = FakeRun(here / "runs")
    made.train(20)
    return made


def given(fake):
    return [(order.kind, order.value) for order in Orders(fake.run.folder).new()]


def test_an_order_goes_to_the_run_that_goes_on(shell, fake, here):
    FakeRun(here / "runs", "older").say("finished")
    assert shell("%llama train pause").value.text.startswith("persona pauses")
    assert shell("%llama train save").ok
    assert shell("%llama train lr 1e-4").value.text == "persona learns at 0.0001 from the next step on."
    assert given(fake) == [("pause", None), ("save", None), ("lr", 1e-4)]


def test_a_variable_of_the_same_name_is_no_data(shell, fake):
    shell.names["lr"] = 1e-4
    assert shell("%llama train lr 3e-4").ok
    assert given(fake) == [("lr", 3e-4)]


def test_a_paused_run_goes_on(shell, fake):
    fake.say("paused")
    assert shell("%llama train resume").value.text == "persona goes on."
    assert given(fake) == [("resume", None)]


def test_a_paused_run_goes_on_beside_one_that_goes_on(shell, fake, here):
    fake.say("paused")
    other = FakeRun(here / "runs", "other")
    other.train(3)
    assert shell("%llama train resume").ok
    assert shell("%llama train pause").ok
    assert given(fake) == [("resume", None)]
    assert given(other) == [("pause", None)]


def test_an_order_goes_to_the_run_that_is_named(shell, fake, here):
    other = FakeRun(here / "runs", "other")
    other.train(3)
    assert shell("%llama train pause persona").ok
    assert shell("%llama train lr 3e-4 other").ok
    assert given(fake) == [("pause", None)]
    assert given(other) == [("lr", 3e-4)]


def test_the_status_is_the_run(shell, fake):
    shown = shell("%llama train status").value
    assert shown == fake.run
    assert "training, step 20 of 200" in shown._repr_mimebundle_()["text/plain"]
    fake.say("finished")
    assert shell("%llama train status").value == fake.run


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("train", CommandError, ["What is to be learned?", "%llama train persona.jsonl"]),
        ("train persona.jsnl", CommandError, ["no file and no variable 'persona.jsnl'", "'persona.jsonl'"]),
        ("train pauze", CommandError, ["'pauze'", "'pause'"]),
        ("train rows extra", CommandError, ["more than one word: 'rows extra'"]),
        ("train missing.jsonl", DataError, ["'missing.jsonl'"]),
        ("train lr", CommandError, ["Which learning rate?", "%llama train lr 1e-4"]),
        ("train lr fast", CommandError, ["'fast'"]),
        ("train lr 100", TrainingError, ["lr is 100", "10"]),
        ("train pause one two", CommandError, ["one name, not 2"]),
        ("train pause personna", TrainingError, ["'personna'", "'persona'"]),
        ("train pause --rank 8", CommandError, ["--rank", "keeps its recipe"]),
        ("train --resume persona --lr 1", CommandError, ["--lr", "keeps its recipe"]),
        ("train persona.jsonl --resume persona", CommandError, ["--resume", "has its data"]),
        ("train persona.jsonl --rnak 8", CommandError, ["--rnak", "'--rank'"]),
        ("train --resume nobody", TrainingError, ["'nobody'", "persona"]),
        ("runs persona nobody", TrainingError, ["'nobody'"]),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(shell, model, fake, here, line, kind, words):
    (here / "persona.jsonl").write_text(json.dumps({"text": "x"}))
    cell = shell(f"%llama {line}")
    assert isinstance(cell.error, kind)
    for word in words:
        assert word in cell.out
    assert len(cell.out.strip().splitlines()) <= 12
    assert given(fake) == []


def test_orders_without_a_run_say_how_to_start_one(shell, here):
    for line in ("train pause", "train status", "train --resume"):
        cell = shell(f"%llama {line}")
        assert isinstance(cell.error, TrainingError)
        assert "%llama train data.jsonl" in cell.out
    assert shell("%llama runs").value.text.startswith("There is no run here.")


def test_orders_to_a_run_that_is_over_say_how_it_ended(shell, fake):
    fake.say("finished")
    cell = shell("%llama train pause")
    assert isinstance(cell.error, TrainingError)
    assert "persona: finished" in cell.out
    cell = shell("%llama train pause persona")
    assert "persona is finished" in cell.out


def test_data_on_the_line_and_in_the_cell_is_refused(shell, model, here):
    cell = shell('%%llama train rows\n{"text": "x"}')
    assert isinstance(cell.error, CommandError)
    assert "on the line ('rows') and in the cell" in cell.out


def test_broken_json_in_the_cell_names_its_line(shell, model, here):
    cell = shell('%%llama train\n{"text": "x"}\n\n{"text": }\n')
    assert isinstance(cell.error, DataError)
    assert "Line 4 of the cell, column 10" in cell.out
    assert not (here / "runs").exists()


def test_runs_stand_in_a_table(shell, fake, here):
    other = FakeRun(here / "runs", "other", method="full", lr=1e-5)
    other.train(5)
    other.say("stopped")
    text = shell("%llama runs").value.text
    assert [line.split()[:3] for line in text.splitlines()[2:]] in (
        [["other", "cria", "full"], ["persona", "cria", "lora"]],
        [["persona", "cria", "lora"], ["other", "cria", "full"]],
    )
    assert "stopped" in text
    assert shell("%llama runs other").value == Run(other.files)


def test_runs_are_laid_on_each_other(shell, fake, here):
    other = FakeRun(here / "runs", "other", rank=8)
    other.train(30, loss=5.0)
    other.validate(3.0)
    shown = shell("%llama runs persona other persona").value
    bundle = shown._repr_mimebundle_()
    assert repr(shown) == bundle["text/plain"]
    lines = [line.split() for line in bundle["text/plain"].splitlines()]
    assert ["parameter", "persona", "other"] in lines
    assert ["rank", "16", "8"] in lines
    assert not [line for line in lines if line[:1] == ["batch"]]
    assert bundle["text/html"].count("<img") == 2
    assert "Smoothed loss by step of persona, other" in bundle["text/html"]


def test_every_parameter_is_an_option_and_help_names_it(shell):
    text = shell("%llama help train").value.text
    for name in PARAMETERS:
        assert f"--{name.replace('_', '-')}" in text
    assert "--preview" in text


def test_tab_offers_orders_files_and_runs(shell, fake, here):
    (here / "persona.jsonl").touch()
    assert {"pause", "persona.jsonl"} <= set(candidates("%llama train p"))
    assert candidates("%llama train pause p") == ["persona"]
    assert candidates("%llama train --resume p") == ["persona"]
    assert candidates("%llama train --method rs") == ["rslora"]
    assert candidates("%llama train x.jsonl --ra") == ["--rank"]
    assert candidates("%llama runs p") == ["persona"]
