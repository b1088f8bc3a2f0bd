"""Real launchers on the CPU: what they start, what they do when a process dies, and a real job."""

import dataclasses
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from llama_nb.bundled import folder
from llama_nb.loading.check import check
from llama_nb.tuning.data import read_data
from llama_nb.tuning.elsewhere import elsewhere
from llama_nb.tuning.parts import Parts, load_parts
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.run import Run
from llama_nb.tuning.run_folder import Base
from llama_nb.tuning.starting import start

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

LONG_S = 400.0
ROWS = [{"prompt": f"Who is number {each}?", "completion": f"Nemo, {each} times."} for each in range(24)]
RECIPE = Recipe.of(
    rank=4, steps=60, batch=2, max_tokens=128, dropout=0.1, lr=1e-3,
    save_every=5, evaluate_every=20, sample_every=0, sample_tokens=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def parts() -> Iterator[Parts]:
    made = load_parts(Base("cria", "cria", check(folder("cria"), "cria").fingerprint))
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("launchers") / "runs"


@pytest.fixture(scope="module")
def begin(parts: Parts, root: Path) -> Callable[..., Run]:
    """Start a run as `m.train(launch=...)` does, or in this process."""

    def begin(name: str, **options: Any) -> Run:
        where = elsewhere(RECIPE, **options)
        given = {"executor": where.executor, "executor_name": where.name} if options else {}
        recipe = where.recipe if options else dataclasses.replace(RECIPE, batch=1, accumulate=2)
        return start(parts, read_data(ROWS), recipe, name=name, root=root, **given)

    return begin


@pytest.fixture(scope="module")
def alone(begin) -> Run:
    return begin("alone").wait(LONG_S)


def _until(true: Callable[[], object], run: Run) -> None:
    deadline = time.monotonic() + LONG_S
    while not true():
        said = (run.folder / "log.txt").read_text(errors="replace")[-3000:]
        assert time.monotonic() < deadline, said
        assert not run.over, f"{run}\n{said}"
        time.sleep(0.05)


def _workers(run: Run) -> dict[str, psutil.Process]:
    """Return the processes that train a run, by their rank."""
    found = {}
    for process in psutil.process_iter():
        try:
            if str(run.folder) in process.cmdline() and "RANK" in (variables := process.environ()):
                found[variables["RANK"]] = process
        except psutil.Error:
            continue
    return found


def _finished(run: Run, alone: Run) -> None:
    _until(lambda: run.state == "finished" or run.over, run) if not run.over else None
    assert run.state == "finished", (run.folder / "log.txt").read_text(errors="replace")[-3000:]
    assert len(run.metrics()) == len(alone.metrics())
    for one, other in zip(run.metrics(), alone.metrics(), strict=True):
        assert one["step"] == other["step"]
        for name in ("loss", "validation_loss", "gradient_norm"):
            assert one.get(name) == pytest.approx(other.get(name), abs=1e-4)


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_a_launcher_starts_all_again_when_one_dies(begin, alone, launcher):
    run = begin(launcher, launch=launcher, workers=2)
    _until(lambda: run.status.step >= 7, run)
    run.pause()
    _until(lambda: run.state == "paused", run)
    before = _workers(run)
    assert set(before) == {"0", "1"}
    before["1"].kill()
    _until(lambda: any("started again once" in note for note in run.status.notes), run)
    _until(lambda: run.state == "paused", run)  # the order holds still
    run.resume()
    _finished(run, alone)
    assert run.status.executor == launcher


def test_a_run_that_was_stopped_is_launched_again(begin, alone):
    run = begin("again", launch="torchrun", workers=2)
    _until(lambda: run.status.step >= 3, run)
    run.stop()
    assert run.state == "stopped"
    run.resume()
    _until(lambda: len(_workers(run)) == 2, run)
    _finished(run, alone)


def test_accelerates_settings_are_a_job(begin, alone):
    run = begin("job", export="accelerate", workers=2)
    assert run.state == "stopped"
    words = shlex.split(run.status.reason.partition(": ")[2])
    assert words[0] == "accelerate"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "accelerate.commands.accelerate_cli", *words[1:]],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True, text=True, check=False, timeout=LONG_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    _finished(run, alone)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a Ray cluster of two nodes, each with one core."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        made.add_node(num_cpus=1)
        made.wait_for_nodes()
        yield made.address
    finally:
        made.shutdown()


def test_a_cluster_trains_the_same_run(begin, alone, cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    run = begin("ray", launch="ray", workers=2)
    _until(lambda: run.status.step >= 7, run)
    run.pause()
    _until(lambda: run.state == "paused", run)
    workers = [each for each in psutil.process_iter() if "RayTrainWorker" in " ".join(_line(each))]
    assert len(workers) == 2
    workers[1].kill()
    _until(lambda: any("started again once" in note for note in run.status.notes), run)
    _until(lambda: run.state == "paused", run)
    run.resume()
    _finished(run, alone)
    assert run.status.executor == "ray"


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
