"""What is said before a cluster trains anything; tests/tuning/test_launchers.py has a real one."""

import sys
from argparse import Namespace
from types import SimpleNamespace

import pytest

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.ray_launch import _connect, _take_gpus, run_on_ray
from llama_nb.tuning.run_folder import RunFolder


@pytest.mark.parametrize(
    ("cores", "gpus", "workers", "asked", "taken"),
    [(2, 0, 2, False, False), (8, 4, 4, False, True), (8, 1, 2, False, False), (8, 2, 2, True, True)],
)
def test_workers_take_gpus_where_there_are_enough(cores, gpus, workers, asked, taken):
    assert _take_gpus({"CPU": cores, "GPU": gpus}, workers, asked=asked) is taken


@pytest.mark.parametrize(
    ("found", "asked", "says", "hint"),
    [
        ({"CPU": 8.0, "GPU": 1.0}, True, "4 GPUs are asked for; the cluster has 1", "--workers 1"),
        ({"CPU": 3.0}, False, "4 workers are asked for; the cluster has 3 cores", "--workers 3"),
        ({}, True, "the cluster has 0", "--workers 1"),
    ],
)
def test_a_cluster_that_is_too_small_is_refused(found, asked, says, hint):
    with pytest.raises(TrainingError) as error:
        _take_gpus(found, 4, asked=asked)
    assert says in error.value.message
    assert error.value.hint == hint


def test_without_ray_the_pip_line_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TrainingError, match="Ray is not installed") as error:
        run_on_ray(RunFolder(tmp_path), Namespace(ray="auto", workers=2, gpu=False, shard=False))
    assert error.value.hint == "pip install 'llama-nb[ray]'"


@pytest.mark.parametrize(
    ("raised", "says", "hint"),
    [
        (
            ImportError("No module named 'grpc'"),
            "Ray's client is not installed",
            "pip install 'llama-nb[ray]'",
        ),
        (
            ConnectionError("timed out\nmore"),
            "There is no Ray cluster at ray://head:10001: timed out",
            "ray start",
        ),
    ],
)
def test_a_cluster_that_is_not_there_is_said(raised, says, hint):
    def init(**_options: object) -> None:
        raise raised

    with pytest.raises(TrainingError) as error:
        _connect(SimpleNamespace(init=init), "ray://head:10001")
    assert error.value.message.startswith(says)
    assert hint in error.value.hint


def test_where_no_cluster_runs_one_is_started():
    asked: list[object] = []

    def init(address: str, **_options: object) -> None:
        asked.append(address)
        if address == "auto":
            raise ConnectionError("none")

    _connect(SimpleNamespace(init=init), "auto")
    assert asked == ["auto", "local"]
