"""Who takes this machine's memory now: the loaded models one by one, this Python besides, others.

Knows what models report about themselves and what the system reports about the process; draws nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.memory import MemoryUse, Share
from llama_nb.runtime.usage import GpuUsage, Usage, usage
from llama_nb.session import cache, registry

# Models one after another; "overhead" is this Python, "kv_cache" means something else in plans.
_LOOKS: Final = ("weights", "activations", "adapter", "gradients", "optimizer")


def memory_use(now: Usage | None = None, models: Mapping[str, Any] | None = None) -> tuple[MemoryUse, ...]:
    """Return RAM, each GPU's memory and the disk of the models' cache, with who takes them.

    Parameters
    ----------
    now
        A reading of the system; taken now unless given.
    models
        The loaded models by name; those of this session unless given.
    """
    now = usage() if now is None else now
    models = registry.loaded() if models is None else models
    looks = {name: _LOOKS[index % len(_LOOKS)] for index, name in enumerate(models)}
    on_gpu = {name: _gpu_number(model.device) for name, model in models.items()}
    shares = {name: Share(name, model.held, looks[name]) for name, model in models.items()}
    uses = [_ram(now, [shares[name] for name, number in on_gpu.items() if number is None])]
    for index, gpu in enumerate(now.gpus):
        here = [shares[name] for name, number in on_gpu.items() if number == index]
        uses.append(_gpu(gpu, here, index if len(now.gpus) > 1 else None))
    if now.disk_total and now.disk_free is not None:
        taken = now.disk_total - now.disk_free
        uses.append(MemoryUse("disk of the model cache", now.disk_total, _files(taken)))
    return tuple(uses)


def _ram(now: Usage, models: Sequence[Share]) -> MemoryUse:
    taken = sum(share.bytes for share in models)
    # Weights that are mapped from a file and not read yet are no resident memory.
    besides = max(0, now.process_rss - taken)
    others = max(0, now.ram_total - now.ram_free - taken - besides)
    name = "RAM" if now.ram_limit_source == "machine" else "RAM within this container's limit"
    python = Share("this Python besides" if models else "this Python", besides, "overhead")
    return MemoryUse(name, now.ram_total, (*models, python, Share("others", others)))


def _gpu(gpu: GpuUsage, models: Sequence[Share], number: int | None) -> MemoryUse:
    others = max(0, gpu.used - sum(share.bytes for share in models))
    name = gpu.name if number is None else f"{gpu.name} ({number})"
    label = "caches and others" if models else "others"
    return MemoryUse(name, gpu.total, (*models, Share(label, others)))


def _files(taken: int) -> tuple[Share, ...]:
    """Split what is taken of the disk into the models of the cache and everything else."""
    models = min(sum(entry.bytes for entry in cache.entries()), taken)
    if not models:
        return (Share("files", taken),)
    return Share("cached models", models, "weights"), Share("other files", taken - models)


def _gpu_number(device: str) -> int | None:
    """Return which GPU a torch device is; None for a CPU, and for Apple's, whose memory is RAM."""
    kind, _, number = device.partition(":")
    return (int(number) if number.isdigit() else 0) if kind == "cuda" else None
