"""A run's folder read as it grows: figures, answers, orders that wait, and files that lie."""

import json
from pathlib import Path

import pytest

from llama_nb.render.nodes import plain_text
from llama_nb.tuning.json_lines import append, replace_json
from llama_nb.tuning.process import Process
from llama_nb.tuning.run_reading import MOST_PROMPTS, RunReading
from tests.tuning.fake_run import FakeRun

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m"


@pytest.fixture
def fake(tmp_path):
    return FakeRun(tmp_path)


def look(fake, reading=None):
    reading = reading or RunReading(fake.files)
    reading.look()
    return reading


def test_a_run_that_has_not_begun_waits(fake):
    head = look(fake).head()
    assert (head["name"], head["model"], head["state"], head["step"], head["steps"]) == (
        "persona",
        "cria",
        "waiting",
        0,
        200,
    )
    assert (head["method"], head["rank"], head["parameters"]) == ("lora", 16, 98_304)
    assert head["orders"] == ["stop"]
    assert head["loss"] is head["eta_s"] is head["validation"] is head["saved_step"] is None
    assert head["data"] == {
        "source": "persona.jsonl",
        "format": "openai",
        "rows": 38,
        "validation_rows": 2,
        "tokens": 4000,
        "trained": 1000,
        "notes": [],
    }


def test_figures_follow_the_files(fake):
    reading = RunReading(fake.files)
    fake.train(10)
    fake.validate(3.5)
    head = look(fake, reading).head()
    assert head["loss"] == pytest.approx(3.9)
    assert (head["validation"], head["best"], head["best_step"]) == (3.5, 3.5, 10)
    assert head["tokens_per_s"] == pytest.approx(800)
    assert head["eta_s"] == pytest.approx(0.5 * 190)
    assert head["spent_s"] == pytest.approx(5.0)
    assert (head["memory"], head["planned_memory"], head["planned_s"]) == (300_000_010, 512_000_000, 60.0)
    assert head["orders"] == ["pause", "stop", "save", "lr"]
    assert "step 10" in head["keeps"]
    fake.train(5)
    fake.save()
    head = look(fake, reading).head()
    assert (head["step"], head["saved_step"]) == (15, 15)
    assert len(reading.curves) == 15


def test_metrics_may_be_ahead_of_the_state(fake):
    fake.train(3)
    fake.files.append_metrics({"step": 4, "loss": 1.0})
    assert look(fake).head()["step"] == 4


def test_a_run_that_goes_on_from_a_checkpoint_does_not_run_back(fake):
    reading = RunReading(fake.files)
    fake.train(10)
    look(fake, reading)
    fake.files.forget_after(6)
    fake.done = 6
    fake.train(1, loss=2.0)
    look(fake, reading)
    assert reading.curves.steps == [1, 2, 3, 4, 5, 6, 7]
    assert reading.curves.loss[-1] == pytest.approx(2.0 - 0.07)


def test_answers_stand_before_and_after(fake):
    fake.answer("I am cria.", adapter=False)
    fake.train(20)
    fake.answer("I am *Captain* Wool.")
    fake.train(20)
    fake.answer("Arr.")
    fake.answer("Sea.", prompt="Where?")
    reading = look(fake)
    newest = reading.samples()
    assert (newest["steps"], newest["step"]) == ([20, 40], 40)
    first, second = newest["answers"]
    assert (plain_text(first["before"]), plain_text(first["after"])) == ("I am cria.", "Arr.")
    assert (second["before"], plain_text(second["after"])) == (None, "Sea.")
    earlier = reading.samples(20)
    assert plain_text(earlier["answers"][0]["after"]) == "I am Captain Wool."
    assert earlier["answers"][1]["after"] is None
    assert reading.samples(7)["step"] == 40


def test_a_process_that_died_has_interrupted_the_run(fake):
    fake.train(3)
    fake.save()
    fake.say("running", process=Process(fake.files.state().process.host, 2**22 + 1, 0.0))
    head = look(fake).head()
    assert head["state"] == "interrupted"
    assert head["orders"] == ["resume"]
    assert "%llama train --resume persona" in head["sentence"]
    assert "from step 3" in head["sentence"]


@pytest.mark.parametrize(
    ("state", "orders", "words"),
    [
        ("paused", ["resume", "stop", "lr"], "Paused (loss grows): %llama train resume persona"),
        ("stopped", ["resume"], "Stopped (loss grows) at step 3 of 200; %llama train --resume persona"),
        ("finished", [], ""),
    ],
)
def test_each_state_says_what_to_do(fake, state, orders, words):
    fake.train(3)
    fake.say(state, reason="loss grows")
    head = look(fake).head()
    assert head["orders"] == orders
    assert words in head["sentence"]


def test_an_order_is_shown_until_it_is_obeyed(fake):
    reading = RunReading(fake.files)
    fake.train(3)
    for order, give, obey in (
        ("pause", fake.run.pause, lambda: fake.say("paused")),
        ("resume", fake.run.resume, lambda: fake.say("running")),
        ("save", fake.run.save_now, fake.save),
        ("lr", lambda: fake.run.set_lr(1e-4), lambda: fake.train(1)),
        ("stop", lambda: fake.run.stop(wait=False), lambda: fake.say("stopped")),
    ):
        look(fake, reading)
        give()
        assert look(fake, reading).head()["ordered"] == order
        obey()
        assert look(fake, reading).head()["ordered"] == ""


def test_the_recipe_says_what_is_not_as_usual(tmp_path):
    fake = FakeRun(tmp_path, rank=8, target=["q_proj", "v_proj"])
    rows = {row["name"]: row for row in look(fake).recipe()["rows"]}
    assert (rows["rank"]["value"], rows["rank"]["usual"]) == ("8", False)
    assert rows["target"]["value"] == "q_proj, v_proj"
    assert (rows["lr"]["value"], rows["lr"]["usual"]) == ("automatic", True)
    assert rows["packing"]["value"] == "on"
    assert rows["checkpointing"]["value"] == "automatic"
    assert "learns faster" in rows["lr"]["turn"]
    assert "beta" not in rows


def test_values_of_the_wrong_kind_are_left_out(fake):
    fake.train(1)
    replace_json(
        fake.files.state_file,
        {"state": "running", "step": "many", "steps": -3, "updated": "now", "serving": 7, "notes": 5},
    )
    replace_json(fake.files.plan_file, {"memory": "much", "parameters": 1.5, "seconds": None})
    replace_json(fake.files.data_file, {"rows": "all", "source": ["x"], "notes": "none"})
    append(fake.files.metrics_file, {"step": 2, "loss": "low"})
    append(fake.files.samples_file, {"step": "x", "prompt": 5, "text": None})
    head = look(fake).head()
    assert head["planned_memory"] is head["parameters"] is head["data"]["rows"] is None
    assert head["data"]["source"] == ""
    assert json.dumps(head, allow_nan=False)
    assert look(fake).samples() == {}


@pytest.mark.parametrize(
    "content", [b"", b"[1, 2]", b'{"state": "flying"}', b'{"state": "running", "process"']
)
def test_a_damaged_state_is_an_interrupted_run(fake, content):
    fake.files.state_file.write_bytes(content)
    assert look(fake).head()["state"] == "interrupted"


def test_a_damaged_recipe_is_said(fake):
    fake.files.recipe_file.write_bytes(b"{")
    reading = look(fake)
    assert "recipe.json" in reading.head()["error"]
    assert reading.recipe() == {"rows": []}


def test_hostile_texts_become_text(fake):
    fake.train(1)
    fake.answer(HOSTILE, prompt=HOSTILE)
    fake.say("failed", error=HOSTILE, hint=HOSTILE, notes=(HOSTILE,) * 50, serving=HOSTILE)
    reading = look(fake)
    head, samples = reading.head(), reading.samples()
    assert len(head["notes"]) < 50
    for text in (head["error"], head["hint"], *head["notes"], samples["answers"][0]["prompt"]):
        assert "\x1b" not in text
        assert "<script>" in text
    assert "<script>" in plain_text(samples["answers"][0]["after"])


def test_prompts_are_bounded(fake):
    for number in range(MOST_PROMPTS + 5):
        fake.answer("x", prompt=f"{number}?")
    assert len(look(fake).samples()["answers"]) == MOST_PROMPTS


def test_a_notebook_may_change_its_directory_meanwhile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake = FakeRun(Path("runs"))
    reading = look(fake)
    assert reading.head()["folder"] == "runs/persona"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    fake.train(3)
    head = look(fake, reading).head()
    assert head["step"] == 3
    assert head["folder"] == str(tmp_path / "runs" / "persona")


def test_what_is_counted_when_a_run_begins_is_seen(fake):
    replace_json(fake.files.data_file, {"source": "persona.jsonl"})
    reading = RunReading(fake.files)
    reading.look()
    assert reading.head()["data"]["rows"] is None
    replace_json(fake.files.data_file, {"source": "persona.jsonl", "rows": 38, "tokens": 4000})
    reading.look()
    assert (reading.head()["data"]["rows"], reading.head()["data"]["tokens"]) == (38, 4000)
