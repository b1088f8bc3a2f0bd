import subprocess
import sys
from pathlib import Path

import pytest

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.launching import Launch, command, environment, read_launch


def _read(asked: str, *, here: int = 0, **options: object) -> Launch:
    return read_launch(asked, gpus_here=lambda: here, **options)


def test_gpus_are_processes_with_one_each():
    assert _read("torchrun", gpus=4, here=8) == Launch("torchrun", 4, gpu=True)
    assert str(_read("torchrun", gpus=4, here=8)) == "torchrun, 4 processes, a GPU each"


def test_all_gpus_where_no_number_is_given():
    assert _read("accelerate", here=2) == Launch("accelerate", 2, gpu=True)


def test_workers_take_the_cpu_where_gpus_are_too_few():
    assert _read("torchrun", workers=2, here=1) == Launch("torchrun", 2, gpu=False)
    assert _read("torchrun", workers=2, here=2).gpu is True


def test_a_cluster_says_itself_what_it_has():
    assert _read("ray://head.example:10001", workers=2) == Launch(
        "ray", 2, address="ray://head.example:10001"
    )
    assert _read("ray", gpus=8) == Launch("ray", 8, gpu=True, address="auto")
    assert _read("RAY://head/", workers=1).address == "ray://head:10001"


@pytest.mark.parametrize(
    ("asked", "options", "says", "hint"),
    [
        ("torchrn", {"workers": 2}, "'torchrn' is no launcher", "torchrun"),
        ("", {"workers": 2}, "is no launcher; there are torchrun, accelerate, ray", "--launch torchrun"),
        ("torchrun", {}, "has no GPU", "--workers 2"),
        ("torchrun", {"gpus": 4}, "4 GPUs are asked for; this machine has 0", "--workers 2"),
        ("torchrun", {"gpus": 4, "here": 2}, "this machine has 2", "--gpus 2"),
        ("torchrun", {"gpus": 0}, "gpus is 0; it must be a whole number from 1", "--gpus 2"),
        ("torchrun", {"workers": -1}, "workers is -1", "--workers 2"),
        ("torchrun", {"workers": True}, "workers is True", "--workers 2"),
        ("torchrun", {"workers": "2"}, "workers is 2; it must be a whole number", "--workers 2"),
        ("torchrun", {"gpus": 2, "workers": 2}, "Both gpus=2 and workers=2", "--gpus N"),
        ("ray", {}, "not said how many workers", "--workers 2"),
        ("ray://", {"workers": 2}, "names no head", "ray://head:10001"),
        ("ray://a b;rm", {"workers": 2}, "names no head", "ray://head:10001"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, options, says, hint):
    with pytest.raises(TrainingError) as error:
        _read(asked, **options)
    assert says in error.value.message
    assert hint in error.value.hint


def test_the_folder_is_one_argument_and_libraries_are_not_shadowed():
    line = command(Launch("torchrun", 2, shard=True), Path("runs/my run; x"))
    assert line[:2] == [sys.executable, "-P"]
    assert line[-4:] == ["-m", "llama_nb.tuning.launch", "runs/my run; x", "--shard"]
    assert line[line.index("--nproc-per-node") + 1] == "2"


def test_each_launcher_gets_the_same_module():
    for launch in (Launch("accelerate", 3), Launch("ray", 3, gpu=True, address="head:1", shard=True)):
        assert "llama_nb.tuning.launch" in command(launch, Path("runs/x"))
    assert command(launch, Path("runs/x"))[-6:] == ["--ray", "head:1", "--workers", "3", "--gpu", "--shard"]


def test_processes_share_the_cores_and_keep_to_the_cpu():
    found = environment(Launch("torchrun", 10_000, gpu=False), {"HOME": "here"})
    assert found["HOME"] == "here"
    assert found["OMP_NUM_THREADS"] == "1"
    assert found["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in environment(Launch("torchrun", 2, gpu=True), {})
    assert environment(Launch("torchrun", 2), {"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("launcher", "parser"),
    [
        ("torchrun", "torch.distributed.run import get_args_parser"),
        ("accelerate", "accelerate.commands.launch import launch_command_parser"),
    ],
)
def test_the_launchers_know_the_options(launcher, parser):
    line = command(Launch(launcher, 2), Path("runs/x"))
    given = line[line.index("-m") + 2 :]
    given = given[given.index("launch") + 1 :] if launcher == "accelerate" else given
    code = f"import sys; from {parser} as p; print(p().parse_args(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *given], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert "llama_nb.tuning.launch" in done.stdout
