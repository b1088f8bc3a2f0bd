"""Tokens per second of 32 prompts: as a batch, one after another, and by transformers' continuous batching.

A random Llama of 110 M parameters, prompts of 8 to 48 tokens, greedy, all replies of one length; ours goes
through the worker thread and the sampler, as `m.batch` does. One after another every fourth prompt of them is
answered: whatever else the machine does then meets both sides, in short turns.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.report import Row
from benchmarks.subjects import random_110m

TITLE = "batch: tokens per second of 32 prompts"
PROMPTS: Final = 32
TOKENS: Final = 48
ALONE: Final = 8
ROUNDS: Final = 5
BUDGET: Final = 8.0


def _speed(work: Callable[[], int]) -> float:
    gc.collect()
    started = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - started)


def _continuous(module: Any, prompts: list[tuple[int, ...]]) -> Callable[[], int] | None:
    """Return transformers' continuous batching over the prompts; None where it does not run."""
    from transformers import GenerationConfig

    settings = GenerationConfig(max_new_tokens=TOKENS, do_sample=False, eos_token_id=-1, pad_token_id=0)

    def work() -> int:
        answers = module.generate_batch(
            inputs=[list(prompt) for prompt in prompts], generation_config=settings, progress_bar=False
        )
        return sum(len(answer.generated_tokens) for answer in answers.values())

    try:
        return work if work() == PROMPTS * TOKENS else None
    except Exception as error:  # noqa: BLE001 - a peer that does not run here is reported, not hidden
        print(f"transformers' continuous batching does not run here: {type(error).__name__}: {error}")
        return None


def run() -> list[Row]:
    """Measure in turns; the ratio is the median of the turns' ratios."""
    import torch

    from llama_nb.core.request import Request
    from llama_nb.core.sampling import Sampling
    from llama_nb.core.stop import StopFlag

    draw = random.Random(0)
    prompts = [tuple(draw.randrange(32_000) for _ in range(draw.randint(8, 48))) for _ in range(PROMPTS)]
    rows = []
    for dtype in ("float32", "bfloat16"):
        engine = random_110m(dtype)
        engine._ends = frozenset()
        torch.set_num_threads(engine._threads)
        asked = [
            Request(prompt, Sampling(temperature=0, max_tokens=TOKENS), alternatives=0) for prompt in prompts
        ]

        def together(engine: Any = engine, asked: Any = asked) -> int:
            return len(list(engine.stream_many(asked, StopFlag())))

        def alone(engine: Any = engine, asked: Any = asked) -> int:
            some = asked[:: PROMPTS // ALONE]
            return sum(len(list(engine.stream(request, StopFlag()))) for request in some)

        peer = _continuous(engine._module, prompts)
        together()
        turns = [
            (_speed(together), _speed(alone), _speed(peer) if peer is not None else None)
            for _ in range(ROUNDS)
        ]
        what = f"random 110 M {dtype}, {PROMPTS} x {TOKENS} tokens, {engine._threads} threads"
        mine, one = (statistics.median(turn[place] or 0 for turn in turns) for place in (0, 1))
        ratio = statistics.median(turn[0] / turn[1] for turn in turns)
        rows.append(
            Row(
                what,
                f"{mine:.0f} tokens/s",
                f"{one:.0f} tokens/s (one after another)",
                ratio,
                f">= {BUDGET:g}x" if dtype == "float32" else "",
                ratio >= BUDGET if dtype == "float32" else None,
            )
        )
        theirs = [turn[2] for turn in turns if turn[2] is not None]
        if theirs:
            beside = statistics.median(turn[0] / turn[2] for turn in turns if turn[2])
            rows.append(
                Row(
                    what,
                    f"{mine:.0f} tokens/s",
                    f"{statistics.median(theirs):.0f} tokens/s (transformers' generate_batch)",
                    beside,
                    ">= 1x",
                    beside >= 1,
                )
            )
        engine.close()
    return rows
