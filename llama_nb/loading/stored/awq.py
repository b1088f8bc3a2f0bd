"""Checkpoints quantised by AWQ (https://arxiv.org/abs/2306.00978), as AutoAWQ and llm-awq write them.

A layer of (out, in) features is `qweight`, `qzeros` and `scales`; the layouts for a single vector ("gemv")
pad them in ways that only the library knows.
"""

from typing import Final

from llama_nb.loading.stored import Settings, StoredTensor, gptq_layers

LIBRARY: Final = "torch"  # what else it needs, and how to get it, is said by `refusal`
_BITS: Final = (4,)
_PER_NUMBER: Final = 8  # weights in 32 bits

finish = gptq_layers.finish


def label(settings: Settings) -> str:
    """Return "awq-4bit"."""
    gptq_layers.groups(settings, 1)
    return f"awq-{gptq_layers.bits(settings, _BITS)}bit"


def refusal(settings: Settings, device: str) -> str | None:
    """Return why it does not run on `device` here."""
    return gptq_layers.refusal(label(settings), device, ("gptqmodel",))


def keeps(module_name: str, settings: Settings) -> bool:
    """Whether a layer is stored as floats: the head, or what modules_to_not_convert names."""
    return gptq_layers.keeps(module_name, settings.get("modules_to_not_convert"))


def tensors(module_name: str, shape: tuple[int, int], settings: Settings) -> dict[str, StoredTensor]:
    """Return the tensors of one layer."""
    rows, columns = shape
    groups = gptq_layers.groups(settings, columns)
    plain = str(settings.get("version") or settings.get("format") or "gemm").lower() == "gemm"

    def known(*sizes: int) -> tuple[int, ...] | None:
        return sizes if plain else None

    return {
        f"{module_name}.qweight": StoredTensor(gptq_layers.INTEGERS, known(columns, rows // _PER_NUMBER)),
        f"{module_name}.qzeros": StoredTensor(gptq_layers.INTEGERS, known(groups, rows // _PER_NUMBER)),
        f"{module_name}.scales": StoredTensor(gptq_layers.FLOATS, known(groups, rows)),
    }
