"""Runs a function of a test in several processes that train together, over gloo on loopback.

A fork server imports torch, transformers and peft once, so that another process costs next to nothing.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Work = Callable[..., Any]
LIMIT_S = 120  # generous: importing transformers on a busy machine

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["torch.distributed.fsdp", "transformers.models.llama.modeling_llama", "peft"])


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Group:
    """Processes that a test started as one launch: `work(*arguments)` in each, as rank 0, 1, ..."""

    def __init__(self, folder: Path, work: Work, arguments: tuple[Any, ...], world: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        shared = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
            "WORLD_SIZE": str(world),
            "GLOO_SOCKET_IFNAME": "lo",
        }
        self.processes = []
        for rank in range(world):
            place = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            told = (folder / f"{rank}.json", work, arguments, place)
            self.processes.append(_forks.Process(target=_rank, args=told))
        for process in self.processes:
            process.start()

    def results(self) -> list[Any]:
        """Wait for all and return what each returned; what a failed one said is the test's failure."""
        for process in self.processes:
            process.join(LIMIT_S)
        for rank, process in enumerate(self.processes):
            said = self.folder / f"{rank}.json.txt"
            assert process.exitcode == 0, said.read_text() if said.exists() else process.exitcode
        return [json.loads((self.folder / f"{rank}.json").read_text()) for rank in range(len(self.processes))]

    def kill(self, rank: int) -> None:
        """Kill one without a warning, as a machine that goes down does."""
        process = self.processes[rank]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill what is left of all."""
        for process in self.processes:
            process.kill()
            process.join(LIMIT_S)


@contextlib.contextmanager
def ranks(folder: Path, work: Work, *arguments: Any, world: int = 2) -> Iterator[Group]:
    """Run `work(*arguments)` in `world` processes for the length of a block; it returns values of JSON."""
    group = Group(folder, work, arguments, world)
    try:
        yield group
    finally:
        group.end()


def _rank(
    answer: Path, work: Callable[..., Any], arguments: tuple[Any, ...], place: Mapping[str, str]
) -> None:
    import torch

    os.environ.update(place)
    torch.set_num_threads(1)
    try:
        result = work(*arguments)
    except BaseException:  # noqa: BLE001 - the test tells it, whatever it is
        answer.with_suffix(".json.txt").write_text(traceback.format_exc(), encoding="utf-8")
        sys.exit(1)
    answer.write_text(json.dumps(result), encoding="utf-8")
