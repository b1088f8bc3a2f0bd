"""A run on the worker of a loaded model: what it leaves, what it obeys, and whom it serves in between."""

import dataclasses
import shutil
import threading

import pytest
import torch

from llama_nb.core import events
from llama_nb.core.errors import AdapterError, ModelBusy, TrainingError
from llama_nb.core.stop import StopFlag
from llama_nb.loading.open import load_checked
from llama_nb.runtime.environment import Environment
from llama_nb.session.model import Model
from llama_nb.tuning import checkpoint, execute, guards
from llama_nb.tuning.control import append_order
from llama_nb.tuning.data import read_data
from llama_nb.tuning.parts import load_parts
from llama_nb.tuning.process import this_process
from llama_nb.tuning.run import Run, open_run
from llama_nb.tuning.run_folder import RunFolder
from llama_nb.tuning.starting import resume, start
from tests.tuning.runs import PERSONA, RECIPE, ask, measured, persona, tiny, until, until_step


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    torch.set_num_threads(1)
    made = tiny(tmp_path_factory.mktemp("tiny"))
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def whole(parts, tmp_path_factory):
    """A run that nobody disturbed."""
    run = start(parts, persona(), RECIPE, name="whole", root=tmp_path_factory.mktemp("whole") / "runs")
    return run.wait(90)


@pytest.fixture(autouse=True)
def undisturbed(parts):
    yield
    background = parts.engine.background()
    if background is not None:
        background.stop("the test is over")
        assert background.wait(90)
    for name in parts.adapters.names:
        if name != "whole":
            parts.adapters.delete(name)
    parts.adapters.off()


@pytest.fixture
def begin(parts, tmp_path):
    def begin(recipe=RECIPE, data=None, **options):
        options = {"name": "persona", "root": tmp_path / "runs", **options}
        return start(parts, data or persona(), recipe, **options)

    return begin


# --- what it leaves -----------------------------------------------------------------------------------------


def test_a_run_learns_and_leaves_all_in_its_folder(parts, whole):
    status = whole.status
    assert (status.state, status.step, status.steps, status.executor) == ("finished", 10, 10, "kernel")
    frame = whole.to_frame()
    assert frame.loss.dropna().index.tolist() == list(range(1, 11))
    validation = frame.validation_loss.dropna()
    assert validation.index.tolist() == [0, 5, 10]
    assert validation[10] < validation[0]
    assert {path.name for path in whole.files.checkpoints.iterdir()} == {
        "step-000004",
        "step-000008",
        "step-000010",
    }
    assert {path.name for path in whole.adapter.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "llama_nb.json"
    }  # fmt: skip
    plan = whole.files.plan
    assert plan["parameters"] == parts.adapters.facts("whole").parameters
    assert plan["memory"] > 0
    assert plan["measured_s"] == pytest.approx(frame.seconds.sum())
    assert whole.files.data["rows"] + whole.files.data["validation_rows"] == len(PERSONA)


def test_answers_to_fixed_prompts_are_kept_before_and_after(whole):
    samples = whole.samples()
    assert [(each["step"], each["adapter"]) for each in samples] == [(0, False)] * 2 + [(10, True)] * 2
    assert samples[0]["prompt"] in {row["prompt"] for row in PERSONA}
    assert all(each["text"] for each in samples)


def test_the_adapter_in_the_model_is_the_one_on_the_disk(parts, whole):
    from safetensors.torch import load_file

    saved = load_file(whole.adapter / "adapter_model.safetensors")
    assert saved.keys() == parts.adapters.weights("whole").keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in parts.adapters.weights("whole").items())
    newest, _ = checkpoint.newest_whole(whole.files.checkpoints)
    assert load_file(newest.path / "adapter_model.safetensors").keys() == saved.keys()


# --- others are served --------------------------------------------------------------------------------------


def test_chats_and_looks_in_between_change_no_digit(parts, whole, begin):
    before = ask(parts, adapter="off")
    run = begin()
    served = 0
    while not run.over:
        answer = ask(parts, adapter="off" if served % 2 else None)
        assert answer == before if served % 2 else answer
        parts.engine.examine(lambda module, _: torch.rand(3) + module.training, "a look", StopFlag())
        served += 1
    assert served >= 3
    assert measured(run) == measured(whole)
    assert parts.adapters.active == {"persona": 1.0}


def test_who_chats_sees_the_adapter_as_it_learns(parts, begin):
    run = begin(RECIPE.replace(steps=400, lr=2e-2, schedule="constant", evaluate_every=0, clip=0))
    first = ask(parts, adapter="off")
    until_step(run, 12)
    run.pause()
    until(lambda: run.state == "paused", "it pauses")
    now, base = ask(parts), ask(parts, adapter="off")
    assert base == first
    assert now != base
    run.stop()


def test_a_long_chat_pauses_the_training_and_the_state_says_so(parts, begin):
    run = begin(RECIPE.replace(steps=4000))
    until_step(run, 1)
    over = threading.Event()

    def chat():
        parts.engine.examine(lambda _module, _stopped: over.wait(90), "chat main", StopFlag())

    thread = threading.Thread(target=chat)
    thread.start()
    until(lambda: run.status.serving == "chat main", "the chat is named")
    steps = run.status.step
    over.set()
    thread.join(90)
    until(lambda: run.status.serving == "", "it trains again")
    until_step(run, steps + 1)
    run.stop()


def test_switching_adapters_while_one_is_trained_changes_no_digit(parts, whole, begin):
    run = begin()
    while not run.over:
        for weights in ({"whole": 0.5}, {}, {"whole": 0.25, "persona": 0.5}):
            parts.engine.examine(
                lambda _m, _s, weights=weights: parts.adapters.mix(
                    {name: weight for name, weight in weights.items() if name in parts.adapters.names}
                ),
                "switching",
                StopFlag(),
            )
            ask(parts)
    assert measured(run) == measured(whole)


# --- orders -------------------------------------------------------------------------------------------------


def test_a_pause_lasts_until_somebody_resumes(parts, whole, begin):
    run = begin()
    until_step(run, 3)
    run.pause("lunch")
    until(lambda: run.state == "paused", "it pauses")
    steps = len(run.metrics())
    assert run.status.reason == "lunch"
    for _ in range(3):
        ask(parts)
    assert len(run.metrics()) == steps
    run.resume().wait(90)
    assert measured(run) == measured(whole)


def test_a_checkpoint_is_saved_when_somebody_wants_it(begin):
    run = begin(RECIPE.replace(save_every=0, steps=40))
    until_step(run, 2)
    run.save_now()
    until(lambda: run.over or list(run.files.checkpoints.glob("step-*")), "it is saved")
    assert not run.over
    run.stop()


def test_the_learning_rate_follows_orders_and_is_remembered(parts, begin):
    run = begin(RECIPE.replace(schedule="constant", warmup=0, steps=400))
    until_step(run, 2)
    run.set_lr(1e-5)
    until(lambda: run.status.lr == 1e-5, "it learns more slowly")
    run.stop()
    step = run.status.step
    run.resume(parts)
    until_step(run, step + 2)
    assert run.status.lr == 1e-5
    run.stop()


def test_a_prompt_may_be_added(parts, begin):
    run = begin(RECIPE.replace(sample_prompts=["Who?"], sample_every=1, steps=400))
    until_step(run, 2)
    run.files.add_prompt("<script>alert(1)</script>")
    until(lambda: any(each["prompt"].startswith("<script>") for each in run.samples()), "it is answered")
    run.stop()
    mine = [each for each in run.samples() if each["prompt"].startswith("<script>")]
    assert mine[0]["adapter"] is False
    assert mine[1]["adapter"] is True


# --- the same again -----------------------------------------------------------------------------------------


def test_the_same_call_again_goes_on_or_is_the_same_run(parts, whole, begin):
    run = begin()
    until_step(run, 2)
    run.pause()
    again = begin()
    assert again == run
    assert "already" in again.said
    run.stop()
    went_on = begin()
    assert went_on == run
    assert "goes on from the checkpoint of step" in went_on.said
    went_on.wait(90)
    assert measured(went_on) == measured(whole)
    third = begin(RECIPE.replace(steps=1))
    assert (third.name, "is finished; this is a new run" in third.said) == ("persona-2", True)
    third.wait(90)
    assert measured(run) == measured(whole)


def test_another_recipe_or_other_data_is_another_run(begin):
    begin(RECIPE.replace(steps=1)).wait(90)
    other = begin(RECIPE.replace(steps=1, rank=2), read_data(PERSONA[:30]))
    assert other.name == "persona-2"
    other.wait(90)
    first_again = begin(RECIPE.replace(steps=1))
    assert first_again.name == "persona-3"
    first_again.wait(90)


def test_a_name_of_another_adapter_is_not_taken(parts, begin):
    assert begin(RECIPE.replace(steps=1), name="whole").wait(90).name == "whole-2"


def test_a_finished_run_does_not_go_on(whole, parts):
    with pytest.raises(TrainingError, match="is finished, after 10 steps"):
        resume(Run(whole.files), parts)


def test_another_model_is_refused(whole, parts):
    run = Run(whole.files)
    whole.files.write_state(dataclasses.replace(whole.files.state(), state="stopped"))
    try:
        other = dataclasses.replace(parts, fingerprint="f" * 16, name="other")
        with pytest.raises(TrainingError, match="other has other weights"):
            resume(run, other)
        with pytest.raises(TrainingError, match="trains tiny, which is not loaded here"):
            resume(run)
    finally:
        whole.files.write_state(dataclasses.replace(whole.files.state(), state="finished"))


# --- what goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "recipe", "said"),
    [
        ([{"prompt": "a", "completion": ""}] * 3, RECIPE, "token"),
        (PERSONA, RECIPE.replace(target="q_porj"), "q_porj"),
    ],
)
def test_what_cannot_be_learned_is_refused_before_there_is_a_folder(begin, tmp_path, data, recipe, said):
    with pytest.raises((TrainingError, AdapterError), match=said):
        begin(recipe, read_data(data))
    assert not (tmp_path / "runs").exists()


def diverge(monkeypatch, step):
    """Have the guard see a divergence at a step, once."""
    look, seen = guards.DivergenceWatch.look, []

    def sees(watch, loss):
        reason = look(watch, loss)
        if watch.steps == step and not seen:
            seen.append(step)
            return "The loss is 99, more than that of a model that knows nothing."
        return reason

    monkeypatch.setattr(guards.DivergenceWatch, "look", sees)


def test_a_divergence_pauses_and_goes_on_from_the_last_good_state(parts, whole, begin, monkeypatch):
    diverge(monkeypatch, 7)
    run = begin()
    until(lambda: run.over or run.state == "paused", "a guard pauses it")
    status = run.status
    assert (status.state, status.step) == ("paused", 7)
    assert "The loss is 99" in status.reason
    assert "lr" in status.hint
    ask(parts)
    run.resume()
    until(lambda: run.over, "it finishes")
    assert measured(run) == measured(whole)


def test_a_lower_rate_holds_after_a_divergence(begin, monkeypatch):
    diverge(monkeypatch, 7)
    run = begin(RECIPE.replace(schedule="constant", warmup=0))
    until(lambda: run.over or run.state == "paused", "a guard pauses it")
    run.resume(lr=1e-5)
    until(lambda: run.over, "it finishes")
    rates = run.to_frame().lr.dropna()
    assert rates[[1, 10]].tolist() == [1e-3, 1e-5]


def test_where_nobody_watches_a_guard_ends_the_run(begin, monkeypatch):
    diverge(monkeypatch, 7)
    run = begin()
    with pytest.raises(TrainingError, match="The loss is 99"):
        run.wait(90)
    assert run.state == "stopped"


def test_numbers_that_are_none_end_the_run_at_the_last_good_state(parts, begin):
    run = begin(RECIPE.replace(lr=10.0, schedule="constant", warmup=0, clip=0, save_every=1))
    with pytest.raises(TrainingError, match="step"):
        run.wait(90)
    assert run.state == "stopped"
    kept, notes = checkpoint.newest_whole(run.files.checkpoints)
    assert notes == []
    assert all(tensor.isfinite().all() for tensor in kept.read().weights().values())
    assert all(tensor.isfinite().all() for tensor in parts.adapters.weights("persona").values())
    with pytest.raises(TrainingError) as caught:
        run.set_lr(1e-3)
    assert "--resume persona --lr 0.001" in caught.value.hint


def test_a_full_disk_pauses_and_loses_nothing(parts, whole, begin, monkeypatch):
    usage = shutil.disk_usage
    full = []

    def disk_usage(path):
        return shutil._ntuple_diskusage(10**9, 10**9, 10) if full else usage(path)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    run = begin()
    until_step(run, 1)
    full.append(True)
    until(lambda: run.over or run.state == "paused", "it cannot save")
    assert "the disk has" in run.status.reason
    full.clear()
    run.resume()
    until(lambda: run.over, "it finishes")
    assert measured(run) == measured(whole)


def test_an_error_of_ours_is_said_and_its_traceback_kept(begin, monkeypatch):
    def train(*_args):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(execute, "train", train)
    run = begin()
    with pytest.raises(TrainingError, match="ZeroDivisionError: by zero"):
        run.wait(90)
    assert "in train" in run.files.log_file.read_text()
    assert "log.txt" in run.status.hint


def test_a_life_that_left_no_checkpoint_begins_anew(parts, whole, begin, monkeypatch):
    def save(*_args, **_more):
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", save)
        run = begin()
        until(lambda: run.over, "it fails")
    assert run.status.state == "failed"
    assert "persona" not in parts.adapters.names
    assert parts.adapters.active == {}
    run.resume(parts).wait(90)
    assert measured(run) == measured(whole)


# --- an interrupt -------------------------------------------------------------------------------------------


def interrupt():
    raise KeyboardInterrupt


def test_an_interrupt_ends_the_waiting_and_not_the_run_where_somebody_watches(begin, monkeypatch):
    monkeypatch.setattr("llama_nb.tuning.run.detect", lambda: Environment("lab", watched=True, widgets=True))
    said = []
    unsubscribe = events.subscribe(said.append)
    run = begin(RECIPE.replace(steps=4000))
    assert run.wait(90, look=interrupt) is run
    unsubscribe()
    assert not run.over
    assert [event.text for event in said if isinstance(event, events.Note)] == [
        "persona goes on in the background; stop it with %llama train stop persona."
    ]
    run.stop()


def test_an_interrupt_stops_a_run_that_nobody_watches(begin):
    run = begin(RECIPE.replace(steps=4000))
    until_step(run, 1)
    with pytest.raises(KeyboardInterrupt):
        run.wait(90, look=interrupt)
    assert (run.state, run.status.reason) == ("stopped", "interrupted")
    assert list(run.files.checkpoints.glob("step-*"))


# --- the model is wanted back -------------------------------------------------------------------------------


def test_a_model_that_is_trained_is_unloaded_with_force_only(tmp_path, whole):
    from llama_nb.engines.registry import open_engine
    from llama_nb.session.training import parts_of

    source = tiny(tmp_path / "tiny").source
    loaded = load_checked(source)
    model = Model("tiny", open_engine(loaded), loaded, source=source)
    run = start(parts_of(model), persona(), RECIPE, name="persona", root=tmp_path)
    until_step(run, 2)
    run.pause()
    until(lambda: run.state == "paused", "it pauses")
    with pytest.raises(ModelBusy, match=r"in use: the training of persona, step \d+ of 10"):
        model.unload()
    model.unload(force=True)
    assert run.status.state == "stopped"
    assert run.status.reason == "the model was unloaded"
    again = load_parts(open_run(run.folder).base)
    try:
        open_run(run.folder).resume(again).wait(90)
        assert measured(run) == measured(whole)
    finally:
        again.engine.close()


def test_a_run_that_waits_for_another_can_be_given_up(begin):
    first = begin(RECIPE.replace(steps=4000))
    until_step(first, 1)
    second = begin(RECIPE.replace(steps=2), name="second")
    assert second.state == "waiting"
    second.stop()
    assert (second.state, second.status.reason) == ("stopped", "stopped before it began")
    assert not first.over
    first.stop()


def test_an_order_for_an_earlier_life_does_not_count(parts, begin):
    run = begin(RECIPE.replace(steps=3))
    until_step(run, 1)
    run.stop()
    append_order(run.folder, "stop", reason="late")
    if run.state == "stopped":
        run.resume(parts).wait(90)
    assert run.state == "finished"


# --- every weight -------------------------------------------------------------------------------------------


def test_every_weight_may_be_trained(tmp_path):
    whole_model = tiny(tmp_path / "tiny")
    try:
        recipe = RECIPE.replace(method="full", lr=1e-4, dropout=0.0, steps=4)
        run = start(whole_model, persona(), recipe, name="persona", root=tmp_path).wait(90)
        assert run.status.validation < run.to_frame().validation_loss.dropna().iloc[0]
        found = load_checked(str(RunFolder(run.folder).model))
        trained = dict(whole_model.module.named_parameters())
        assert all(torch.equal(value, trained[name]) for name, value in found.module.named_parameters())
        assert found.checked.fingerprint != whole_model.fingerprint
        other = start(whole_model, persona(), recipe, name="other", root=tmp_path)
        with pytest.raises(TrainingError, match="no longer its own"):
            other.wait(90)
    finally:
        whole_model.engine.close()


def test_this_process_is_at_work(begin):
    run = begin()
    until_step(run, 1)
    assert run.files.state().process == this_process()
    run.stop()
