"""Variables that must be set before torch and transformers are first imported in this process."""

import os


def prepare() -> None:
    """Set what is not set yet; call before the first import of torch.

    OMP_WAIT_POLICY=PASSIVE: threads that spin while they wait took a 4-thread matmul on a busy machine from
    1 ms to 14-18 ms. The tokenizers' own threads would warn after a fork.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
