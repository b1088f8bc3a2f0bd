"""Time to the first token after an edit, a branch and a new turn at 1,500 tokens, beside prefilling."""

import statistics

from benchmarks.report import Row
from benchmarks.subjects import random_110m

TITLE = "edit: first token with 1,500 tokens of context"
CONTEXT = 1500
ROUNDS = 5
BUDGET = 20.0


def run() -> list[Row]:
    """Measure the first token with the chat's cache and with none, on a random 110 M Llama in bfloat16."""
    from llama_nb.core.request import Request
    from llama_nb.core.sampling import Sampling
    from llama_nb.core.stop import StopFlag
    from llama_nb.engines.transformers_engine import TransformersEngine

    engine = random_110m("bfloat16")

    def first_token(engine: TransformersEngine, ids: tuple[int, ...], key: str | None) -> float:
        asked = Request(ids, Sampling(temperature=0, max_tokens=1), cache_key=key)
        events = list(engine.stream(asked, StopFlag()))
        finish = events[-1].finish
        assert finish is not None
        assert finish.usage.first_token_s is not None
        return finish.usage.first_token_s

    base = tuple(100 + (7 * place) % 20_000 for place in range(CONTEXT))
    changes = {
        "an edit of the last 8 tokens": lambda turn: (*base[:-8], *range(turn + 5, turn + 13)),
        "a branch 4 tokens back": lambda turn: (*base[:-4], 30_000 + turn),
        "a new turn of 16 tokens": lambda turn: (*base, *range(turn + 40, turn + 56)),
    }
    first_token(engine, base[:200], None)
    fresh = statistics.median(first_token(engine, base, None) for _ in range(3))
    rows = []
    for what, change in changes.items():
        times = []
        for turn in range(ROUNDS):
            first_token(engine, base, "chat")
            times.append(first_token(engine, change(turn), "chat"))
        cached = statistics.median(times)
        ratio = fresh / cached
        rows.append(
            Row(what, f"{cached * 1000:.0f} ms", f"{fresh * 1000:.0f} ms (prefill)", ratio,
                f">= {BUDGET:.0f}x", ratio >= BUDGET)
        )  # fmt: skip
    engine.close()
    return rows
