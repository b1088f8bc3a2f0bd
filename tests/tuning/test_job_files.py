import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.job_files import KINDS, processes, write_job

# A name that a shell would run, were it not quoted.
HOSTILE = "runs of $(touch it); 'x' \"y\""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / HOSTILE / "my run"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """Programs of a cluster that only say what they were called with, one argument a line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("srun", "ray"):
        (folder / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (folder / name).chmod(0o755)
    (folder / "scontrol").write_text("#!/bin/sh\necho node-a\necho node-b\n")
    (folder / "scontrol").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "41007", "SLURM_NNODES": "2",
            "SLURM_JOB_NODELIST": "node-[a-b]"}  # fmt: skip


def _arguments(file: Path, programs: dict[str, str]) -> list[str]:
    done = subprocess.run(
        ["bash", file], env=programs, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def test_a_slurm_job_starts_the_launch_on_each_node(run, programs, tmp_path):
    job = write_job(run, "sbatch", gpus=4, nodes=2, shard=True, here=tmp_path)
    assert shlex.split(job.command) == ["sbatch", str((run / "job.sbatch").relative_to(tmp_path))]
    said = _arguments(job.path, programs)
    assert said[:4] == [sys.executable, "-P", "-m", "torch.distributed.run"]
    assert said[said.index("--rdzv-endpoint") + 1] == "node-a:21007"
    assert said[said.index("--nproc-per-node") + 1] == "4"
    assert said[-4:] == ["-m", "llama_nb.tuning.launch", str(run), "--shard"]
    lines = job.path.read_text().splitlines()
    assert "#SBATCH --nodes=2" in lines
    assert "#SBATCH --gpus-per-node=4" in lines
    assert not list(tmp_path.glob("**/it"))


def test_a_ray_job_is_submitted_to_the_head(run, programs, tmp_path):
    job = write_job(run, "ray", workers=2, head="head:10001", here=tmp_path)
    said = _arguments(job.path, programs)
    assert said[:4] == ["job", "submit", "--address", "http://head:8265"]
    assert said[said.index("--") + 1 :] == [
        sys.executable, "-P", "-m", "llama_nb.tuning.launch", str(run), "--ray", "auto", "--workers", "2",
    ]  # fmt: skip
    there = _arguments(job.path, programs | {"RAY_ADDRESS": "http://other:1"})
    assert there[3] == "http://other:1"


def test_accelerate_reads_its_settings(run, tmp_path):
    from accelerate.commands.config.config_args import load_config_from_file

    job = write_job(run, "accelerate", gpus=3, here=tmp_path)
    config = load_config_from_file(str(job.path))
    assert config.num_processes == 3
    assert (config.rdzv_backend, config.main_process_port) == ("static", 0)
    words = shlex.split(job.command)
    inside = run.relative_to(tmp_path)
    assert words[:4] == ["accelerate", "launch", "--config_file", str(inside / "accelerate.yaml")]
    assert words[-1] == str(inside)


def test_what_was_there_is_replaced_and_nothing_else(run, tmp_path):
    for kind in KINDS:
        first = write_job(run, kind, here=tmp_path)
        again = write_job(run, kind, gpus=2, here=tmp_path)
        assert first.path == again.path
    assert sorted(file.name for file in run.iterdir()) == ["accelerate.yaml", "job.sbatch", "ray_job.sh"]


def test_one_gpu_unless_said():
    assert [processes(), processes(gpus=4, nodes=2), processes(workers=3)] == [1, 8, 3]


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("slurm", {}, "'slurm' is no kind of job; there are sbatch, accelerate, ray"),
        ("sbatch", {"gpus": 0}, "gpus is 0"),
        ("sbatch", {"nodes": 1.5}, "nodes is 1.5"),
        ("sbatch", {"gpus": 1, "workers": 1}, "Both gpus=1 and workers=1"),
    ],
)
def test_what_makes_no_sense_is_refused(run, kind, options, says):
    with pytest.raises(TrainingError) as error:
        write_job(run, kind, **options)
    assert says in error.value.message
    assert not list(run.iterdir())


def test_a_path_that_would_add_a_line_is_refused(tmp_path):
    folder = tmp_path / "a\nrm -rf b"
    folder.mkdir()
    with pytest.raises(TrainingError, match="control characters"):
        write_job(folder, "sbatch")


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(TrainingError, match=r"job\.sbatch cannot be written"):
        write_job(tmp_path / "nowhere", "sbatch")
