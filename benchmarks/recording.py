"""What choosing and recording a token costs over a vocabulary of 128,256: processor time of one thread."""

import os
import statistics
import time

from benchmarks.report import Row
from benchmarks.subjects import likely_logits

TITLE = "recording: processor time per token at V = 128,256, one thread"
TOKENS = 300
VOCABULARY = 128_256


def run() -> list[Row]:
    """Measure our sampler on realistic logits, beside transformers' processors with the same settings."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import torch
    from transformers import (
        LogitsProcessorList,
        MinPLogitsWarper,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopPLogitsWarper,
    )

    from llama_nb.core.sampling import Sampling
    from llama_nb.engines.sampler import Sampler

    torch.set_num_threads(1)
    logits = likely_logits(8, VOCABULARY)
    prompt = list(range(1000, 1500))

    def ours(sampling: Sampling) -> float:
        sampler, times = Sampler(sampling, prompt), []
        for turn in range(TOKENS):
            started = time.thread_time()
            sampler.choose(logits[turn % 8], lambda: 0.37, 20)
            times.append(time.thread_time() - started)
        return statistics.median(times) * 1000

    def theirs() -> float:
        chain = LogitsProcessorList(
            [
                RepetitionPenaltyLogitsProcessor(1.1),
                TemperatureLogitsWarper(0.8),
                TopPLogitsWarper(0.95),
                MinPLogitsWarper(0.02),
            ]
        )
        seen, times = torch.tensor([prompt]), []
        for turn in range(20):
            started = time.thread_time()
            scores = chain(seen, torch.from_numpy(logits[turn % 8])[None])
            torch.multinomial(scores.softmax(-1), 1)
            times.append(time.thread_time() - started)
        return statistics.median(times) * 1000

    typical = Sampling(temperature=0.8, top_p=0.95, min_p=0.02, repetition_penalty=1.1)
    recorded, chained, peer = ours(Sampling(temperature=0)), ours(typical), theirs()
    return [
        Row("entropy, log-probability and top 20 recorded, greedy", f"{recorded:.2f} ms", "", None,
            "<= 0.5 ms", recorded <= 0.5),
        Row("the same, with the head of 1,000 and repetition, temperature, top-p, min-p", f"{chained:.2f} ms",
            f"{peer:.1f} ms (transformers' processors, nothing recorded)", chained / peer, "<= 1.2 ms",
            chained <= 1.2),
    ]  # fmt: skip
