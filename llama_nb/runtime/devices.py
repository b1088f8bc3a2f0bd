"""Memory, cores and accelerators of this machine, as far as this process may use them.

Never imports torch: accelerators are asked for through the torch that loading has imported before.
"""

import math
import os
import sys
from pathlib import Path
from typing import Any, Final

import psutil

from llama_nb.core.errors import LoadError, did_you_mean

DEVICES: Final = ("auto", "cpu", "cuda", "mps")
_CGROUP: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")
# Below this many parameters starting and joining threads costs more than the arithmetic they share.
_ONE_THREAD: Final = 20_000_000
_FEW_THREADS: Final = 200_000_000


def available_memory(device: str = "cpu") -> int:
    """Return the bytes that can be taken now: free RAM within the cgroup's limit, or free VRAM."""
    if device.startswith("cuda"):
        torch = sys.modules.get("torch")
        return (
            int(torch.cuda.mem_get_info(device)[0]) if torch is not None and torch.cuda.is_available() else 0
        )
    free = psutil.virtual_memory().available
    limit = cgroup_free()
    return free if limit is None else min(free, limit)


def cgroup_free(root: Path = _CGROUP, own: Path = _OWN_CGROUP) -> int | None:
    """Return the bytes left under the tightest memory limit of this process's control groups, if any.

    Pages of the file cache that the kernel can drop (`inactive_file`) count as free.
    """
    left = [limit - used for limit, used in _memory_limits(root, own)]
    return max(min(left), 0) if left else None


def cgroup_limit(root: Path = _CGROUP, own: Path = _OWN_CGROUP) -> int | None:
    """Return the smallest memory limit of this process's control groups in bytes, None without one."""
    return min((limit for limit, _ in _memory_limits(root, own)), default=None)


def cgroup_cores(root: Path = _CGROUP, own: Path = _OWN_CGROUP) -> float | None:
    """Return the CPU quota of this process's control groups in cores, None without one."""
    quotas = []
    for folder in _own_groups(root, own):
        words = _text(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            quotas.append(int(words[0]) / int(words[1]))
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period:
            quotas.append(quota / period)
    return min(quotas) if quotas else None


def usable_cores() -> int:
    """Return how many cores this process can use: its affinity, the cgroup's quota, never less than one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    physical = psutil.cpu_count(logical=False)
    if physical:
        cores = min(cores, physical)
    quota = cgroup_cores()
    return max(1, min(cores, math.ceil(quota)) if quota else cores)


def thread_count(parameters: int) -> int:
    """Return how many threads a model of this size should compute with.

    A 1 M model took 27.6 s for 24 tokens with the default threads of a busy machine, and 0.44 s for 16 with
    one. OMP_NUM_THREADS, where it is set, is the upper limit.
    """
    if parameters < _ONE_THREAD:
        return 1
    cores = usable_cores()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked):
        cores = min(cores, int(asked))
    return min(cores, 4) if parameters < _FEW_THREADS else cores


def pick_device(asked: str, needed: int | None = None) -> str:
    """Return the device to compute on: "cuda", "mps" or "cpu".

    Parameters
    ----------
    asked
        One of `DEVICES`, or one GPU of several ("cuda:1").
    needed
        Bytes that the model takes, for the message when there is no GPU.

    Raises
    ------
    LoadError
        If the name is unknown or there is no such device here.
    """
    kind, _, number = asked.partition(":") if isinstance(asked, str) else (str(asked), "", "")
    if kind not in DEVICES or (number and not (kind == "cuda" and number.isdigit())):
        raise LoadError(
            f"device is {asked!r}; it must be one of {', '.join(DEVICES)}.",
            did_you_mean(kind, DEVICES) or "auto takes a GPU when there is one.",
        )
    there = _accelerators()
    if kind == "auto":
        return next((name for name in ("cuda", "mps") if there.get(name)), "cpu")
    if kind == "cpu":
        return "cpu"
    if not there.get(kind):
        size = f"; on cpu this needs {needed / 1e9:.1f} GB" if needed else ""
        raise LoadError(f"There is no GPU here that torch can use ({asked}){size}.", "Use `--device cpu`")
    if number and int(number) >= there[kind]:
        raise LoadError(f"There is no {asked} here: {there[kind]} GPUs, from cuda:0.", "Use `--device cuda`")
    return asked


def _accelerators() -> dict[str, int]:
    """Accelerators by kind, with how many there are; none while nobody has imported torch."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return {}
    found = {"cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0}
    found["mps"] = int(torch.backends.mps.is_available())
    return found


def _memory_limits(root: Path, own: Path) -> list[tuple[int, int]]:
    """Limit and use in bytes of each control group that has a limit; what can be dropped is not in use."""
    return [
        (limit, max((_number(folder / used_name) or 0) - _droppable(folder), 0))
        for folder in _own_groups(root, own)
        for limit_name, used_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        )
        # Version 1 writes "no limit" as the largest whole number of pages.
        if (limit := _number(folder / limit_name)) is not None and limit < 1 << 60
    ]


def _own_groups(root: Path, own: Path) -> list[Path]:
    """Folders of the control groups that this process is in, with their parents; in a container, the root."""
    folders = {root, root / "memory", root / "cpu", root / "cpu,cpuacct"}
    for line in _text(own).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        base = root / controllers if controllers else root
        group = base / path.strip("/")
        while group != base and group.is_relative_to(base):
            folders.add(group)
            group = group.parent
    return [folder for folder in sorted(folders) if folder.is_dir()]


def _droppable(folder: Path) -> int:
    values = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
    text = values.get("inactive_file") or values.get("total_inactive_file") or "0"
    return int(text) if text.isdigit() else 0


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
