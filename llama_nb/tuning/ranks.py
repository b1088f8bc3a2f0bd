"""The processes that train one run together: which of them this is, and what they say to each other.

On torch.distributed, whichever launcher made the processes: torchrun, accelerate, Ray. Everything is summed
or told in place, so that no wrapper comes around the module. Knows no recipe, no data and no files.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import torch
import torch.distributed as dist

from llama_nb.core.errors import TrainingError

# Rank 0 waits where a user pauses a run, and the others wait for what it says.
_LONGEST_PAUSE: Final = timedelta(days=30)
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
    orders
        The group on the CPU in which rank 0 tells the others what to do, and may keep them waiting.
    """

    def __init__(self, place: Place, orders: Any = None) -> None:
        self.place = place
        self.rank = place.rank
        self.world = place.world
        self._orders = orders

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
        dist.all_reduce(held, group=self._orders)
        return [float(number) for number in held]

    def tell_numbers(self, *numbers: float) -> list[float]:
        """Return rank 0's `numbers` in every process; the others wait until it comes to say them."""
        if self.world == 1:
            return list(numbers)
        held = torch.tensor(numbers, dtype=torch.float64)
        dist.broadcast(held, 0, group=self._orders)
        return [float(number) for number in held]

    def tell(self, value: Any) -> Any:
        """Return rank 0's `value` (of JSON) in every process."""
        if self.world == 1:
            return value
        written = json.dumps(value).encode() if self.place.first else b""
        (size,) = self.tell_numbers(len(written))
        held = torch.zeros(int(size), dtype=torch.uint8)
        if self.place.first:
            held.copy_(torch.frombuffer(bytearray(written), dtype=torch.uint8))
        dist.broadcast(held, 0, group=self._orders)
        return json.loads(bytes(held.tolist()))

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
        yield Ranks(place, dist.new_group(backend="gloo", timeout=_LONGEST_PAUSE))
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
        dist.init_process_group(backend_for(device), rank=place.rank, world_size=place.world)
    except (ValueError, RuntimeError) as error:
        where = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        raise TrainingError(
            f"Process {place.rank} of {place.world} cannot reach the others at {where}: "
            f"{str(error).splitlines()[0][:200]}",
            "Start them all by one launcher; between machines, the port must be open.",
        ) from error
