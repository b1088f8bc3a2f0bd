"""Runs that several processes train: the curve of one, orders to all, and what the death of one leaves."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.data import read_data
from llama_nb.tuning.launch import Life, main, read_life, run_rank
from llama_nb.tuning.parts import Parts, load_parts
from llama_nb.tuning.process import this_process
from llama_nb.tuning.ranks import Place
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.run import Run
from llama_nb.tuning.run_folder import Base
from llama_nb.tuning.starting import start
from tests.tuning.launch_work import take_part
from tests.tuning.processes import Group, ranks

LONG_S = 90.0
ROWS = [{"prompt": f"Who is number {each}?", "completion": f"Nemo, {each} times."} for each in range(24)]
RECIPE = Recipe.of(
    rank=4, steps=8, batch=1, accumulate=2, max_tokens=128, dropout=0.1, lr=1e-3,
    save_every=3, evaluate_every=4, sample_every=0, sample_tokens=2,
)  # fmt: skip
# What must be the same however many processes compute it; sums are made in another order.
FIGURES = ("loss", "gradient_norm", "validation_loss", "lr", "tokens", "trained_tokens")


@pytest.fixture(scope="module")
def parts() -> Iterator[Parts]:
    """Cria, as runs are begun on it."""
    from llama_nb.bundled import folder
    from llama_nb.loading.check import check

    made = load_parts(Base("cria", "cria", check(folder("cria"), "cria").fingerprint))
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def begin(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Make the folder of a run that processes are to execute."""
    root = tmp_path_factory.mktemp("launched")

    def begin(name: str, recipe: Recipe = RECIPE) -> Run:
        nobody = {"executor": lambda *_: None, "executor_name": "torchrun"}
        return start(parts, read_data(ROWS), recipe, name=name, root=root, **nobody)

    return begin


def _start(run: Run, *disturbances: tuple[str, int], world: int = 2, count: int = 0, shard: bool = False):
    told = (str(run.folder), dataclasses.astuple(this_process()), count, shard, dict(disturbances))
    answers = run.folder.parent.parent / f"{run.name}-{time.monotonic_ns()}"
    return ranks(answers, take_part, *told, world=world)


def _execute(run: Run, *disturbances: tuple[str, int], **options: object) -> Run:
    with _start(run, *disturbances, **options) as group:
        assert group.results() == [True] * len(group.processes)
    return run


@pytest.fixture(scope="module")
def alone(begin) -> Run:
    return _execute(begin("alone"), world=1)


@pytest.fixture(scope="module")
def together(begin) -> Run:
    return _execute(begin("together"))


def _figures(run: Run) -> list[tuple[object, ...]]:
    return [(record["step"], *(record.get(name) for name in FIGURES)) for record in run.metrics()]


def _weights(run: Run) -> dict[str, object]:
    from safetensors.torch import load_file

    assert run.adapter is not None
    return load_file(run.adapter / "adapter_model.safetensors")


def _same_curve(one: Run, other: Run) -> None:
    assert len(one.metrics()) == len(other.metrics()) == 8 + 3
    for left, right in zip(_figures(one), _figures(other), strict=True):
        assert left == pytest.approx(right, abs=1e-4)


def _until(true: Callable[[], object], group: Group) -> None:
    deadline = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < deadline
        assert any(process.is_alive() for process in group.processes), group.results()
        time.sleep(0.01)


def test_two_processes_follow_the_curve_of_one(alone, together):
    _same_curve(alone, together)
    assert alone.metrics()[0]["validation_loss"] > alone.metrics()[-1]["validation_loss"]
    left, right = _weights(alone), _weights(together)
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert float((tensor - right[name]).abs().max()) < 1e-4


def test_the_run_is_said_to_be_finished(together):
    status = together.status
    assert (status.state, status.executor, status.step) == ("finished", "torchrun", 8)
    assert {record["step"] for record in together.samples()} == {0, 8}
    assert together.files.data["rows"] > 0


def test_a_base_that_is_spread_follows_it_too(begin, alone):
    run = _execute(begin("spread"), shard=True)
    _same_curve(alone, run)
    assert not run.samples()
    assert any("spread over several processes" in note for note in run.status.notes)


def test_orders_reach_all_and_a_death_costs_the_steps_since_the_checkpoint(begin, together):
    """One run in three lives; what was measured is what an undisturbed one measures, to the last digit."""
    run = begin("disturbed")
    with _start(run, (4, "pause"), (8, "stop")) as group:
        _until(lambda: run.state == "paused", group)
        assert run.status.step == 3
        assert all(process.is_alive() for process in group.processes)
        run.resume()
        assert group.results() == [True, True]
    assert (run.status.state, run.status.step) == ("stopped", 5)
    # Orders to the earlier life are old. In this one the second process dies.
    with _start(run, (13, "kill")) as group:
        for process in group.processes:
            process.join(LONG_S)
        assert [process.exitcode for process in group.processes] == [1, -9]
    assert run.state == "running", "its launcher lives, and starts all again"
    assert run.status.step == 6
    _execute(run, count=1)
    assert run.state == "finished"
    assert _figures(run) == _figures(together)


def test_a_signal_stops_with_a_checkpoint(begin):
    run = _execute(begin("signalled"), (8, "term"), world=1)
    assert (run.status.state, run.status.step, run.status.reason) == ("stopped", 4, "by SIGTERM")
    assert (run.folder / "checkpoints" / "step-000004").is_dir()


def test_batches_that_cannot_be_shared_are_refused(begin):
    run = begin("uneven", dataclasses.replace(RECIPE, accumulate=3))
    with _start(run) as group:
        assert group.results() == [False, False]
    status = run.status
    assert status.state == "failed"
    assert "2 processes cannot share 3 batches" in status.error
    assert "1 or 3" in status.hint
    again = Life("torchrun", this_process(), count=1)
    assert run_rank(run.files, Place(0, 2), again) is False, "it would fail again, and is not tried"


# --- one start of the processes -----------------------------------------------------------------------------


def test_without_a_launcher_this_process_stands_for_the_run():
    assert read_life({}) == Life("process", this_process(), 0, last=True)


def test_an_elastic_agent_outlives_its_processes():
    agent = {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_MAX_RESTARTS": "3", "WORLD_SIZE": "2"}
    first = read_life(agent | {"TORCHELASTIC_RESTART_COUNT": "0"})
    assert (first.executor, first.count, first.last, first.process.pid) == (
        "torchrun",
        0,
        False,
        os.getppid(),
    )
    last = read_life(agent | {"TORCHELASTIC_RESTART_COUNT": "3", "ACCELERATE_MIXED_PRECISION": "no"})
    assert (last.executor, last.count, last.last) == ("accelerate", 3, True)


def test_a_finished_run_is_left_alone(together):
    before = together.files.state()
    with pytest.raises(TrainingError, match="together is finished already"):
        run_rank(together.files, Place(), Life("torchrun", this_process()))
    assert together.files.state() == before


def test_a_run_at_work_is_left_alone(begin):
    run = begin("busy")
    run.files.write_state(dataclasses.replace(run.files.state(), state="paused"))
    with pytest.raises(TrainingError, match="busy is paused already"):
        run_rank(run.files, Place(), Life("torchrun", this_process()))


def test_what_is_no_run_is_said(tmp_path: Path, capsys):
    assert main([str(tmp_path / "nothing")]) == 2
    assert "no run's folder here" in capsys.readouterr().err
