"""The processes that train one run together: which of them this is, and what they say to each other.

On torch.distributed, whichever launcher made the processes: torchrun, accelerate, Ray. Everything is summed
or told in place, so that no wrapper comes around the module. Knows no recipe, no data and no files.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import torch
import torch.distributed as dist

from llama_nb.core.errors import TrainingError

# The longest that one process keeps the others waiting, and how often rank 0 says that it is still there: a
# user may pause a run for days.
_PATIENCE: Final = timedelta(minutes=10)
_BEAT_S: Final = 20.0
_TRY: Final = timedelta(seconds=5)
_STORE: Final = "llama-nb/store"
_VARIABLES: Final = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True, slots=True)
class Place:
    """Which of how many processes this is.

    Attributes
    ----------
    rank, world
        The number of this process, from 0, and how many there are.
    local
        Its number on this machine: its GPU's.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reads orders."""
        return self.rank == 0


def read_place(environment: Mapping[str, str]) -> Place:
    """Return the place that a launcher wrote into the environment; a process of its own where none did.

    Raises
    ------
    TrainingError
        If RANK, WORLD_SIZE or LOCAL_RANK is no number, or one of them contradicts the others.
    """
    given = {name: environment[name] for name in _VARIABLES if environment.get(name)}
    if "RANK" not in given and given.get("WORLD_SIZE", "1") == "1":
        return Place()
    numbers = {name: int(text) for name, text in given.items() if text.isascii() and text.isdigit()}
    rank, world = numbers.get("RANK", -1), numbers.get("WORLD_SIZE", -1)
    local = numbers.get("LOCAL_RANK", 0)
    if len(numbers) < len(given) or not 0 <= rank < world or local >= world:
        found = ", ".join(f"{name}={environment.get(name, '')[:20]!r}" for name in _VARIABLES)
        raise TrainingError(
            f"The environment does not say which process this is: {found}.",
            "Start it by a launcher: torchrun --nproc-per-node 2 -m llama_nb.tuning.launch runs/NAME",
        )
    return Place(rank, world, local)


class Ranks:
    """What the processes of one run say to each other. Alone, everything is said already.

    Parameters
    ----------
    place
        Which process this is.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.rank = place.rank
        self.world = place.world
        self._told = time.monotonic()

    def sum_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put the sum over all processes into each tensor; one message for each dtype and device."""
        if self.world == 1:
            return
        alike: dict[tuple[torch.dtype, torch.device], list[torch.Tensor]] = {}
        for tensor in tensors:
            alike.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        for group in alike.values():
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in group])
            dist.all_reduce(flat)
            place = 0
            for tensor in group:
                tensor.detach().copy_(flat[place : place + tensor.numel()].view_as(tensor))
                place += tensor.numel()

    def totals(self, *numbers: float) -> list[float]:
        """Return the sums of `numbers` over all processes."""
        if self.world == 1:
            return list(numbers)
        held = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(held)
        return [float(number) for number in held]

    def tell(self, *numbers: float) -> list[float]:
        """Return rank 0's numbers in every process; the others, which may give any, wait for them."""
        if self.world == 1:
            return list(numbers)
        while True:
            said = self._broadcast([1.0, *numbers])
            if said[0]:
                return said[1:]

    def beat(self, count: int) -> None:
        """Have the others, which wait for `count` numbers, wait on; rank 0 calls it as often as it can."""
        if self.world > 1 and self.place.first and time.monotonic() - self._told > _BEAT_S:
            self._broadcast([0.0] * (1 + count))

    def _broadcast(self, numbers: Sequence[float]) -> list[float]:
        held = torch.tensor(numbers, dtype=torch.float64)
        dist.broadcast(held, 0)
        self._told = time.monotonic()
        return [float(number) for number in held]

    def meet(self) -> None:
        """Wait until all processes are here."""
        self.totals(0.0)


ALONE: Final = Ranks(Place())


@contextlib.contextmanager
def joined(place: Place, device: str = "cpu") -> Iterator[Ranks]:
    """Join the other processes for the length of a block.

    Parameters
    ----------
    place
        Which process this is; where to meet stands in MASTER_ADDR and MASTER_PORT.
    device
        Where the tensors will be that are summed: "cpu" (gloo) or "cuda:N" (NCCL).

    Raises
    ------
    TrainingError
        If the others cannot be reached.
    """
    if place.world == 1:
        yield ALONE
        return
    ours = not dist.is_initialized()
    if ours:
        _join(place, device)
    try:
        yield Ranks(place)
    finally:
        if ours and dist.is_initialized():
            # Where one process died the group cannot be left in order; the launcher ends what is left of it.
            with contextlib.suppress(RuntimeError):
                dist.destroy_process_group()


def backend_for(device: str) -> str:
    """Return torch.distributed's backend for tensors on `device`, and for orders on the CPU."""
    return "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"


def _join(place: Place, device: str) -> None:
    try:
        dist.init_process_group(
            backend_for(device),
            store=_meeting_place(place),
            rank=place.rank,
            world_size=place.world,
            timeout=_PATIENCE,
        )
    except (ValueError, RuntimeError) as error:
        where = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        raise TrainingError(
            f"Process {place.rank} of {place.world} cannot reach the others at {where}: "
            f"{str(error).splitlines()[0][:200]}",
            "Start them all by one launcher; between machines, the port must be open.",
        ) from error


def _meeting_place(place: Place) -> Any:
    """Return the store through which the processes find each other, with nothing of an earlier start in it.

    torch's elastic agent keeps one store for all its restarts, and gloo takes the addresses of dead processes
    from it for those of living ones: then both wait to be called. So rank 0 opens a store of its own there.
    """
    given = next(dist.rendezvous("env://", place.rank, place.world, timeout=_PATIENCE))[0]
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return given
    host = os.environ["MASTER_ADDR"]
    if place.first:
        own = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=_PATIENCE)
        given.set(_STORE, str(own.port))
        return own
    deadline = time.monotonic() + _PATIENCE.total_seconds()
    while True:
        port = int(given.get(_STORE))  # of an earlier start, perhaps, where nobody listens any more
        try:
            found = dist.TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=_TRY)
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            found.set_timeout(_PATIENCE)
            return found
