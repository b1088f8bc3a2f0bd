import dataclasses
from pathlib import Path

import pytest

from llama_nb.core.errors import TrainingError
from llama_nb.core.events import Note, captured
from llama_nb.tuning import child
from llama_nb.tuning.elsewhere import elsewhere, launch_of, share_recipe
from llama_nb.tuning.launching import Launch
from llama_nb.tuning.process import this_process
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.run_folder import Base, RunFolder, RunState, create


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that waits for whoever executes it."""
    monkeypatch.chdir(tmp_path)
    waiting = RunState(executor="torchrun", process=this_process())
    return create(
        Path("runs"), "persona", Recipe(), Base("cria", "cria", "f"), lambda made: made.write_state(waiting)
    )


def _notes(work) -> list[str]:
    events: list[object] = []
    with captured(events.append):
        work()
    return [event.text for event in events if isinstance(event, Note)]


@pytest.mark.parametrize(
    ("batch", "accumulate", "processes", "shared"),
    [
        (4, 1, 1, (4, 1)),
        (4, 1, 2, (2, 2)),
        (4, 1, 4, (1, 4)),
        (4, 6, 4, (3, 8)),
        (2, 2, 2, (2, 2)),
        (6, 1, 3, (2, 3)),
    ],
)
def test_a_step_keeps_its_rows(batch, accumulate, processes, shared):
    recipe = Recipe(batch=batch, accumulate=accumulate, lr=1e-4)
    found = share_recipe(recipe, processes)
    assert (found.batch, found.accumulate) == shared
    assert found == dataclasses.replace(recipe, batch=shared[0], accumulate=shared[1])


def test_a_changed_batch_is_said():
    assert _notes(lambda: share_recipe(Recipe(batch=4), 1)) == []
    assert _notes(lambda: share_recipe(Recipe(batch=4), 2)) == [
        "Each step's 4 rows are shared by 2 processes: batch 2, accumulate 2."
    ]


def test_rows_that_cannot_be_shared_are_refused():
    with pytest.raises(TrainingError, match="3 processes cannot share the 4 rows of a step") as error:
        share_recipe(Recipe(batch=4), 3)
    assert error.value.hint == "Use 1 or 2 or 4 of them, or --batch 2 --accumulate 3."
    assert share_recipe(Recipe(batch=2, accumulate=3), 3).accumulate == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gpus": 4}, "gpus is for several processes"),
        ({"nodes": 2}, "nodes is for several processes"),
        ({"shard": True}, "shard is for several processes"),
        ({"launch": "torchrun", "export": "sbatch"}, "--launch torchrun starts the run, and --export sbatch"),
        ({"launch": "torchrun", "workers": 2, "nodes": 2}, "2 machines are asked for"),
        ({"launch": "slurm", "workers": 2}, "'slurm' is no launcher"),
        ({"export": "slurm"}, "'slurm' is no kind of job"),
        ({"launch": "torchrun", "workers": 3}, "3 processes cannot share"),
        ({"export": "sbatch", "gpus": 3}, "3 processes cannot share"),
        ({"export": "sbatch", "gpus": 2, "nodes": 4}, "8 processes cannot share"),
    ],
)
def test_what_makes_no_sense_is_refused(options, says):
    with pytest.raises(TrainingError) as error:
        elsewhere(Recipe(batch=4), **options)
    assert says in error.value.message
    assert error.value.hint


def test_a_base_that_is_trained_itself_is_not_spread():
    with pytest.raises(TrainingError, match="every weight is trained"):
        elsewhere(Recipe.of(method="full"), launch="torchrun", workers=2, shard=True)
    assert elsewhere(Recipe.of(method="full"), launch="torchrun", workers=2).name == "torchrun"


def test_nothing_asked_is_here():
    found = elsewhere(Recipe())
    assert (found.executor, found.name, found.recipe) == (None, "", Recipe())


def test_a_launch_is_started_and_remembered(folder, monkeypatch):
    spawned: list[tuple] = []
    monkeypatch.setattr(child, "spawn", lambda *given: spawned.append(given))
    found = elsewhere(Recipe(batch=4), launch="torchrun", workers=2)
    assert (found.name, found.recipe.batch) == ("torchrun", 2)
    found.executor(folder, None)
    ((run, line, environment),) = spawned
    assert run is folder
    assert line[-1] == str(folder.path.absolute())
    assert environment["OMP_NUM_THREADS"]
    assert launch_of(folder) == Launch("torchrun", 2, gpu=False)


def test_a_run_that_was_not_launched_last_goes_on_as_it_was(folder):
    assert launch_of(folder) is None
    (folder.path / "launch.json").write_text('{"launcher": "torchrun", "processes": 2, "colour": "red"}')
    assert launch_of(folder) is None
    (folder.path / "launch.json").write_text('{"launcher": "torchrun", "processes": 2}')
    assert launch_of(folder) == Launch("torchrun", 2)
    folder.write_state(dataclasses.replace(folder.state(), executor="kernel"))
    assert launch_of(folder) is None


def test_an_exported_run_waits_for_its_job(folder):
    found = elsewhere(Recipe(batch=8), export="sbatch", gpus=2, nodes=2)
    notes = _notes(lambda: found.executor(folder, None))
    assert (folder.path / "job.sbatch").is_file()
    state = folder.state()
    assert (state.state, state.reason) == ("stopped", "until its job starts: sbatch runs/persona/job.sbatch")
    assert len(notes) == 1
    assert notes[0].endswith("Start it: sbatch runs/persona/job.sbatch")
    assert str(folder.path.absolute()) not in notes[0]
