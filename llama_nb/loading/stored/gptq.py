"""Checkpoints quantised by GPTQ (https://arxiv.org/abs/2210.17323), as AutoGPTQ and gptqmodel write them.

A layer of (out, in) features is `qweight`, `qzeros`, `scales` and `g_idx`, the group of each input.
"""

import re
from typing import Final

from llama_nb.loading.stored import Settings, StoredTensor, gptq_layers

LIBRARY: Final = "torch"  # what else it needs, and how to get it, is said by `refusal`
_BITS: Final = (2, 3, 4, 8)

finish = gptq_layers.finish


def label(settings: Settings) -> str:
    """Return "gptq-4bit"."""
    gptq_layers.groups(settings, 1)
    return f"gptq-{gptq_layers.bits(settings, _BITS)}bit"


def refusal(settings: Settings, device: str) -> str | None:
    """Return why it does not run on `device` here."""
    return gptq_layers.refusal(label(settings), device, ("gptqmodel", "optimum.gptq"))


def keeps(module_name: str, settings: Settings) -> bool:
    """Whether a layer is stored as floats: the head, or what a rule of gptqmodel leaves out ("-:...")."""
    rules = settings.get("dynamic")
    left_out = [rule[2:] for rule in rules if rule.startswith("-:")] if isinstance(rules, dict) else []
    if any(_matches(rule, module_name) for rule in left_out):
        return True
    blocks = settings.get("modules_in_block_to_quantize")
    chosen = [str(name) for block in blocks for name in block] if isinstance(blocks, list) else []
    if chosen and ".layers." in module_name and not any(module_name.endswith(name) for name in chosen):
        return True
    return gptq_layers.keeps(module_name, None, head=bool(settings.get("lm_head")))


def tensors(module_name: str, shape: tuple[int, int], settings: Settings) -> dict[str, StoredTensor]:
    """Return the tensors of one layer; a rule of gptqmodel may give it bits of its own."""
    rows, columns = shape
    bits, groups = gptq_layers.bits(settings, _BITS), gptq_layers.groups(settings, columns)
    rules = settings.get("dynamic")
    own = [rule.removeprefix("+:") for rule in rules] if isinstance(rules, dict) else []
    special = any(_matches(rule, module_name) for rule in own)

    def known(*sizes: int) -> tuple[int, ...] | None:
        return None if special else sizes

    return {
        # 32 weights take `bits` numbers of 32 bits: along the inputs, zero points along the outputs.
        f"{module_name}.qweight": StoredTensor(gptq_layers.INTEGERS, known(columns * bits // 32, rows)),
        f"{module_name}.qzeros": StoredTensor(gptq_layers.INTEGERS, known(groups, rows * bits // 32)),
        f"{module_name}.scales": StoredTensor(gptq_layers.FLOATS, known(groups, rows)),
        f"{module_name}.g_idx": StoredTensor(gptq_layers.INTEGERS, (columns,), optional=True),
    }


def _matches(rule: str, module_name: str) -> bool:
    try:
        return re.match(rule, module_name) is not None
    except re.error:
        return False
