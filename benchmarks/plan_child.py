"""One piece of work in a process of its own, and the memory that it took at its peak.

`python -m benchmarks.plan_child '{"folder": ...}'` prints one line of JSON with bytes. Linux only: the peak
of the resident memory (VmHWM) is reset through /proc before each part, so that one does not hide another.

What is counted is resident memory: what was asked of the allocator and touched, and pages of mapped files,
which are the weights where a model is used in the dtype of its files. The bare process has everything
imported and has checked the bundled model's folder: that builds an architecture without its weights.
"""

import gc
import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
BUNDLED = Path(__file__).resolve().parents[1] / "llama_nb" / "bundled" / "cria"
NEW_TOKENS = 8
STEPS = 2  # the second has AdamW's moments from the beginning


def resident(key: str = "VmRSS") -> int:
    """Return the bytes of this process that are in memory; with "VmHWM" the most there were since a reset."""
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {key}")


def reset_peak() -> None:
    """Let the peak begin again at what is in memory now."""
    gc.collect()
    CLEAR.write_text("5", encoding="ascii")


def measure(case: Mapping[str, Any]) -> dict[str, Any]:
    """Import, load and work; return the bytes of the process, and by which it grew at most in each part."""
    from llama_nb.loading.check import check
    from llama_nb.loading.open import load_checked

    _import(case)
    check(BUNDLED)
    reset_peak()
    process = resident()
    loaded = load_checked(case["folder"], dtype=case["dtype"], device="cpu", quant=case["quant"])
    loading = resident("VmHWM") - process
    _touch(loaded.module)
    reset_peak()
    work = {"chat": _chat, "batch": _batch, "train": _train}[case["work"]]
    work(loaded, case)
    return {
        "process": process,
        "loading": loading,
        "working": resident("VmHWM") - process,
        "weights": loaded.bytes,
        "dtype": loaded.dtype,
    }


def _import(case: Mapping[str, Any]) -> None:
    """Import what the plan counts as the process beside the model."""
    from llama_nb.loading.weights import import_torch

    import_torch()
    import transformers.models.llama.modeling_llama  # noqa: F401
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast  # noqa: F401

    import llama_nb.engines.transformers_engine  # noqa: F401

    kind = case["kind"]
    if kind == "bitsandbytes":
        import bitsandbytes  # noqa: F401
    if kind == "quanto":
        import optimum.quanto  # noqa: F401
    if case["train"] in ("lora", "qlora"):
        import peft  # noqa: F401


def _touch(module: Any) -> None:
    """Read every page of the weights: else rows of a mapped embedding that no token asked for are absent."""
    import torch

    from llama_nb.loading.quantize.accounting import plain_tensors

    for tensor in plain_tensors(module):
        storage = tensor.untyped_storage()
        if storage.nbytes():
            torch.tensor([], dtype=torch.uint8).set_(storage)[::4096].max()  # type: ignore[call-overload]


def _ids(loaded: Any, count: int) -> list[int]:
    draw = random.Random(0)
    return [draw.randrange(loaded.checked.config["vocab_size"]) for _ in range(count)]


def _chat(loaded: Any, case: Mapping[str, Any]) -> None:
    """Fill the context by our own engine: a prompt, and a few tokens of reply."""
    from llama_nb.core.request import Request
    from llama_nb.core.sampling import Sampling
    from llama_nb.core.stop import StopFlag
    from llama_nb.engines.registry import open_engine

    engine = open_engine(loaded)
    prompt = tuple(_ids(loaded, case["context"] - NEW_TOKENS))
    list(engine.stream(Request(prompt, Sampling(temperature=0, max_tokens=NEW_TOKENS)), StopFlag()))


def _batch(loaded: Any, case: Mapping[str, Any]) -> None:
    """Fill several contexts at once in our cache by the model's forward: chunks of a prompt, then tokens."""
    import torch

    from llama_nb.engines.kv_cache import CacheEntry
    from llama_nb.runtime import devices

    torch.set_num_threads(devices.thread_count(loaded.checked.parameters))
    entry = CacheEntry(loaded.module.config, 0, loaded.checked.context)
    batch, context, chunk = case["batch"], case["context"], case["chunk"]
    ids = torch.tensor(_ids(loaded, batch * context)).view(batch, context)
    starts = [*range(0, context - NEW_TOKENS, chunk)]
    pieces = [ids[:, start : min(start + chunk, context - NEW_TOKENS)] for start in starts]
    pieces += [ids[:, place : place + 1] for place in range(context - NEW_TOKENS, context)]
    with torch.inference_mode():
        for piece in pieces:
            loaded.module(input_ids=piece, past_key_values=entry.cache, use_cache=True, logits_to_keep=1)


def _train(loaded: Any, case: Mapping[str, Any]) -> None:
    """Take two steps of a plain loop with AdamW, through peft's LoRA or on all weights."""
    import torch

    from llama_nb.runtime import devices

    torch.set_num_threads(devices.thread_count(loaded.checked.parameters))
    module = loaded.module
    if case["train"] == "full":
        module.requires_grad_(True)
    else:
        from peft import LoraConfig, get_peft_model

        targets = list(case["targets"])
        module = get_peft_model(
            module, LoraConfig(r=case["rank"], target_modules=targets, task_type="CAUSAL_LM")
        )
    if case["checkpointing"]:
        module.gradient_checkpointing_enable()
        module.enable_input_require_grads()
    module.train()
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-4)
    batch, context = case["batch"], case["context"]
    ids = torch.tensor(_ids(loaded, batch * context)).view(batch, context)
    # In the second of two there are gradients beside the activations; those of adapters are small.
    micro_batches = 2 if case["train"] == "full" else 1
    for _ in range(STEPS):
        for _ in range(micro_batches):
            module(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


if __name__ == "__main__":
    print("MEASURED", json.dumps(measure(json.loads(sys.argv[1]))))
