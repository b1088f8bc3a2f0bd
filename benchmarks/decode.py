"""Tokens per second of our decode loop beside `model.generate`: same model, dtype, threads and tokens.

Ours goes through the worker thread and records ten alternatives, entropy and log-probability of every token.
"""

import gc
import statistics
import time
from collections.abc import Callable

from benchmarks.report import Row
from benchmarks.subjects import engines

TITLE = "decode: tokens per second"
ROUNDS = 9
TOKENS = 128
BUDGET = 1.0


def _seconds(work: Callable[[], int]) -> tuple[float, int]:
    gc.collect()
    started = time.perf_counter()
    count = work()
    return time.perf_counter() - started, count


def _bandwidth() -> float:
    """Return the bytes per second that one sum over 256 MB reads, the best of five."""
    import torch

    block = torch.ones(64_000_000)
    best = min(_seconds(lambda: int(block.sum() > 0))[0] for _ in range(5))
    return block.nbytes / best


def run() -> list[Row]:
    """Measure each model in turns with its peer; the ratio is the median of the turns' ratios."""
    import torch

    from llama_nb.core.request import Request
    from llama_nb.core.sampling import Sampling
    from llama_nb.core.stop import StopFlag

    rows = []
    for name, engine in engines(("float32", "bfloat16")):
        small = engine._forward._module.num_parameters() < 20_000_000
        tokens, rounds = (TOKENS, ROUNDS) if small else (48, 5)
        prompt = tuple(range(5, 37))
        torch.set_num_threads(engine._threads)
        module = engine._module
        asked = Request(prompt, Sampling(temperature=0, max_tokens=tokens))
        engine._ends = frozenset()
        ids = torch.tensor([prompt])

        def ours(engine: object = engine, asked: Request = asked) -> int:
            return len(list(engine.stream(asked, StopFlag())))  # type: ignore[attr-defined]

        def peer(module: object = module, ids: object = ids, tokens: int = tokens) -> int:
            module.generate(  # type: ignore[attr-defined]
                ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False
            )
            return tokens

        ours(), peer()
        pairs = [(_seconds(ours), _seconds(peer)) for _ in range(rounds)]
        mine = statistics.median(count / seconds for (seconds, count), _ in pairs)
        theirs = statistics.median(count / seconds for _, (seconds, count) in pairs)
        ratio = statistics.median((a[1] / a[0]) / (b[1] / b[0]) for a, b in pairs)
        what = f"{name}, {engine._threads} thread{'s' if engine._threads > 1 else ''}"
        rows.append(
            Row(
                what,
                f"{mine:.0f} tokens/s",
                f"{theirs:.0f} tokens/s (generate)",
                ratio,
                f">= {BUDGET}x",
                ratio >= BUDGET,
            )
        )
        if not small:
            size = sum(parameter.nbytes for parameter in module.parameters())
            limit = _bandwidth() / size
            rows.append(
                Row(f"{what}: share of the memory limit", f"{mine:.0f} tokens/s", f"{limit:.0f} tokens/s",
                    mine / limit, "", None)
            )  # fmt: skip
        engine.close()
        del engine, module
    return rows
