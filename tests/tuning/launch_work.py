"""What a process does in test_launch.py: its part of a run, disturbed at one micro-batch."""

import os
import signal
from pathlib import Path

from llama_nb.tuning import ranks
from llama_nb.tuning.control import append_order
from llama_nb.tuning.launch import Life, run_rank
from llama_nb.tuning.packing import BatchPlan, MicroBatch
from llama_nb.tuning.process import Process
from llama_nb.tuning.ranks import read_place
from llama_nb.tuning.run_folder import RunFolder


def take_part(
    folder: str, launcher: tuple[str, int, float], count: int, shard: bool, disturbances: dict[int, str]
) -> bool:
    """Do this process's part of the run in `folder`; return whether it went well.

    Parameters
    ----------
    launcher
        The process that stands for the run: host, number and birth.
    count
        How often it was started before.
    disturbances
        What happens when which micro-batch is taken: "kill", the second process dies; "term", the first one
        gets SIGTERM; else an order is given.
    """
    ranks._BEAT_S = 0.0  # type: ignore[misc] # the others are told to wait on whenever they can be
    run, place = RunFolder(Path(folder)), read_place(os.environ)
    taken = BatchPlan.micro_batch

    def micro_batch(plan: BatchPlan, number: int) -> MicroBatch:
        what = disturbances.get(number, "")
        if what == "kill" and place.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "term" and place.first:
            os.kill(os.getpid(), signal.SIGTERM)
        elif what in ("pause", "stop") and place.first:
            append_order(run.path, what)
        return taken(plan, number)

    BatchPlan.micro_batch = micro_batch  # type: ignore[method-assign]
    life = Life("torchrun", Process(*launcher), count, last=False)
    return run_rank(run, place, life, shard=shard)
