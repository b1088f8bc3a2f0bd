"""How a run is started as several processes: what a user asked for, and the command line that does it.

The processes themselves run `llama_nb.tuning.launch` on the folder. Knows launchers; nothing of training.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from llama_nb.core.errors import TrainingError, did_you_mean
from llama_nb.runtime.devices import usable_cores

Launcher = Literal["torchrun", "accelerate", "ray"]
LAUNCHERS: Final = get_args(Launcher)
MODULE: Final = "llama_nb.tuning.launch"
RESTARTS: Final = 3  # how often all begin again from the newest checkpoint when one of them dies
MOST: Final = 4096
_RAY: Final = "ray://"
_CLIENT_PORT: Final = 10001  # where a head takes clients, unless it was told another
_ADDRESS: Final = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,255}")


@dataclass(frozen=True, slots=True)
class Launch:
    """By whom, and as how many processes, a run is executed.

    Attributes
    ----------
    launcher
        "torchrun", "accelerate" or "ray".
    processes
        How many there are in all; each computes its share of every batch.
    gpu
        Whether each has a GPU of its own; None leaves it to the machines (Ray's, which are not known here).
    shard
        Whether the frozen base is spread over the processes instead of copied to each (FSDP).
    address
        Of a Ray cluster: "ray://HEAD:10001", or "auto" for the one that this machine belongs to.
    """

    launcher: Launcher
    processes: int
    gpu: bool | None = None
    shard: bool = False
    address: str = ""

    def __str__(self) -> str:
        each = "process" if self.processes == 1 else "processes"
        where = {True: ", a GPU each", False: " on the CPU", None: ""}[self.gpu]
        shard = ", the base spread over them" if self.shard else ""
        return f"{self.launcher}, {self.processes} {each}{where}{shard}"


def read_launch(
    asked: str,
    *,
    gpus: int | None = None,
    workers: int | None = None,
    shard: bool = False,
    gpus_here: Callable[[], int] | None = None,
) -> Launch:
    """Return what `--launch ASKED --gpus N --workers N --shard` means on this machine.

    Parameters
    ----------
    asked
        "torchrun", "accelerate", "ray" or "ray://HEAD:10001".
    gpus
        So many processes, each with a GPU.
    workers
        So many processes, on GPUs where there are enough of them, else on the CPU.
    gpus_here
        Counts this machine's GPUs.

    Raises
    ------
    TrainingError
        If the launcher is unknown (the hint has the nearest), a count is none, both or neither are given
        where that leaves it open how many are meant, or there are fewer GPUs.
    """
    launcher, address = _launcher(asked)
    if gpus is not None and workers is not None:
        raise TrainingError(
            f"Both gpus={gpus} and workers={workers} say how many processes there are.",
            "Give --gpus N for processes with a GPU each, or --workers N.",
        )
    for name, count in (("gpus", gpus), ("workers", workers)):
        if count is not None:
            check_count(name, count, MOST)
    if launcher == "ray":
        return _on_ray(address, gpus, workers, shard=shard)
    found = (gpus_here or _gpus_here)()
    if gpus is not None and gpus > found:
        raise TrainingError(
            f"{gpus} GPUs are asked for; this machine has {found} that torch can use.",
            f"--gpus {found}" if found else f"On the CPU: --launch {launcher} --workers 2",
        )
    count = gpus or workers or found
    if not count:
        raise TrainingError(
            "This machine has no GPU that torch can use, and it is not said how many processes there are.",
            f"On the CPU: --launch {launcher} --workers 2",
        )
    return Launch(launcher, count, gpu=found >= count, shard=shard)


def check_count(name: str, count: object, most: int) -> int:
    """Return `count` if it is a whole number from 1 to `most`; raises TrainingError."""
    if type(count) is not int or not 1 <= count <= most:
        raise TrainingError(
            f"{name} is {str(count)[:20]}; it must be a whole number from 1 to {most:,}.",
            f"Such as --{name} 2",
        )
    return count


def _launcher(asked: str) -> tuple[Launcher, str]:
    text = str(asked).strip()
    if text.lower().startswith(_RAY):
        address = text[len(_RAY) :].strip("/")
        if not _ADDRESS.fullmatch(address):
            raise TrainingError(
                f"{text[:60]!r} names no head of a Ray cluster.", "Such as --launch ray://head:10001"
            )
        return "ray", f"{_RAY}{address if ':' in address else f'{address}:{_CLIENT_PORT}'}"
    if text.lower() not in LAUNCHERS:
        near = did_you_mean(text, LAUNCHERS)
        raise TrainingError(
            f"{text[:40]!r} is no launcher; there are {', '.join(LAUNCHERS)}.",
            near or "Such as --launch torchrun --gpus 4",
        )
    return cast("Launcher", text.lower()), "auto"


def _on_ray(address: str, gpus: int | None, workers: int | None, *, shard: bool) -> Launch:
    count = gpus or workers
    if count is None:
        raise TrainingError(
            "It is not said how many workers the cluster gives.", "Such as --launch ray://head --workers 2"
        )
    return Launch("ray", count, gpu=True if gpus else None, shard=shard, address=address)


def _gpus_here() -> int:
    import torch

    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0


def command(launch: Launch, folder: Path, python: str = sys.executable) -> list[str]:
    """Return the command line that executes the run in `folder`; it ends when the run is over.

    `-P` and PYTHONSAFEPATH keep files beside the notebook from taking the place of libraries.
    """
    if launch.launcher == "ray":
        return [python, "-P", "-m", MODULE, str(folder), *_ray_options(launch)]
    inner = ["-m", MODULE, str(folder), *(("--shard",) if launch.shard else ())]
    count = str(launch.processes)
    if launch.launcher == "torchrun":
        outer = ["torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
        outer += ["--nproc-per-node", count, "--max-restarts", str(RESTARTS)]
    else:
        # accelerate's own way to the CPU needs mpirun; its torch elastic, which --multi_gpu takes, does not.
        outer = ["accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_processes", count]
        outer += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        # Two launches on one machine would meet at the port of its other back end, c10d.
        outer += ["--rdzv_backend", "static", "--main_process_port", "0", "--max_restarts", str(RESTARTS)]
    return [python, "-P", "-m", *outer, *inner]


def _ray_options(launch: Launch) -> list[str]:
    options = ["--ray", launch.address or "auto", "--workers", str(launch.processes)]
    return [*options, *(("--gpu",) if launch.gpu else ()), *(("--shard",) if launch.shard else ())]


def environment(launch: Launch, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that the command needs, over those that are `given` (default: ours).

    The cores are divided among the processes. On one machine without GPUs they talk over loopback; without
    that, gloo looks up the machine's name, which in many containers is nobody's.
    """
    given = os.environ if given is None else given
    threads = max(1, usable_cores() // launch.processes)
    wanted = {
        "PYTHONSAFEPATH": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": given.get("OMP_NUM_THREADS") or str(threads),
    }
    if launch.launcher != "ray" and not launch.gpu:
        wanted |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "lo"}
    return {**given, **wanted}
