"""A corpus read in a process of its own: its routing captured into a file, or only the forward passes of it.

`python -m benchmarks.routing_child '{"folder": ...}'` prints one line of JSON with seconds and bytes.
"""

import json
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from benchmarks.attention_child import MARK, Peak
from benchmarks.plan_child import reset_peak, resident
from benchmarks.routing_subject import texts_of

_WARM: Final = 2_000  # tokens


def read(case: Mapping[str, Any]) -> dict[str, Any]:
    """Read texts of `tokens` tokens the `way` that is asked: "capture" or "plain".

    Extra memory is what is not of files (the system may drop pages of those at any time); the texts
    themselves were there before.
    """
    import llama_nb as llama

    model = llama.load(case["folder"], dtype="float32")
    work = {"capture": _capture, "plain": _plain}[case["way"]]
    tokenizer = model.loaded.tokenizer
    work(model, texts_of(tokenizer, _WARM))
    texts = texts_of(tokenizer, case["tokens"])
    reset_peak()
    before = resident("RssAnon")
    with Peak("RssAnon") as peak:
        worked, begun = time.process_time(), time.perf_counter()
        tokens, kept = work(model, texts)
        seconds, worked = time.perf_counter() - begun, time.process_time() - worked
    return {
        "tokens": tokens,
        "kept": kept,
        "seconds": seconds,
        "worked_s": worked,
        "anonymous": peak.bytes - before,
    }


def _capture(model: Any, texts: list[str]) -> tuple[int, int]:
    trace = model.routing(texts, keep_logits=False)
    return trace.length, trace.nbytes


def _plain(model: Any, texts: list[str]) -> tuple[int, int]:
    """The same batches through the decoder alone: nothing is kept."""
    import torch

    from llama_nb.engines.places import decoder_of
    from llama_nb.interpret.routing_capture import rows_at_once

    module = model.loaded.module
    rows = [torch.tensor(model.loaded.tokenizer.encode(text)) for text in texts]
    decoder, count = decoder_of(module), rows_at_once(module, max(map(len, rows)))
    with torch.inference_mode():
        for first in range(0, len(rows), count):
            batch = torch.nn.utils.rnn.pad_sequence(rows[first : first + count], batch_first=True)
            decoder(input_ids=batch, use_cache=False)
    return sum(map(len, rows)), 0


if __name__ == "__main__":
    print(MARK, json.dumps(read(json.loads(sys.argv[1]))))
