"""What must be set before torch and transformers are first imported in this process."""

import ctypes
import os
import sys
from typing import Final

# glibc's mallopt(M_MMAP_THRESHOLD, ...): see malloc.h.
_M_MMAP_THRESHOLD: Final = -3
_LARGE_BLOCK: Final = 2**20


def prepare() -> None:
    """Set what is not set yet; call before the first import of torch.

    OMP_WAIT_POLICY=PASSIVE: threads that spin while they wait took a 4-thread matmul on a busy machine from
    1 ms to 14-18 ms. The tokenizers' own threads would warn after a fork.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    _give_large_blocks_back()


def _give_large_blocks_back() -> None:
    """Let glibc hand freed blocks of 1 MiB and more back to the system at once.

    Left alone it moves that limit up to 32 MiB as blocks are freed, and its heap keeps them. Measured on 111
    million parameters: reading them as nf4 peaked at 635 MB and then at 344, and a step of LoRA training (2 x
    256 tokens, float32) at 729 MB beside the weights and then at 477, in the same time.
    """
    if sys.platform != "linux" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
