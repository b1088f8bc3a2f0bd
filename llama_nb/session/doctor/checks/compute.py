"""What computes: torch, its threads, and the GPUs with their driver."""

import os
from collections.abc import Iterator
from typing import Any, Final

from llama_nb.runtime import devices, usage
from llama_nb.session.doctor.check import Check, note, ok, problem
from llama_nb.session.doctor.imports import Imported
from llama_nb.session.doctor.scope import Scope

_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def check(scope: Scope) -> Iterator[Check]:
    """Yield what was found."""
    torch = scope.imports.of("torch")
    yield library(torch)
    yield gpu(torch, usage.gpus(), usage.driver_version(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    yield threads(torch.facts.get("threads"), devices.usable_cores())
    yield waiting(os.environ.get("OMP_WAIT_POLICY", ""))


def library(torch: Imported) -> Check:
    """Judge torch itself."""
    if not torch.installed:
        return problem("torch", "It is missing.", "pip install torch")
    if torch.error:
        return problem(
            "torch", "It cannot be imported.", "pip install --force-reinstall torch", here=torch.error
        )
    return ok("torch", f"{torch.facts['version']}, {_build(torch)}.")


def gpu(torch: Imported, found: tuple[usage.GpuUsage, ...], driver: str | None, visible: str | None) -> Check:
    """Judge whether torch can use the GPUs that are there."""
    facts = torch.facts
    names = ", ".join(sorted({device.name for device in found}))
    if facts.get("available"):
        count = facts["count"]
        return ok("GPU", f"torch can use {count} GPU{'' if count == 1 else 's'} ({_build(torch)}).", names)
    if facts.get("mps"):
        return ok("GPU", "torch can use Apple's GPU (mps).")
    if driver is None:
        return note("GPU", "There is no NVIDIA GPU here, or no driver for it: everything runs on the CPU.")
    if visible is not None and not found:
        return note("GPU", "CUDA_VISIBLE_DEVICES hides the GPUs; everything runs on the CPU.")
    return _unused_gpu(torch, names, driver)


def _unused_gpu(torch: Imported, names: str, driver: str) -> Check:
    """Say why torch does not use the GPU that is there."""
    if not torch.facts:
        return note("GPU", f"There is a GPU (driver {driver}), and no torch to use it.", here=names)
    if not torch.facts.get("cuda") and not torch.facts.get("hip"):
        return problem(
            "GPU",
            "There is a GPU, but torch was built for the CPU only.",
            "pip install --force-reinstall torch",
            names,
        )
    return problem(
        "GPU",
        f"torch ({_build(torch)}) cannot use the GPU; the driver is {driver}. It may be too old.",
        "Update the NVIDIA driver; nvidia-smi shows which CUDA it takes.",
        str(torch.facts.get("warning", "")) or names,
    )


def threads(count: int | None, cores: int) -> Check:
    """Judge how many threads torch would take on so many usable cores."""
    asked = {name: os.environ[name] for name in _THREADS if os.environ.get(name, "").isdigit()}
    most = max([int(value) for value in asked.values()], default=count or 1)
    if most > cores:
        cause = next((name for name in asked if int(asked[name]) == most), "")
        return problem(
            "threads",
            f"{cause + ' asks' if cause else 'torch asks'} for more threads than there are cores to use: "
            "they wait for each other, and a reply takes many times as long.",
            f"%env OMP_NUM_THREADS={cores}   (then restart the kernel, and run it before anything else)",
            f"{most} threads, {cores} cores",
        )
    least = min((int(value) for value in asked.values()), default=most)
    if least < cores and asked:
        name = next(name for name in asked if int(asked[name]) == least)
        return note("threads", f"{name} leaves cores unused.", here=f"{least} of {cores} cores")
    return ok("threads", "No more threads than cores.", here=f"{cores} cores")


def waiting(policy: str) -> Check:
    """Judge how threads wait; spinning ones took a matmul of 1 ms to 14 ms on a busy machine."""
    if policy.upper() == "ACTIVE":
        return problem(
            "waiting threads",
            "OMP_WAIT_POLICY=ACTIVE: threads that wait take the cores of those that work.",
            "Start the kernel without OMP_WAIT_POLICY.",
        )
    return ok("waiting threads", "They give their cores back.")


def _build(torch: Imported) -> str:
    facts: Any = torch.facts
    if facts.get("cuda"):
        return f"built for CUDA {facts['cuda']}"
    return f"built for ROCm {facts['hip']}" if facts.get("hip") else "built for the CPU"
