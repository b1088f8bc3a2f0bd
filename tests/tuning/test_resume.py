"""A run that was stopped anywhere goes on to the last digit: losses, weights and all that was measured."""

import pytest
import torch

from llama_nb.tuning.starting import resume, start
from tests.tuning.runs import RECIPE, ask, measured, persona, tiny, until, until_step

KINDS = {
    "packed, with dropout": RECIPE,
    "not packed, DoRA": RECIPE.replace(method="dora", packing=False, batch=2, target="all-linear"),
    "rsLoRA, linear, weight decay": RECIPE.replace(method="rslora", schedule="linear", weight_decay=0.1),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture
def fresh(folder):
    """The model as a new process has it."""
    made = []

    def fresh():
        made.append(tiny(folder))
        return made[-1]

    yield fresh
    for parts in made:
        parts.engine.close()


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """What a run that nobody disturbed measured, and its weights; each is made once."""
    known = {}

    def whole(recipe):
        if recipe not in known:
            parts = tiny(folder)
            root = tmp_path_factory.mktemp("whole")
            run = start(parts, persona(), recipe, name="persona", root=root).wait(90)
            known[recipe] = (
                measured(run),
                dict(parts.adapters.weights("persona")) if parts.adapters.names else {},
            )
            parts.engine.close()
        return known[recipe]

    return whole


def equal(parts, weights):
    trained = parts.adapters.weights("persona")
    return trained.keys() == weights.keys() and all(
        torch.equal(trained[name], weights[name]) for name in weights
    )


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.full] if "rsLoRA" in kind else []) for kind in KINDS]
)
def test_stops_at_several_steps_change_no_digit(kind, fresh, whole, tmp_path):
    lines, weights = whole(KINDS[kind])
    parts = fresh()
    run = start(parts, persona(), KINDS[kind], name="persona", root=tmp_path / "cut")
    for step in (1, 2, 5, 9):
        until_step(run, step)
        if run.over:
            break
        run.stop()
        resume(run, parts)
    run.wait(90)
    assert measured(run) == lines
    assert equal(parts, weights)


def test_a_new_process_goes_on_where_the_old_one_stopped(fresh, whole, tmp_path):
    lines, weights = whole(RECIPE)
    first = fresh()
    run = start(first, persona(), RECIPE, name="persona", root=tmp_path / "cut")
    until_step(run, 3)
    run.stop()
    first.engine.close()
    torch.manual_seed(12345)  # what a new process has drawn so far does not count
    second = fresh()
    ask(second)
    resume(run, second).wait(90)
    assert measured(run) == lines
    assert all(
        torch.equal(value, weights[name]) for name, value in second.adapters.weights("persona").items()
    )


def test_a_damaged_checkpoint_costs_some_steps_and_no_digit(fresh, whole, tmp_path):
    lines, _ = whole(RECIPE)
    parts = fresh()
    run = start(parts, persona(), RECIPE, name="persona", root=tmp_path / "cut")
    until_step(run, 6)
    run.stop()
    newest = max(run.files.checkpoints.iterdir())
    with (newest / "training.safetensors").open("r+b") as file:
        file.truncate(64)
    resume(run, parts).wait(90)
    assert measured(run) == lines
    notes = " ".join(run.status.notes)
    assert f"The checkpoint {newest.name} is damaged: training.safetensors is not what was written." in notes
    assert "Going on from step 4, the last whole checkpoint." in notes


def test_without_any_whole_checkpoint_it_begins_anew(fresh, whole, tmp_path):
    lines, _ = whole(RECIPE)
    parts = fresh()
    run = start(parts, persona(), RECIPE, name="persona", root=tmp_path / "cut")
    until_step(run, 5)
    run.stop()
    for path in run.files.checkpoints.iterdir():
        (path / "manifest.json").write_text("")
    resume(run, parts).wait(90)
    assert measured(run) == lines
    assert "No checkpoint is whole; beginning anew." in run.status.notes


def test_a_pause_in_the_middle_of_a_step_changes_no_digit(fresh, whole, tmp_path):
    recipe = RECIPE.replace(accumulate=8, steps=4, save_every=1)
    lines, _ = whole(recipe)
    parts = fresh()
    run = start(parts, persona(), recipe, name="persona", root=tmp_path / "cut")
    for step in (1, 2, 3):
        until_step(run, step)
        if not run.over:
            run.pause()
            until(lambda: run.over or run.state == "paused", "it pauses")
            ask(parts)
            run.resume()
    run.wait(90)
    assert measured(run) == lines


def test_every_weight_goes_on_exactly(fresh, whole, tmp_path):
    recipe = RECIPE.replace(method="full", dropout=0.0, lr=1e-4)
    lines, _ = whole(recipe)
    run = start(fresh(), persona(), recipe, name="persona", root=tmp_path / "cut")
    until_step(run, 3)
    run.stop()
    resume(run, fresh()).wait(90)
    assert measured(run) == lines
