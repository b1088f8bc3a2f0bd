"""A stand-in for NVIDIA's management library with a few GPUs, for machines without one."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from llama_nb.runtime import usage


def install(monkeypatch: pytest.MonkeyPatch, *gpus: tuple[str, int, int], driver: str = "580.95.05") -> None:
    """Let `pynvml` find these GPUs (name, bytes, bytes used), or no driver when there are none."""
    module = ModuleType("pynvml")

    class NVMLError(Exception):
        pass

    def init() -> None:
        if not gpus:
            raise NVMLError("NVML Shared Library Not Found")

    def memory(index: int) -> SimpleNamespace:
        name, total, used = gpus[index]
        if name == "lost":
            raise NVMLError("GPU is lost")
        return SimpleNamespace(total=total, used=used, free=total - used)

    def by_uuid(uuid: str) -> int:
        if uuid != "GPU-1111":
            raise NVMLError("Not Found")
        return 1

    members = {
        "NVMLError": NVMLError,
        "nvmlInit": init,
        "nvmlDeviceGetCount": lambda: len(gpus),
        "nvmlDeviceGetHandleByIndex": int,
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetName": lambda index: gpus[index][0].encode(),
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlSystemGetDriverVersion": lambda: driver,
    }
    for name, value in members.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    usage._nvml.cache_clear()
    monkeypatch.setattr(usage, "_nvml", usage._nvml.__wrapped__)
