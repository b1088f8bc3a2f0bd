"""Job files for a run that another machine executes: a Slurm script, accelerate's settings, a Ray job.

Each starts `llama_nb.tuning.launch` on the run's folder, the same one there as here (a shared drive).
Whoever starts it again goes on from the newest checkpoint, so a job that is cut off may simply be requeued.
"""

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from llama_nb.core.errors import TrainingError, did_you_mean
from llama_nb.tuning.json_lines import replace_bytes
from llama_nb.tuning.launching import MODULE, MOST, RESTARTS, Launch, Launcher, check_count

Kind = Literal["sbatch", "accelerate", "ray"]
KINDS: Final = get_args(Kind)
_LAUNCHERS: Final[dict[Kind, Launcher]] = {"sbatch": "torchrun", "accelerate": "accelerate", "ray": "ray"}
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]")
# Before the time is up Slurm says so this many seconds ahead: enough for a step and a checkpoint.
_NOTICE_S: Final = 180
_PORTS: Final = 20_000  # each job its own port, from 20,000 on


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job file that was written.

    Attributes
    ----------
    path
        The file, in the run's folder.
    command
        What starts it, to be typed in a terminal.
    note
        What must be true where it is started.
    """

    path: Path
    command: str
    note: str

    def __str__(self) -> str:
        return f"{self.path.name} is written into the run's folder. {self.note}\nStart it: {self.command}"


def write_job(
    folder: Path,
    kind: str,
    *,
    gpus: int | None = None,
    workers: int | None = None,
    nodes: int = 1,
    shard: bool = False,
    head: str = "",
    here: Path | None = None,
) -> JobFile:
    """Write the job file of a run and return it with the command that starts it.

    Parameters
    ----------
    folder
        The run's folder.
    kind
        "sbatch", "accelerate" or "ray".
    gpus, workers
        Processes on each node, with a GPU each or on the CPU; one GPU if neither is given. With Ray: in all.
    nodes
        Machines.
    shard
        Whether the frozen base is spread over the processes.
    head
        The head of a Ray cluster; RAY_ADDRESS, or the machine that submits, if it is "".
    here
        The folder from which the base's name is understood; default: the current one.

    Raises
    ------
    TrainingError
        If there is no such kind, a count is none, or a path cannot stand in such a file.
    """
    checked = check_kind(kind)
    if gpus is not None and workers is not None:
        raise TrainingError(
            f"Both gpus={gpus} and workers={workers} say how many processes there are.",
            "Give --gpus N for processes with a GPU each, or --workers N for the CPU.",
        )
    name, count = ("gpus", 1 if gpus is None else gpus) if workers is None else ("workers", workers)
    each = check_count(name, count, MOST)
    check_count("nodes", nodes, MOST)
    launch = Launch(_LAUNCHERS[checked], each, workers is None, shard, head)
    place = _Place(_said(folder.resolve()), _said((here or Path.cwd()).resolve()), nodes)
    file, text, command, note = _WRITERS[checked](place, launch)
    path = folder / file
    try:
        replace_bytes(path, text.encode())
    except OSError as error:
        raise TrainingError(
            f"The job file {file} cannot be written into {folder.name}: {error.strerror or error}.",
            "Free some disk space, or make the folder writable.",
        ) from error
    return JobFile(path, command, note)


def check_kind(kind: str) -> Kind:
    """Return `kind` if there is such a job; raises TrainingError, whose hint has the nearest."""
    if str(kind) not in KINDS:
        raise TrainingError(
            f"{str(kind)[:40]!r} is no kind of job; there are {', '.join(KINDS)}.",
            did_you_mean(str(kind), KINDS) or "Such as --export sbatch --gpus 4",
        )
    return cast("Kind", kind)


def processes(*, gpus: int | None = None, workers: int | None = None, nodes: int = 1) -> int:
    """Return how many processes such a job has in all."""
    return (workers or gpus or 1) * nodes


@dataclass(frozen=True, slots=True)
class _Place:
    folder: str
    here: str
    nodes: int

    @property
    def run(self) -> str:
        return shlex.quote(self.folder)

    def typed(self, name: str = "") -> str:
        """Return a file of the run as it is typed in the folder from which the base is understood."""
        path, here = Path(self.folder, name), Path(self.here)
        return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _said(path: Path) -> str:
    text = str(path)
    if _UNPRINTABLE.search(text):
        raise TrainingError(
            f"The path {text!r} has control characters, which no job file can hold.", "Rename that folder."
        )
    return text


def _inner(run: str, launch: Launch) -> str:
    return f"-m {MODULE} {run}" + (" --shard" if launch.shard else "")


def _sbatch(place: _Place, launch: Launch) -> tuple[str, str, str, str]:
    name = re.sub(r"[^\w.-]+", "-", Path(place.folder).name)
    output = f"{place.folder}/slurm-%j.txt".replace('"', '\\"')
    each = "gpus-per-node" if launch.gpu else "cpus-per-task"
    text = f"""#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes={place.nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --{each}={launch.processes}
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@{_NOTICE_S}
#SBATCH --output="{output}"
# Partition and account are your cluster's: add their lines here.
# When the time is up the run stops with a checkpoint; started again, it goes on from there.
set -euo pipefail
cd {shlex.quote(place.here)}
export PYTHONSAFEPATH=1 TOKENIZERS_PARALLELISM=false
nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
srun {shlex.quote(sys.executable)} -P -m torch.distributed.run \\
  --nnodes "$SLURM_NNODES" --nproc-per-node {launch.processes} --max-restarts {RESTARTS} \\
  --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" \\
  --rdzv-endpoint "${{nodes[0]}}:$((20000 + SLURM_JOB_ID % {_PORTS}))" \\
  {_inner(place.run, launch)}
"""
    note = "The run's folder and this Python must be there on every node."
    return "job.sbatch", text, f"sbatch {place.typed('job.sbatch')}", note


def _accelerate(place: _Place, launch: Launch) -> tuple[str, str, str, str]:
    text = f"""# Read by `accelerate launch`. On each of several machines machine_rank is its own number, and
# main_process_ip the address of number 0. MULTI_GPU without GPUs computes on the CPU.
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_GPU
machine_rank: 0
{"main_process_ip: null" if place.nodes == 1 else "main_process_ip: FIRST-MACHINE"}
main_process_port: {0 if place.nodes == 1 else 29500}
rdzv_backend: {"static" if place.nodes == 1 else "c10d"}
same_network: true
num_machines: {place.nodes}
num_processes: {launch.processes * place.nodes}
mixed_precision: 'no'
use_cpu: false
"""
    command = f"accelerate launch --config_file {place.typed('accelerate.yaml')} "
    command += f"--max_restarts {RESTARTS} {_inner(place.typed(), launch)}"
    where = "" if place.nodes == 1 else " Write the first one's address and each one's machine_rank into it."
    note = f"The run's folder must be there on every machine.{where}"
    return "accelerate.yaml", text, command, note


def _ray(place: _Place, launch: Launch) -> tuple[str, str, str, str]:
    address = f"http://{launch.address.partition(':')[0]}:8265" if launch.address else "http://127.0.0.1:8265"
    options = f"--ray auto --workers {launch.processes * place.nodes}" + (" --gpu" if launch.gpu else "")
    text = f"""#!/bin/bash
# Submits the run to a Ray cluster by its jobs' server, which listens at port 8265 of the head.
set -euo pipefail
cd {shlex.quote(place.here)}
ray job submit --address "${{RAY_ADDRESS:-{address}}}" --no-wait -- \\
  {shlex.quote(sys.executable)} -P {_inner(place.run, launch)} {options}
"""
    note = "The run's folder and this Python must be there on every machine of the cluster."
    return "ray_job.sh", text, f"bash {place.typed('ray_job.sh')}", note


_WRITERS: Final = {"sbatch": _sbatch, "accelerate": _accelerate, "ray": _ray}
