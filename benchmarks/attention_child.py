"""One piece of work on attention in a process of its own: a peer's page is built, or a forward pass measured.

`python -m benchmarks.attention_child '{"work": ...}'` prints one line of JSON with seconds and bytes. The
peers are imported from the folder that `peers` names, and are told the same ids and the same threads.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.plan_child import reset_peak, resident

MARK: Final = "MEASURED"


def _module(case: Mapping[str, Any], implementation: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from llama_nb.runtime.devices import thread_count

    module = AutoModelForCausalLM.from_pretrained(
        case["folder"], attn_implementation=implementation, dtype=torch.float32
    ).eval()
    torch.set_num_threads(thread_count(module.num_parameters()))
    return module


def _ids(case: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Return the ids of the text as a batch of one, and what each is written as."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(case["folder"])
    ids = tokenizer.encode(Path(case["text"]).read_text(encoding="utf-8"))
    return torch.tensor([ids]), tokenizer.convert_ids_to_tokens(ids)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    done = work()
    return time.perf_counter() - begun, done


def build(case: Mapping[str, Any]) -> dict[str, Any]:
    """Have a peer make its page from eager attention, and write it to the case's `page`."""
    import torch

    sys.path.append(case["peers"])
    make = {"bertviz": _bertviz, "circuitsvis": _circuitsvis}[case["peer"]]
    make(torch.full((1, 1, 1, 1), 1.0), ["a"])  # imported, before anything is measured
    module = _module(case, "eager")
    ids, texts = _ids(case)
    with torch.inference_mode():
        module(ids[:, :8], output_attentions=True, use_cache=False)
        reset_peak()
        before = resident()
        forward_s, out = _timed(lambda: module(ids, output_attentions=True, use_cache=False))
        build_s, page = _timed(lambda: make(torch.stack(out.attentions, dim=1)[0], texts))
    found = {"forward_s": forward_s, "build_s": build_s, "memory": resident("VmHWM") - before}
    size = Path(case["page"]).write_text(
        f"<!doctype html><meta charset='utf-8'><title>{case['peer']}</title><body>{page}", encoding="utf-8"
    )
    return {**found, "bytes": size}


def _bertviz(attention: Any, tokens: list[str]) -> str:
    from bertviz import head_view

    layers = [layer[None] for layer in attention]
    return str(head_view(layers, tokens, html_action="return").data)


def _circuitsvis(attention: Any, tokens: list[str]) -> str:
    """One layer, which is what it shows; the script is in the page, as where there is no internet."""
    from circuitsvis.attention import attention_heads

    return str(attention_heads(attention=attention[0], tokens=tokens).local_src)


def forward(case: Mapping[str, Any]) -> dict[str, Any]:
    """Measure one forward pass: with sdpa or eager attention as one types it, or captured by us.

    "bare" keeps neither a KV cache nor logits. `anonymous` leaves out pages of files, which the system may
    drop at any time.
    """
    import torch

    way = case["way"]
    module = _module(case, "eager" if way == "eager" else "sdpa")
    ids, _ = _ids(case)

    def run(part: Any) -> Any:
        if way in ("sdpa", "eager"):
            return module(part)
        if way == "bare":
            return module(part, use_cache=False, logits_to_keep=1)
        from llama_nb.interpret.capture import capture_attention

        return capture_attention(module, part[0].tolist(), offload=way == "offloaded")

    with torch.inference_mode():
        run(ids[:, :64])
        reset_peak()
        before, anonymous = resident(), resident("RssAnon")
        with Peak("RssAnon") as peak:
            worked = time.process_time()
            seconds, _kept = _timed(lambda: run(ids))
            worked = time.process_time() - worked
        return {
            "seconds": seconds,
            "worked_s": worked,
            "memory": resident("VmHWM") - before,
            "anonymous": peak.bytes - anonymous,
        }


class Peak:
    """The most that a figure of this process was while a block ran, looked at every few milliseconds."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._stop = threading.Event()
        self.bytes = 0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.bytes = max(self.bytes, resident(self._key))


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(MARK, json.dumps({"build": build, "forward": forward}[asked["work"]](asked)))
