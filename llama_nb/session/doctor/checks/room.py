"""Room: memory, GPU memory and disk, with the figures below which work becomes uncomfortable or fails."""

from collections.abc import Iterator
from typing import Final

from llama_nb.runtime.usage import GpuUsage, Usage, usage
from llama_nb.session import registry
from llama_nb.session.doctor.check import Check, note, ok, problem
from llama_nb.session.doctor.scope import Scope

_GB: Final = 1e9
# A kernel with torch and transformers takes 0.34 GB before any weights.
_RAM_TOO_LITTLE: Final = 0.75 * _GB
_RAM_LITTLE: Final = 3 * _GB  # a 1B model in bfloat16 with its cache
_GPU_TOO_LITTLE: Final = 1 * _GB  # a CUDA context and a small model
_DISK_TOO_LITTLE: Final = 1 * _GB
_DISK_LITTLE: Final = 10 * _GB  # less than an 8B model in bfloat16 (16 GB) with room to unpack


def check(scope: Scope) -> Iterator[Check]:
    """Yield what was found."""
    del scope
    now = usage()
    yield memory(now, list(registry.loaded()))
    yield from (gpu(device) for device in now.gpus)
    yield disk(now)


def memory(now: Usage, loaded: list[str]) -> Check:
    """Judge the free RAM."""
    of = {"machine": "", "cgroup": " (this container's or user's limit)"}[now.ram_limit_source]
    figures = f"{_gb(now.ram_free)} free of {_gb(now.ram_total)}{of}; this kernel {_gb(now.process_rss)}"
    if now.ram_free < _RAM_TOO_LITTLE:
        command = f"%llama unload {loaded[-1]}" if loaded else "Shut down kernels that are not needed."
        return problem("memory", "Too little memory is free for any model.", command, figures)
    if now.ram_free < _RAM_LITTLE:
        return note("memory", "Enough for small models only.", "%llama plan MODEL", figures)
    return ok("memory", "Enough to begin with.", figures)


def gpu(device: GpuUsage) -> Check:
    """Judge the free memory of one GPU."""
    figures = f"{_gb(device.free)} free of {_gb(device.total)}"
    if device.free < _GPU_TOO_LITTLE:
        return problem(
            "GPU memory", f"{device.name} is full.", "nvidia-smi   (shows which processes hold it)", figures
        )
    return ok("GPU memory", f"{device.name} has room.", figures)


def disk(now: Usage) -> Check:
    """Judge the free room where the hub's cache is."""
    if now.disk_free is None or now.disk_total is None:
        return problem(
            "disk", "The disk of the hub's cache cannot be read.", "Set HF_HOME to a folder of yours."
        )
    figures = f"{_gb(now.disk_free)} free of {_gb(now.disk_total)}"
    if now.disk_free < _DISK_TOO_LITTLE:
        return problem("disk", "Too full to download a model.", "%llama models --delete ID", figures)
    if now.disk_free < _DISK_LITTLE:
        return note("disk", "Enough for small models only.", "%llama models --delete ID", figures)
    return ok("disk", "Room for models.", figures)


def _gb(count: int) -> str:
    return f"{count / _GB:,.1f} GB" if count >= _GB / 10 else f"{count / 1e6:,.0f} MB"
