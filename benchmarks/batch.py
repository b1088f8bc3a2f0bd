"""Tokens per second of 32 prompts: as a batch, one after another, and by transformers' continuous batching.

A random Llama of 110 M parameters, prompts of 8 to 48 tokens, greedy, all replies of one length; ours goes
through the worker thread and the sampler, as `m.batch` does. One after another every eighth prompt of them is
answered: whatever else the machine does then meets both sides, in short turns. Processor time says the same
where the machine is busy with other things.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.report import Row
from benchmarks.subjects import random_110m

TITLE = "batch: tokens per second of 32 prompts"
PROMPTS: Final = 32
TOKENS: Final = 48
ALONE: Final = 4
ROUNDS: Final[Mapping[str, int]] = {"float32": 3, "bfloat16": 1}
BUDGET: Final = 8.0


def _speed(work: Callable[[], int]) -> tuple[float, float]:
    """Return tokens per second of time, and of processor time."""
    gc.collect()
    started, used = time.perf_counter(), time.process_time()
    count = work()
    return count / (time.perf_counter() - started), count / (time.process_time() - used)


def _continuous(module: Any, prompts: list[tuple[int, ...]]) -> Callable[[], int] | None:
    """Return transformers' continuous batching over the prompts; None where it does not run."""
    from transformers import GenerationConfig

    settings = GenerationConfig(max_new_tokens=TOKENS, do_sample=False, eos_token_id=-1, pad_token_id=0)

    def work(some: Sequence[tuple[int, ...]] = prompts) -> int:
        answers = module.generate_batch(
            inputs=[list(prompt) for prompt in some], generation_config=settings, progress_bar=False
        )
        return sum(len(answer.generated_tokens) for answer in answers.values())

    try:
        return work if work(prompts[:2]) == 2 * TOKENS else None
    except Exception as error:  # noqa: BLE001 - a peer that does not run here is reported, not hidden
        print(f"transformers' continuous batching does not run here: {type(error).__name__}: {error}")
        return None


@dataclass(frozen=True)
class Turn:
    """Tokens per second of one turn; of ours also per second of processor time."""

    together: tuple[float, float]
    alone: tuple[float, float]
    peer: float | None


def _rows(what: str, turns: Sequence[Turn], *, budgeted: bool) -> list[Row]:
    """Return the rows of one model; each ratio is the median of the turns' ratios."""
    median = statistics.median
    mine = f"{median(turn.together[0] for turn in turns):.0f} tokens/s"
    one = f"{median(turn.alone[0] for turn in turns):.0f} tokens/s (one after another)"
    ratio = median(turn.together[0] / turn.alone[0] for turn in turns)
    used = median(1000 / turn.together[1] for turn in turns)
    used_alone = f"{median(1000 / turn.alone[1] for turn in turns):.1f} ms/token (one after another)"
    work = median(turn.together[1] / turn.alone[1] for turn in turns)
    budget, met = (f">= {BUDGET:g}x", ratio >= BUDGET) if budgeted else ("", None)
    rows = [
        Row(what, mine, one, ratio, budget, met),
        Row(f"{what}: processor time", f"{used:.1f} ms/token", used_alone, work, "", None),
    ]
    theirs = [turn.peer for turn in turns if turn.peer is not None]
    if theirs:
        beside = median(turn.together[0] / turn.peer for turn in turns if turn.peer is not None)
        peer = f"{median(theirs):.0f} tokens/s (transformers' generate_batch)"
        rows.append(Row(what, mine, peer, beside, ">= 1x", beside >= 1))
    return rows


def _turns(dtype: str, prompts: list[tuple[int, ...]]) -> tuple[list[Turn], int]:
    """Measure a model of `dtype` in turns; return them and how many threads worked."""
    import torch

    from llama_nb.core.request import Request
    from llama_nb.core.sampling import Sampling
    from llama_nb.core.stop import StopFlag

    engine = random_110m(dtype)
    engine._ends = frozenset()
    torch.set_num_threads(engine._threads)
    sampling = Sampling(temperature=0, max_tokens=TOKENS)
    asked = [Request(prompt, sampling, alternatives=0) for prompt in prompts]

    def together() -> int:
        return len(list(engine.stream_many(asked, StopFlag())))

    def alone() -> int:
        some = asked[:: PROMPTS // ALONE]
        return sum(len(list(engine.stream(request, StopFlag()))) for request in some)

    peer = _continuous(engine._module, prompts)
    together()
    turns = [
        # The peer takes longest: it is measured in every second turn.
        Turn(_speed(together), _speed(alone), _speed(peer)[0] if peer is not None and turn % 2 == 0 else None)
        for turn in range(ROUNDS[dtype])
    ]
    engine.close()
    return turns, engine._threads


def run() -> list[Row]:
    """Measure both dtypes; the budget is that of float32."""
    draw = random.Random(0)
    prompts = [tuple(draw.randrange(32_000) for _ in range(draw.randint(8, 48))) for _ in range(PROMPTS)]
    rows = []
    for dtype in ROUNDS:
        turns, threads = _turns(dtype, prompts)
        what = f"random 110 M {dtype}, {PROMPTS} x {TOKENS} tokens, {threads} threads"
        rows += _rows(what, turns, budgeted=dtype == "float32")
    return rows
