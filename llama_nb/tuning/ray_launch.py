"""Executes a run on a Ray cluster: Ray Train starts the processes and, when one dies, starts them again.

The only file that imports ray. The run's folder must be the same one on all machines.
"""

import os
import signal
import sys
from argparse import Namespace
from pathlib import Path
from types import FrameType
from typing import Any, Final

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.control import append_order
from llama_nb.tuning.launch import Life, run_rank
from llama_nb.tuning.launching import RESTARTS
from llama_nb.tuning.process import Process, this_process
from llama_nb.tuning.run_folder import RunFolder

_AUTO: Final = "auto"


def run_on_ray(folder: RunFolder, options: Namespace) -> bool:
    """Have a cluster execute the run and wait for its end; return whether it went well.

    Parameters
    ----------
    options
        `ray` (the address), `workers`, `gpu` and `shard`, as on the command line.

    Raises
    ------
    TrainingError
        If Ray is not installed, the cluster is not there, or has not enough of what is asked for.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError as error:
        raise TrainingError("Ray is not installed here.", "pip install 'llama-nb[ray]'") from error
    _connect(ray, options.ray)
    try:
        gpu = _take_gpus(ray.cluster_resources(), options.workers, asked=options.gpu)
        driver = this_process()
        told = {
            "folder": str(folder.path.resolve()),
            "here": str(Path.cwd()),
            "shard": options.shard,
            "driver": (driver.host, driver.pid, driver.born),
        }
        trainer = TorchTrainer(
            _work,
            train_loop_config=told,
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo"),
            scaling_config=ScalingConfig(num_workers=options.workers, use_gpu=gpu),
            run_config=RunConfig(
                name="ray",
                storage_path=told["folder"],
                failure_config=FailureConfig(max_failures=RESTARTS),
            ),
        )
        _stop_on_signals(folder)
        trainer.fit()
    finally:
        ray.shutdown()
    return folder.state().state in ("finished", "stopped")


def _stop_on_signals(folder: RunFolder) -> None:
    """Have SIGTERM and SIGINT order the run to stop with a checkpoint; its workers are elsewhere."""

    def stop(number: int, _frame: FrameType | None) -> None:
        append_order(folder.path, "stop", reason=f"by {signal.Signals(number).name}")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _work(told: dict[str, Any]) -> None:
    """Do one worker's part; raising has Ray start all of them again."""
    from llama_nb.runtime.process import prepare
    from llama_nb.tuning.ranks import read_place

    prepare()
    if Path(told["here"]).is_dir():
        os.chdir(told["here"])
    folder = RunFolder(Path(told["folder"]))
    place = read_place(os.environ)
    state = folder.state()
    begun = state.process == Process(*told["driver"]) and state.state != "waiting"
    life = Life("ray", Process(*told["driver"]), count=int(begun), last=False)
    try:
        run_rank(folder, place, life, shard=told["shard"])
    except TrainingError as error:  # which would come again
        sys.stderr.write(f"{error}\n")


def _connect(ray: Any, address: str) -> None:
    """Connect to the cluster at `address`; "auto" is that of this machine, or one that is started now."""
    quiet = {"log_to_driver": True, "logging_level": "warning"}
    try:
        if address != _AUTO:
            ray.init(address=address, **quiet)
            return
        try:
            ray.init(address=_AUTO, **quiet)
        except ConnectionError:
            sys.stderr.write("No Ray cluster runs on this machine; one is started for this run.\n")
            ray.init(address="local", include_dashboard=False, **quiet)
    except ImportError as error:
        raise TrainingError("Ray's client is not installed here.", "pip install 'llama-nb[ray]'") from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise TrainingError(
            f"There is no Ray cluster at {address}: {str(error).splitlines()[0][:200]}",
            "Start one with `ray start --head`; a head is reached at ray://HEAD:10001.",
        ) from error


def _take_gpus(resources: dict[str, float], workers: int, *, asked: bool) -> bool:
    """Return whether each worker gets a GPU.

    Raises
    ------
    TrainingError
        If the cluster has fewer GPUs than are asked for, or fewer cores than workers.
    """
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if asked and gpus < workers:
        raise TrainingError(
            f"{workers} GPUs are asked for; the cluster has {gpus}.", f"--workers {max(gpus, 1)}"
        )
    if cores < workers:
        raise TrainingError(
            f"{workers} workers are asked for; the cluster has {cores} cores.", f"--workers {max(cores, 1)}"
        )
    return gpus >= workers
