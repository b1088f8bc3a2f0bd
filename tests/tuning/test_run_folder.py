"""The folder of a run: written whole, read at any time, never somebody else's; names, orders, lines."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import pytest

from llama_nb.core.errors import TrainingError
from llama_nb.tuning import json_lines
from llama_nb.tuning.control import Orders, append_order, check_order, orders_end
from llama_nb.tuning.json_lines import Tail
from llama_nb.tuning.process import SILENT_S, Process, claimed, process_of, this_process
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.run import Run, list_runs, open_run
from llama_nb.tuning.run_folder import (
    Base,
    RunFolder,
    RunState,
    check_name,
    create,
    find_folder,
    folders,
    name_from,
)

BASE = Base("cria", "cria", "0123456789abcdef", dtype="float32", context=2048)


@pytest.fixture
def folder(tmp_path):
    made = create(tmp_path / "runs", "persona", Recipe.of(rank=4, steps=10), BASE)
    made.write_state(RunState("running", 3, 10, process=this_process()))
    return made


def test_what_was_asked_for_comes_back(folder):
    assert folder.recipe == Recipe.of(rank=4, steps=10)
    assert folder.base == BASE
    assert (folder.data, folder.plan, folder.metrics(), folder.samples()) == ({}, {}, [], [])


def test_a_folder_is_never_written_over(tmp_path):
    (tmp_path / "persona-2").mkdir()
    (tmp_path / "persona-2" / "thesis.txt").write_text("mine")
    (tmp_path / "persona-3").write_text("a file")
    names = [create(tmp_path, "persona", Recipe.of(), BASE).name for _ in range(2)]
    assert names == ["persona", "persona-4"]
    assert create(tmp_path, "persona", Recipe.of(), BASE, taken=["persona-5"]).name == "persona-6"
    assert (tmp_path / "persona-2" / "thesis.txt").read_text() == "mine"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_that_cannot_be_filled_is_not_there(tmp_path):
    def fill(_folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(TrainingError, match="No space left"):
        create(tmp_path, "persona", Recipe.of(), BASE, fill)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a\nb", "off", "Base", "x" * 65, "a b", None])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(TrainingError, match="cannot be called"):
        check_name(name)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/persona.jsonl", "persona"),
        ("my data (1).csv", "my-data-1"),
        ("a DataFrame", "a-DataFrame"),
        ("../..", "run"),
        ("off.jsonl", "run"),
        ("ÄÖ.jsonl", "ÄÖ"),
        ("…", "run"),
    ],
)
def test_a_run_is_called_after_its_data(source, name):
    assert name_from(source) == name
    assert check_name(name) == name


def test_the_state_comes_back_and_a_dead_process_is_said(folder):
    assert (folder.state().state, folder.state().step) == ("running", 3)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    gone = process_of(ended.pid)
    ended.wait(60)
    folder.write_state(dataclasses.replace(folder.state(), process=gone, serving="chat main"))
    assert (folder.state().state, folder.state().serving) == ("interrupted", "")
    folder.write_state(RunState("finished", 10, 10, process=gone))
    assert folder.state().state == "finished"


def test_a_number_that_is_used_again_is_another_process(folder):
    mine = this_process()
    assert mine.lives(0)
    assert not dataclasses.replace(mine, born=mine.born - 100).lives(time.time())


def test_of_another_machine_the_last_word_counts():
    there = Process("elsewhere", os.getpid(), this_process().born)
    assert there.lives(time.time())
    assert not there.lives(time.time() - SILENT_S - 1)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "dancing"}', '{"state": 5, "process": []}'])
def test_a_damaged_state_is_an_interrupted_run(folder, content):
    folder.state_file.write_text(content)
    assert folder.state().state == "interrupted"


def test_a_damaged_recipe_is_said(folder):
    folder.recipe_file.write_text('{"recipe": {"rank": 4')
    with pytest.raises(TrainingError, match=r"recipe\.json of the run persona is damaged"):
        _ = folder.recipe
    folder.recipe_file.write_text('{"recipe": {}, "base": {"name": "cria"}}')
    with pytest.raises(TrainingError, match="damaged"):
        _ = folder.base


def test_runs_are_found_by_name_and_path_and_the_nearest_is_named(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert open_run("persona").folder.samefile(folder.path)
    assert open_run(folder.path).name == "persona"
    with pytest.raises(TrainingError) as caught:
        find_folder("persone")
    assert "'persona'" in caught.value.hint
    create(tmp_path / "runs", "zebra", Recipe.of(), BASE)
    (tmp_path / "runs" / "no-run").mkdir()
    assert {run.name for run in list_runs()} == {"persona", "zebra"}
    assert folders(tmp_path / "nowhere") == []


def test_steps_that_are_done_again_are_forgotten(folder):
    for step in range(1, 6):
        folder.append_metrics({"step": step, "loss": 5 - step})
        folder.append_sample(step, "Who?", f"I, {step}", adapter=True)
    followed = Tail(folder.metrics_file)
    assert len(followed.new()) == 5
    folder.forget_after(3)
    assert [each["step"] for each in folder.metrics()] == [1, 2, 3]
    assert [each["step"] for each in folder.samples()] == [1, 2, 3]
    folder.append_metrics({"step": 4, "loss": 1})
    assert [each["step"] for each in followed.new()] == [1, 2, 3, 4]
    assert followed.restarted


def test_a_half_written_line_spoils_only_itself(folder):
    folder.append_metrics({"step": 1, "loss": 2.0})
    with folder.metrics_file.open("ab") as file:
        file.write(b'{"step": 2, "lo')
    tail = Tail(folder.metrics_file)
    assert [each["step"] for each in tail.new()] == [1]
    folder.append_metrics({"step": 2, "loss": 1.5})
    assert [each["step"] for each in tail.new()] == [2]
    assert [each["step"] for each in folder.metrics()] == [1, 2]


def test_values_that_are_no_numbers_stay_json(tmp_path):
    json_lines.append(tmp_path / "x", {"loss": float("nan"), "all": [float("inf"), 1.5], "text": "\ud800"})
    assert json.loads((tmp_path / "x").read_text()) == {"loss": None, "all": [None, 1.5], "text": "?"}


def test_a_replaced_file_is_the_old_one_or_the_new_one(tmp_path):
    target = tmp_path / "state.json"
    json_lines.replace_json(target, {"step": 1})
    with pytest.raises(TypeError):
        json_lines.replace_json(target, {"step": object()})
    assert json.loads(target.read_text()) == {"step": 1}
    assert list(tmp_path.iterdir()) == [target]


def test_prompts_are_added_once_each(folder):
    for prompt in ("Who are you?", "<b>", "Who are you?"):
        folder.add_prompt(prompt)
    assert folder.prompts() == ["Who are you?", "<b>"]


# --- orders -------------------------------------------------------------------------------------------------


def test_orders_are_read_once_and_from_where_this_life_began(folder):
    append_order(folder.path, "stop", reason="of an earlier life")
    orders = Orders(folder.path, orders_end(folder.path))
    assert orders.new() == []
    append_order(folder.path, "pause", reason="the panel")
    append_order(folder.path, "lr", 1e-4)
    assert [(order.kind, order.value, order.reason) for order in orders.new()] == [
        ("pause", None, "the panel"),
        ("lr", 1e-4, ""),
    ]
    assert orders.new() == []


@pytest.mark.parametrize(
    "line", ["nonsense", '{"order": "format"}', '{"order": "lr", "value": "1e9"}', '{"order": ["stop"]}', "5"]
)
def test_what_is_no_order_is_passed_over(folder, line):
    orders = Orders(folder.path)
    with (folder.path / "control.jsonl").open("a") as file:
        file.write(line + "\n")
    append_order(folder.path, "save")
    assert [order.kind for order in orders.new()] == ["save"]


@pytest.mark.parametrize("value", [None, "fast", -1, 11, float("nan"), True, [1]])
def test_a_learning_rate_has_a_range(value):
    with pytest.raises(TrainingError, match="from 0 to 10"):
        check_order("lr", value)


def test_an_unknown_order_names_the_nearest():
    with pytest.raises(TrainingError) as caught:
        check_order("puase")
    assert "'pause'" in caught.value.hint


def test_a_run_that_is_over_takes_no_orders(folder):
    run = Run(folder)
    run.pause("because")
    assert Orders(folder.path).new()[0].reason == "because"
    folder.write_state(RunState("stopped", 3, 10))
    with pytest.raises(TrainingError, match="is stopped; it takes no orders") as caught:
        run.pause()
    assert "--resume persona" in caught.value.hint


# --- who has it ---------------------------------------------------------------------------------------------


def test_two_cannot_execute_a_run_at_once(folder, monkeypatch):
    monkeypatch.setattr("llama_nb.tuning.process._CLAIM_S", 0.1)
    with (
        claimed(folder.path, "persona"),
        pytest.raises(TrainingError, match="executed by another process"),
        claimed(folder.path, "persona"),
    ):
        pass
    with claimed(folder.path, "persona"):
        pass


def test_a_killed_process_holds_nothing(folder):
    code = (
        "import sys, time, pathlib\n"
        "from llama_nb.tuning.process import claimed\n"
        "with claimed(pathlib.Path(sys.argv[1]), 'persona'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait(60)
        with claimed(folder.path, "persona"):
            pass
    finally:
        holder.kill()
        holder.wait(60)
        holder.stdout.close()


# --- what a user holds --------------------------------------------------------------------------------------


def test_a_status_says_how_far_and_how_long(folder):
    for step in range(1, 4):
        folder.append_metrics(
            {
                "step": step,
                "loss": 4.0 - step,
                "lr": 1e-4,
                "tokens": 100,
                "seconds": 2.0,
                "memory": 1000 * step,
            }
        )
    folder.append_metrics({"step": 3, "validation_loss": 1.25})
    folder.write_plan({"memory": 5000, "seconds": 30})
    status = Run(folder).status
    assert (status.loss, status.validation, status.tokens_per_s, status.left_s) == (1.0, 1.25, 50.0, 14.0)
    assert (status.seconds, status.memory, status.planned_memory) == (6.0, 3000, 5000)
    assert str(status) == "persona: running, step 3 of 10, loss 1.000, validation 1.250"
    assert repr(Run(folder)) == f"Run({status})"


def test_a_frame_has_a_row_a_step(folder):
    folder.append_metrics({"step": 1, "loss": 2.0, "lr": 1e-4})
    folder.append_metrics({"step": 2, "loss": 1.5, "lr": 1e-4})
    folder.append_metrics({"step": 2, "validation_loss": 1.75})
    frame = Run(folder).to_frame()
    assert list(frame.index) == [1, 2]
    assert frame.loc[2, ["loss", "validation_loss"]].tolist() == [1.5, 1.75]
    assert Run(RunFolder(folder.path / "nothing")).to_frame().empty


def test_waiting_raises_what_went_wrong(folder):
    folder.write_state(RunState("failed", 3, 10, error="The loss is NaN.", hint="Take a smaller lr."))
    with pytest.raises(TrainingError, match="The loss is NaN"):
        Run(folder).wait(60)
    folder.write_state(RunState("running", 3, 10, process=Process(this_process().host, 1, 5.0)))
    with pytest.raises(TrainingError, match="interrupted at step 3 of 10") as caught:
        Run(folder).wait(60)
    assert "--resume persona" in caught.value.hint


def test_waiting_has_an_end(folder):
    run = Run(folder)
    assert run.wait(0.1) is run
    assert not run.over
