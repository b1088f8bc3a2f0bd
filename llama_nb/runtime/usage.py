"""Memory and disk as they are now: RAM within the cgroup's limit, this process, each GPU, the cache's disk.

A reading for people; whether a model fits is the planner's question. Never imports torch and never raises: a
figure that cannot be read is None, and GPUs without a driver are an empty tuple.
"""

import functools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from llama_nb.runtime import devices, hub_settings


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """One NVIDIA GPU, or slice of one: its name and its memory in bytes (`used` by every process)."""

    name: str
    total: int
    used: int
    free: int


@dataclass(frozen=True, slots=True)
class Usage:
    """One reading, in bytes.

    Attributes
    ----------
    ram_total, ram_free
        What this process may use at most, and what it could still take. `ram_limit_source` says whether that
        is the machine's RAM ("machine") or a container's or a user's share of it ("cgroup").
    process_rss
        Resident memory of this process.
    gpus
        The NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves to this process.
    disk_total, disk_free
        The file system of the hub's cache; None when it cannot be asked.
    """

    ram_total: int
    ram_free: int
    ram_limit_source: Literal["machine", "cgroup"]
    process_rss: int
    gpus: tuple[GpuUsage, ...]
    disk_total: int | None
    disk_free: int | None


def usage() -> Usage:
    """Read everything once; a few milliseconds, and the first reading of a GPU more."""
    machine = psutil.virtual_memory().total
    limit = devices.cgroup_limit()
    limited = limit is not None and limit < machine
    disk_total, disk_free = _disk(hub_settings.cache_folder())
    return Usage(
        ram_total=limit if limit is not None and limited else machine,
        ram_free=devices.available_memory(),
        ram_limit_source="cgroup" if limited else "machine",
        process_rss=psutil.Process().memory_info().rss,
        gpus=gpus(),
        disk_total=disk_total,
        disk_free=disk_free,
    )


def gpus() -> tuple[GpuUsage, ...]:
    """Return the NVIDIA GPUs that this process may use, as their driver counts them; () without a driver."""
    nvml = _nvml()
    if nvml is None:
        return ()
    found = []
    for handle in _visible(nvml):
        try:
            name, memory = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetMemoryInfo(handle)
        except nvml.NVMLError:
            continue  # a GPU that fell off the bus, or one that we may not read
        name = name.decode() if isinstance(name, bytes) else str(name)
        found.append(GpuUsage(name, int(memory.total), int(memory.used), int(memory.free)))
    return tuple(found)


def driver_version() -> str | None:
    """Return the NVIDIA driver's version, None without one."""
    nvml = _nvml()
    try:
        version = None if nvml is None else nvml.nvmlSystemGetDriverVersion()
    except nvml.NVMLError:
        return None
    return version.decode() if isinstance(version, bytes) else version


@functools.cache
def _nvml() -> Any:
    """Return NVIDIA's management library, connected to the driver; None where either is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - a broken driver must not break the reading of the rest
        return None
    return pynvml


def _visible(nvml: Any) -> Iterator[Any]:
    """Yield the devices that CUDA_VISIBLE_DEVICES names, by number or UUID; without it, all of them."""
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError:
        return
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    wanted = map(str, range(count)) if named is None else [word.strip() for word in named.split(",")]
    for word in wanted:
        # As CUDA does: what comes after the first name that is none is not visible either.
        if word.isdigit() and int(word) >= count:
            return
        try:
            if word.isdigit():
                yield nvml.nvmlDeviceGetHandleByIndex(int(word))
            elif word.startswith(("GPU-", "MIG-")):
                yield nvml.nvmlDeviceGetHandleByUUID(word)
            else:
                return
        except nvml.NVMLError:
            return


def _disk(folder: Path) -> tuple[int | None, int | None]:
    """Return the size of the file system that holds a folder, or will hold it, and what is free."""
    try:
        place = next((parent for parent in (folder, *folder.parents) if parent.exists()), None)
        return (None, None) if place is None else shutil.disk_usage(place)[::2]
    except OSError:
        return None, None
